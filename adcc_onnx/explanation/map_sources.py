"""The sources of maps: methods, which compute them, and folders of ready-made maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method
from adcc_onnx.errors import OptionError
from adcc_onnx.explanation.maps import Maps, maps_of
from adcc_onnx.explanation.ready_maps import ReadyMaps
from adcc_onnx.explanation.run_outputs import RunOutputs
from adcc_onnx.kernels.arrays import Float32Array

MapSource = Method | ReadyMaps


def first_maps(source: MapSource, outputs: RunOutputs, names: Sequence[str]) -> Maps:
    """Return the maps M of images.

    Args:
        source: The source of the maps.
        outputs: The outputs of the run on the images.
        names: The names of the images.

    Raises:
        AdccError: The method fails on the whole batch.
    """
    if isinstance(source, ReadyMaps):
        return source.first(names, outputs.size)
    return maps_of(source, outputs)


def second_maps(source: MapSource, outputs: RunOutputs, names: Sequence[str]) -> Maps:
    """Return the maps of explanation maps, CAM_c(x * M).

    Args:
        source: The source of the maps.
        outputs: The outputs of the run on the explanation maps.
        names: The names of the images.

    Raises:
        AdccError: The method fails on the whole batch.
    """
    if isinstance(source, ReadyMaps):
        return source.second(names, outputs.size)
    return maps_of(source, outputs)


def maps_of_changed_images(source: MapSource, outputs: RunOutputs, images: Float32Array) -> Maps:
    """Return the maps of changed images, with the same classes and seeds.

    Args:
        source: The source of the maps.
        outputs: The outputs of the run on the original images.
        images: The changed images, [N, C, H, W].

    Raises:
        OptionError: The maps are ready-made: there are none of changed images.
    """
    return maps_of(_method(source), outputs.on_images(images, source.needs))


def maps_of_other_classes(
    source: MapSource, outputs: RunOutputs, classes: NDArray[np.int64]
) -> Maps:
    """Return the maps of the same images for other classes, with the same seeds.

    Args:
        source: The source of the maps.
        outputs: The outputs of the run on the images.
        classes: The other classes, [N].

    Raises:
        OptionError: The maps are ready-made: there are none of other classes.
    """
    return maps_of(_method(source), outputs.for_classes(classes, source.needs))


def _method(source: MapSource) -> Method:
    if isinstance(source, ReadyMaps):
        raise OptionError("ready-made maps exist for the evaluated images and classes only")
    return source
