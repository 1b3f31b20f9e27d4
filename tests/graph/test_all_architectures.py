"""Gradients of every architecture of `helpers.all_architectures` against torch autograd."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("torch")

from helpers import all_architectures


@pytest.mark.slow
@pytest.mark.parametrize("family", ["torchvision", "dynamo", "timm"])
def test_gradients_equal_torch_autograd(family: str, torchvision: ModuleType) -> None:
    if family == "timm":
        pytest.importorskip("timm")
    failures = []
    for name in all_architectures.names_of(family):
        _, layer, _, late, early = all_architectures.check(family, name)
        if not max(late, early) < 1e-4:
            failures.append(f"{name} at {layer}: {late:.1e}, earlier {early:.1e}")
    assert not failures
