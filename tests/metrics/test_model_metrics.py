"""Metrics that run the model, against other libraries on the same model and the same maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from scipy import ndimage
from scipy.special import softmax

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.metric_context import BatchMetricContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.metrics.array_metric_context import ArrayMetricContext
from adcc_onnx.metrics.metric import ExplainedBatch
from adcc_onnx.metrics.metric_registry import get_metric, get_metrics
from adcc_onnx.metrics.pixel_curves import baseline_of, pixel_ranks
from adcc_onnx.metrics.road import impute
from adcc_onnx.metrics.robustness import random_squares
from adcc_onnx.metrics.scoring import score_all
from adcc_onnx.model import Model

Array = np.ndarray
N, SIDE = 3, 8
RNG = np.random.default_rng(5)
IMAGES = RNG.standard_normal((N, 3, SIDE, SIDE)).astype(np.float32)
MAPS = RNG.permuted(np.tile(np.linspace(0, 1, SIDE * SIDE), (N, 1)), axis=1)
MAPS = MAPS.reshape(N, SIDE, SIDE).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(small(), path)
    return path


@pytest.fixture
def model(path: Path) -> Model:
    return adcc.load(path, device="cpu", batch_size=4)


@pytest.fixture
def plain(path: Path) -> Any:
    """Class probabilities of images [N, 3, 8, 8], by nothing of ours."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def probabilities(images: Array) -> Array:
        (scores,) = session.run(None, {"image": np.asarray(images, np.float32)})
        return softmax(scores.astype(np.float64), axis=1)

    return probabilities


def explained(model: Model, method: str = "gradcam", maps: Array = MAPS) -> ExplainedBatch:
    chosen = get_method(method)
    outputs = run_images(model, IMAGES, None, chosen.needs, [7, 8, 9])
    first = BatchContext(outputs)
    p = np.array([first.probability(i, outputs.logits[i : i + 1])[0] for i in range(N)])
    context = BatchMetricContext(chosen, outputs)
    return ExplainedBatch(p, maps=maps, passes=first.log.passes, context=context)


def targets(plain: Any) -> Array:
    return plain(IMAGES).argmax(axis=1)


@pytest.mark.parametrize("steps", [16, 64])
def test_deletion_and_insertion_equal_torchcams(model: Model, plain: Any, steps: int) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchcam.metrics")

    class Network(torch.nn.Module):
        def forward(self, batch: Any) -> Any:
            return torch.tensor(plain(batch.numpy()))

    class Extractor:
        model = Network()

        @contextmanager
        def _hooks_off(self) -> Iterator[None]:
            yield

        def __call__(self, *_: Any, **__: Any) -> list[Any]:
            return [torch.tensor(MAPS)]

        def fuse_cams(self, maps: list[Any]) -> Any:
            return maps[0]

    for baseline, name in ((None, "zero"), (_blurred, "blur"), (_means, "mean")):
        theirs = metrics.DeletionInsertionMetric(Extractor(), steps=steps, baseline=baseline)
        theirs.update(torch.tensor(IMAGES))
        wanted = theirs.summary()
        for metric in ("deletion", "insertion"):
            shown = explained(model)
            shown.context.begin(metric)
            found = get_metric(f"{metric}(steps={steps}, baseline={name})").score(shown)
            assert found.mean() == pytest.approx(wanted[f"{metric}_auc"], abs=1e-6)
            curve = shown.context.curves[1][metric]
            assert len(curve) == steps + 1
            start, end = (0, -1) if metric == "deletion" else (-1, 0)
            assert curve[start] == pytest.approx(shown.probability[1], abs=1e-6)
            whole = baseline_of(IMAGES[1], name)[None]
            assert curve[end] == pytest.approx(plain(whole)[0, targets(plain)[1]], abs=1e-6)


def _blurred(batch: Any) -> Any:
    """From the definition: an 11 x 11 window of a Gaussian of sigma 5, zeros around the image."""
    import torch

    at = np.arange(-5, 6)
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 5.0**2))
    window /= window.sum()
    planes = [[ndimage.convolve(p, window, mode="constant") for p in x] for x in batch.numpy()]
    return torch.tensor(np.array(planes, np.float32))


def _means(batch: Any) -> Any:
    return batch.mean(dim=(2, 3), keepdim=True)


def test_equal_pixels_are_taken_in_raster_order() -> None:
    flat = np.zeros((2, 3), np.float32)
    flat[1, 1] = 1
    np.testing.assert_array_equal(pixel_ranks(flat), [[1, 2, 3], [4, 0, 5]])


