"""Import of torchvision, also of a build without its compiled operators."""

from __future__ import annotations

from typing import Any

_LIBRARIES: list[Any] = []  # keeps the declared operators registered


def import_torchvision() -> Any:
    """Import torchvision.

    A build that does not fit the build of torch lacks two operators, without which the import
    fails. No classifier needs them, so they are declared.

    Returns:
        The module.

    Raises:
        ImportError: One of the packages torch and torchvision is not installed.
    """
    import torch

    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(f"{name}{boxes}")
        _LIBRARIES.append(library)
    import torchvision

    return torchvision
