"""Where two graphs of one network part: the difference of activations and gradients by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from adcc_onnx.cams.method import Need
from adcc_onnx.errors import AdccError, OutOfMemoryError
from adcc_onnx.explanation.run_outputs import RunOutputs, run_images
from adcc_onnx.graph.autodiff.gradient import all_inputs
from adcc_onnx.graph.classifier.layer_matching import LayerMatch, match_layers
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.programs.tensor_names import ACTIVATIONS, GRADIENTS, layer_output
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.model import Model

# Relative differences of this size are rounding, by the lower precision of two models: it adds up
# over a hundred layers.
_ROUNDING = {"float": 1e-4, "double": 1e-4, "tf32": 2e-2, "float16": 2e-2, "bfloat16": 1e-1}
# A factor explains a difference if what is left is smaller by this fraction.
_EXPLAINED = 0.1
_FLOOR = 0.1  # of the largest difference; smaller inherited differences count as this

_ACTIVATIONS_ONLY = frozenset({Need.ACTIVATIONS})
_WITH_GRADIENTS = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})


@dataclass(frozen=True)
class LayerDifference:
    """The difference of one pair of matched layers over some images.

    The relative difference of one image is ||b - a|| / ||a||, with a and b the values of the layer
    in the first and in the second model, and Euclidean norms over all values.

    Attributes:
        first: Name of the layer in the first model.
        second: Name of the layer in the second model.
        by: What the match is based on: "name", "module" or "order".
        activation: Median of the relative differences of the activations.
        largest: Largest relative difference of the activations.
        gradient: Median of the relative differences of the gradients; None if they are unknown.
        inherited: Largest median difference among the matched layers that this layer is computed
            from; 0 if there is none.
        factor: The factor between the activations of the two models, if it explains more than nine
            tenths of their difference; None otherwise.
    """

    first: str
    second: str
    by: str
    activation: float
    largest: float
    gradient: float | None
    inherited: float
    factor: float | None


@dataclass(frozen=True)
class LayerWalk:
    """The differences along the matched layers of two models.

    Attributes:
        layers: The matched layers in the order of the first graph.
        images: Number of compared images.
        rounding: Relative difference up to which two layers count as equal, by the lower precision
            of the two models.
        problem: Why layers or gradients could not be compared; empty if all could.
    """

    layers: list[LayerDifference]
    images: int
    rounding: float
    problem: str = ""

    @property
    def parting(self) -> LayerDifference | None:
        """The first layer whose activations differ by more than rounding; None if there is none."""
        return next((one for one in self.layers if one.activation > self.rounding), None)

    @property
    def largest_step(self) -> LayerDifference | None:
        """The layer that adds most to the difference that it inherits; None without differences."""
        beyond = [one for one in self.layers if one.activation > self.rounding]
        return max(beyond, key=lambda one: self.step(one), default=None)

    def step(self, layer: LayerDifference) -> float:
        """Return the ratio of a layer's difference to the one that it inherits.

        An inherited difference below a tenth of the largest difference counts as this tenth, so
        that the first layer of a quantized model does not count as a step from nothing.

        Args:
            layer: The layer.
        """
        finite = [one.activation for one in self.layers if np.isfinite(one.activation)]
        floor = max([self.rounding, *(_FLOOR * size for size in finite)])
        return layer.activation / max(layer.inherited, floor)


def walk_layers(
    first: Model,
    second: Model,
    images: Iterable[tuple[Float32Array, Float32Array, int]],
) -> LayerWalk:
    """Compare the activations and gradients of all matched layers.

    Args:
        first: The first model.
        second: The second model.
        images: The tensors [C, H, W] of each image for the first and for the second model, and its
            explained class.

    Returns:
        The differences. Without gradients if one of the models cannot be differentiated.
    """
    matches = match_layers(first.classifier, second.classifier)
    rounding = rounding_of(first, second)
    if not matches:
        return LayerWalk([], 0, rounding, "no layer of one model matches a layer of the other")
    models = (
        _observed(first, [match.first for match in matches]),
        _observed(second, [match.second for match in matches]),
    )
    sums, problem, needs = [_Sums() for _ in matches], "", _WITH_GRADIENTS
    count = 0
    for a, b, target in images:
        try:
            runs = _run_both(models, (a, b), target, needs)
        except OutOfMemoryError:
            raise
        except AdccError as error:
            if needs is _ACTIVATIONS_ONLY:
                raise
            problem, needs = f"gradients could not be compared: {error}", _ACTIVATIONS_ONLY
            runs = _run_both(models, (a, b), target, needs)
        count += 1
        for number, one in enumerate(sums):
            one.add(*(_values(run, ACTIVATIONS, number) for run in runs))
            if needs is _WITH_GRADIENTS:
                one.add_gradients(*(_values(run, GRADIENTS, number) for run in runs))
    return LayerWalk(_differences(matches, sums) if count else [], count, rounding, problem)


def _observed(model: Model, layers: Sequence[Layer]) -> Model:
    """Return the model with other layers, one image per run: all their values are kept at once."""
    shown = replace(model.in_own_precision(), layers=tuple(layers))
    return shown.with_settings(batch=1) if shown.any_batch else shown


def _run_both(
    models: tuple[Model, Model],
    images: tuple[Float32Array, Float32Array],
    target: int,
    needs: frozenset[Need],
) -> list[RunOutputs]:
    targets = np.array([target])
    return [
        run_images(model, image[None], targets, needs, [0])
        for model, image in zip(models, images, strict=True)
    ]


def _values(run: RunOutputs, kind: str, number: int) -> Float32Array:
    values: Float32Array = run.values[layer_output(kind, number)].array
    return values


@dataclass
class _Sums:
    """What the images add up to for one pair of layers.

    Attributes:
        activations: The relative differences of the activations.
        gradients: The relative differences of the gradients.
        products: The sums of a . a, a . d and d . d with d = b - a.
    """

    activations: list[float] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    products: Float64Array = field(default_factory=lambda: np.zeros(3))

    def add(self, a: Float32Array, b: Float32Array) -> None:
        products = _products(a, b)
        self.activations.append(_relative(products))
        self.products += products

    def add_gradients(self, a: Float32Array, b: Float32Array) -> None:
        self.gradients.append(_relative(_products(a, b)))

    @property
    def factor(self) -> float | None:
        """The least-squares factor from a to b, if it explains their difference."""
        aa, ad, dd = (float(value) for value in self.products)
        if not (aa > 0 and np.isfinite(self.products).all()):
            return None
        return 1 + ad / aa if dd - ad**2 / aa < _EXPLAINED**2 * dd else None


def _products(a: Float32Array, b: Float32Array) -> Float64Array:
    """Return a . a, a . d and d . d with d = b - a, in float64."""
    first = a.ravel().astype(np.float64)
    difference = b.ravel() - first
    pairs = ((first, first), (first, difference), (difference, difference))
    return np.array([np.einsum("i,i->", one, other) for one, other in pairs])


def _relative(products: Float64Array) -> float:
    """Return ||d|| / ||a||: 0 for equal arrays, and infinity where only a is zero."""
    length, _, distance = (float(value) for value in products)
    if distance == 0.0:
        return 0.0
    return (distance / length) ** 0.5 if length > 0 else float("inf")


def _differences(matches: Sequence[LayerMatch], sums: Sequence[_Sums]) -> list[LayerDifference]:
    medians = [float(np.median(one.activations)) for one in sums]
    return [
        LayerDifference(
            match.first.name,
            match.second.name,
            match.by,
            medians[number],
            max(one.activations),
            float(np.median(one.gradients)) if one.gradients else None,
            max((medians[n] for n in sources), default=0.0),
            one.factor,
        )
        for number, (match, one, sources) in enumerate(
            zip(matches, sums, _sources(matches), strict=True)
        )
    ]


def _sources(matches: Sequence[LayerMatch]) -> list[set[int]]:
    """Return the numbers of the matched layers that each one is directly computed from."""
    numbers = {match.first.value: number for number, match in enumerate(matches)}
    found = []
    for match in matches:
        node, sources = match.first.value.producer(), set[int]()
        pending, seen = list(all_inputs(node)) if node is not None else [], set()
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in numbers:
                sources.add(numbers[value])
            elif (producer := value.producer()) is not None:
                pending.extend(all_inputs(producer))
        found.append(sources)
    return found


def rounding_of(first: Model, second: Model) -> float:
    """Return the relative difference that is rounding, by the lower precision of two models.

    Args:
        first: The first model.
        second: The second model.
    """
    names = {first.precision, second.precision}
    for model in (first, second):
        graph = model.classifier.model.graph
        names |= {v.dtype.name.lower() for node in graph for v in node.outputs if v.dtype}
    return max(_ROUNDING.get(name, _ROUNDING["float"]) for name in names)