def test_a_linear_score_gives_the_deletion_curve_in_closed_form(model: Model) -> None:
    """One pixel of the image matters: the curve is a step where its turn comes."""
    shown = explained(model)
    one = np.zeros_like(MAPS)
    one[:, 2, 3] = 1
    counts = np.array([0, 1, SIDE * SIDE])
    image = shown.context.images[0].copy()
    seen = shown.context.replaced_scores(0, pixel_ranks(one[0]), counts, np.zeros_like(image))
    without = image.copy()
    without[:, 2, 3] = 0
    np.testing.assert_allclose(seen[1], shown.context.scores(0, without[None])[0], atol=1e-7)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_imputation_equals_pytorch_grad_cams(torchvision: ModuleType, share: float) -> None:
    torch = pytest.importorskip("torch")
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    image = RNG.standard_normal((3, 20, 20)).astype(np.float32)
    removed = RNG.random((20, 20)) < share
    theirs = road.NoisyLinearImputer(noise=0.0)(
        torch.tensor(image), torch.tensor(~removed, dtype=torch.float32)
    )
    np.testing.assert_allclose(impute(image, removed), theirs.numpy(), atol=1e-5)


def test_imputation_of_nothing_and_of_everything() -> None:
    image = IMAGES[0]
    np.testing.assert_array_equal(impute(image, np.zeros((SIDE, SIDE), bool)), image)
    assert not impute(image, np.ones((SIDE, SIDE), bool)).any()


def test_road_equals_a_plain_loop(model: Model, plain: Any) -> None:
    """Without the noise, whose size is checked beside it."""
    shown, wanted = explained(model), {"road_morf": [], "road_lerf": []}
    for i, target in enumerate(targets(plain)):
        order = np.argsort(-MAPS[i].ravel(), kind="stable")
        for name, pixels in (("road_morf", order), ("road_lerf", order[::-1])):
            scores = []
            for percent in range(10, 100, 10):
                removed = np.zeros(SIDE * SIDE, bool)
                removed[pixels[: round(percent * SIDE * SIDE / 100)]] = True
                image = impute(IMAGES[i], removed.reshape(SIDE, SIDE))
                scores.append(plain(image[None])[0, target])
            wanted[name].append(np.mean(scores))
    morf, lerf = get_metric("road_morf").score(shown), get_metric("road_lerf").score(shown)
    np.testing.assert_allclose(morf, wanted["road_morf"], atol=0.01)
    np.testing.assert_allclose(lerf, wanted["road_lerf"], atol=0.01)
    np.testing.assert_allclose(get_metric("road").score(shown), (lerf - morf) / 2, atol=1e-12)
    np.testing.assert_array_equal(get_metric("road_morf").score(explained(model)), morf)


@pytest.mark.parametrize("name", ["road_morf", "road_lerf"])
def test_roads_noise_is_a_hundredth_of_the_images_range(name: str) -> None:
    """Measured: the removed pixels minus those imputed without noise."""
    rng = np.random.default_rng(0)
    images = (7 * rng.standard_normal((2, 3, 40, 40))).astype(np.float32)
    maps = rng.permuted(np.tile(np.linspace(0, 1, 1600, dtype=np.float32), (2, 1)), axis=1)
    maps = maps.reshape(2, 40, 40)
    changed: list[Array] = []

    def score(others: Array) -> Array:
        changed.append(others)
        return np.zeros(len(others))

    context = ArrayMetricContext(images, score)
    get_metric(name).score(ExplainedBatch(np.ones(2), maps=maps, context=context))
    for image, heatmap, others in zip(images, maps, changed, strict=True):
        order = np.argsort(-heatmap if name == "road_morf" else heatmap, axis=None, kind="stable")
        spread = float(image.max() - image.min())
        for tenth, other in enumerate(others, start=1):
            removed = np.zeros(1600, bool)
            removed[order[: 160 * tenth]] = True
            removed = removed.reshape(40, 40)
            np.testing.assert_array_equal(other[:, ~removed], image[:, ~removed])
            noise = (other - impute(image, removed))[:, removed] / spread
            error = 4 * 0.01 / np.sqrt(2 * noise.size)  # four standard errors
            assert noise.std() == pytest.approx(0.01, abs=error)
            assert abs(noise.mean()) < 4 * 0.01 / np.sqrt(noise.size)


def test_max_sensitivity_equals_captums(model: Model) -> None:
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.metrics")
    samples, radius = 6, 0.05
    shown = explained(model, maps=adcc.explain(model, IMAGES).maps)
    ours = get_metric(f"max_sensitivity(samples={samples}, radius={radius})").score(shown)

    sources = shown.context.rngs()
    limits = radius * np.ptp(IMAGES.reshape(N, -1), axis=1)
    noise = [
        [rng.uniform(-limit, limit, IMAGES.shape[1:]) for _ in range(samples)]
        for rng, limit in zip(sources, limits, strict=True)
    ]
    classes = np.repeat(shown.context._outputs.targets, samples)

    def maps(batch: Any) -> Any:
        given = batch[0] if isinstance(batch, tuple) else batch
        chosen = shown.context._outputs.targets if len(given) == N else classes
        found = adcc.explain(model, given.numpy(), target=chosen).maps
        return (torch.tensor(found, dtype=torch.float64),)

    theirs = captum.sensitivity_max(
        maps,
        torch.tensor(IMAGES),
        perturb_func=lambda x: x + torch.tensor(np.concatenate(noise), dtype=torch.float32),
        n_perturb_samples=samples,
    )
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)
    assert (ours > 0).all()


