"""Randomized weights: only the named ones, with the same mean and standard deviation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.graph.programs.randomize_weights import randomize_weights, weight_names_from_top
from adcc_onnx.model import Model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    proto = small()
    rng = np.random.default_rng(3)
    # Large enough for the statistics of a sample to be close to those of the distribution.
    shapes = {"kernel": (64, 3, 3, 3), "weights": (5, 64)}
    for index, (name, shape) in enumerate(shapes.items()):
        values = (2 + 3 * rng.standard_normal(shape)).astype(np.float32)
        proto.graph.initializer[index].CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(proto, tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", device="cpu")


def values(model: Model, name: str) -> np.ndarray:
    return model.classifier.model.graph.initializers[name].const_value.numpy()


def test_weights_are_listed_from_the_logits_on(model: Model) -> None:
    assert weight_names_from_top(model.classifier) == ["weights", "kernel"]


def test_only_the_named_weights_change(model: Model) -> None:
    before = {name: values(model, name).copy() for name in ("weights", "kernel")}
    after = randomize_weights(model.classifier, ["weights"], seed=0).model.graph.initializers
    np.testing.assert_array_equal(after["kernel"].const_value.numpy(), before["kernel"])
    np.testing.assert_array_equal(values(model, "weights"), before["weights"])
    drawn = after["weights"].const_value.numpy()
    assert drawn.dtype == np.float32 and drawn.shape == (5, 64)
    assert abs(np.corrcoef(drawn.ravel(), before["weights"].ravel())[0, 1]) < 0.2
    assert drawn.mean() == pytest.approx(before["weights"].mean(), abs=4 * 3 / np.sqrt(320))
    assert drawn.std() == pytest.approx(before["weights"].std(), rel=0.15)


def test_the_seed_determines_the_weights(model: Model) -> None:
    first, again, other = (
        randomize_weights(model.classifier, ["kernel"], seed).model.graph.initializers["kernel"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.const_value.numpy(), again.const_value.numpy())
    assert (first.const_value.numpy() != other.const_value.numpy()).any()