def test_infidelity_equals_captums(model: Model, plain: Any) -> None:
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.metrics")
    samples, shown = 40, explained(model)
    ours = get_metric(f"infidelity(samples={samples})").score(shown)
    for i, (rng, target) in enumerate(zip(shown.context.rngs(), targets(plain), strict=True)):
        squares = np.stack(random_squares(rng, samples, (SIDE, SIDE)))
        masks = torch.tensor(np.repeat(squares[:, None], 3, axis=1), dtype=torch.float64)
        # One channel carries the map, so that the product sums it once a pixel.
        attributions = torch.zeros((1, 3, SIDE, SIDE), dtype=torch.float64)
        attributions[0, 0] = torch.tensor(MAPS[i])
        theirs = captum.infidelity(
            lambda batch: torch.tensor(plain(batch.numpy())),
            lambda x, m=masks: (m, (x * (1 - m)).float()),
            torch.tensor(IMAGES[i : i + 1], dtype=torch.float32),
            attributions,
            target=int(target),
            n_perturb_samples=samples,
            max_examples_per_batch=samples,
            normalize=True,
        )
        assert ours[i] == pytest.approx(float(theirs), rel=1e-5)


def test_squares_have_sides_from_an_eighth_to_a_half() -> None:
    squares = random_squares(np.random.default_rng(0), 500, (32, 48))
    sides = {int(np.sqrt(square.sum())) for square in squares}
    assert sides == set(range(4, 17))
    assert all(int(square.any(axis=0).sum()) ** 2 == square.sum() for square in squares)


def test_a_map_that_tells_all_has_no_infidelity(tmp_path: Path) -> None:
    """A score that is a sum over pixels, and the map that holds its terms: the error is 0."""
    metric = get_metric("infidelity(samples=30)")
    pixels = np.abs(IMAGES).sum(axis=1)

    class Linear:
        images = IMAGES

        def scores(self, image: int, others: Array) -> Array:
            return np.abs(others).sum(axis=(1, 2, 3)) / 1000

        def rngs(self) -> list[np.random.Generator]:
            return [np.random.default_rng(i) for i in range(N)]

    whole = pixels.sum(axis=(1, 2)).astype(np.float64) / 1000
    exact = ExplainedBatch(whole, maps=pixels / pixels.max(), context=Linear())
    wrong = ExplainedBatch(whole, maps=pixels[:, ::-1] / pixels.max(), context=Linear())
    assert (metric.score(exact) < 1e-12).all()
    assert (metric.score(wrong) > 1e-6).all()


def test_sparseness_and_entropy_equal_quantus() -> None:
    quantus = pytest.importorskip("quantus")
    empty = np.zeros((1, SIDE, SIDE), np.float32)
    sparseness = get_metric("sparseness").score(ExplainedBatch(np.ones(N), maps=MAPS))
    entropy = get_metric("entropy").score(ExplainedBatch(np.ones(N), maps=MAPS))
    for i in range(N):
        x = IMAGES[i]
        assert sparseness[i] == pytest.approx(
            quantus.Sparseness.evaluate_instance(x, MAPS[i]), abs=1e-6
        )
        theirs = quantus.Complexity.evaluate_instance(x, MAPS[i]) / np.log(SIDE * SIDE)
        assert entropy[i] == pytest.approx(theirs, abs=1e-6)
    one = empty.copy()
    one[0, 3, 3] = 1
    pixels = SIDE * SIDE
    for heatmap, gini, even in ((empty, 0, 1), (one, 1 - 1 / pixels, 0), (1 + empty, 0, 1)):
        shown = ExplainedBatch(np.ones(1), maps=heatmap)
        assert get_metric("sparseness").score(shown)[0] == pytest.approx(gini, abs=1e-12)
        assert get_metric("entropy").score(shown)[0] == pytest.approx(even, abs=1e-12)


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        ("fakecam", 1),
        ("gradcam", 1),
        ("smoothgradcam++(n=5)", 6),
        ("scorecam", 5),
        ("rise(masks=9)", 10),
    ],
)
def test_passes(model: Model, method: str, passes: int) -> None:
    """Score-CAM: one pass and one a live channel, of which the toy model has four."""
    chosen = get_method(method)
    first = BatchContext(run_images(model, IMAGES, None, chosen.needs, [7, 8, 9]))
    chosen.raw_maps(first)
    shown = ExplainedBatch(np.ones(N), passes=first.log.passes)
    np.testing.assert_array_equal(get_metric("passes").score(shown), np.full(N, passes))


def test_curves_of_one_metric_with_other_options_stand_side_by_side(model: Model) -> None:
    shown = explained(model)
    score_all(get_metrics(["deletion(steps=4)", "deletion(steps=8)", "road"]), shown)
    lengths = {name: len(curve) for name, curve in shown.context.curves[0].items()}
    assert lengths == {
        "deletion(steps=4)": 5,
        "deletion(steps=8)": 9,
        "road_morf": 9,
        "road_lerf": 9,
    }
