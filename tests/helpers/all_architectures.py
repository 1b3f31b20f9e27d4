"""Comparison of every architecture with torch autograd: docs/results/architectures.md.

Run from tests/ as `python -m helpers.all_architectures torchvision|dynamo|timm [NAME...]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from helpers import architectures

MAX_PARAMETERS = 120_000_000
# Input size in pixels: small, so that few ReLU inputs are near 0, unless a network needs more.
SIZE = 64
SIZES = {
    "alexnet": 224, "inception_v3": 96, "maxvit_t": 224, "squeezenet1_0": 96, "squeezenet1_1": 96,
    "googlenet": 96, "vgg11": 224, "vgg11_bn": 224,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False, "aux_logits": False},
    "inception_v3": {"init_weights": False, "aux_logits": False},
    "vit_b_16": {"image_size": 64},
    "vit_b_32": {"image_size": 64},
}
BY_DYNAMO = (
    "resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "efficientnet_b0",
    "convnext_tiny", "swin_t", "vit_b_32", "shufflenet_v2_x0_5", "regnet_y_400mf",
)  # fmt: skip
TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_distilled_patch16_224": {"img_size": 64},
    "deit3_small_patch16_224": {"img_size": 64},
    "cait_xxs24_224": {"img_size": 64},
    "xcit_nano_12_p16_224": {},
    "pit_ti_224": {"img_size": 64},
    "levit_128s": {"img_size": 224},
    "crossvit_tiny_240": {"img_size": 240},
    "mixer_s32_224": {"img_size": 64},
    "resmlp_12_224": {"img_size": 64},
    "gmlp_ti16_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"img_size": 224},
    "convnext_atto": {},
    "convnextv2_atto": {},
    "convmixer_768_32": {},
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "efficientformer_l1": {"img_size": 224},
    "coatnet_nano_rw_224": {"img_size": 224},
    "poolformer_s12": {},
    "edgenext_xx_small": {},
    "ghostnet_050": {},
    "hrnet_w18_small": {},
    "res2net50_14w_8s": {},
    "resnest14d": {},
    "dla34": {},
    "dpn48b": {},
    "efficientvit_b0": {},
    "mobilenetv4_conv_small": {},
    "repvgg_a0": {},
    "rexnet_100": {},
    "tinynet_e": {},
    "vovnet39a": {},
    "fastvit_t8": {},
    "lcnet_050": {},
}
Row = tuple[str, str, int, float, float]


def torchvision_names() -> list[str]:
    """Return the names of torchvision's classifiers, without quantized and very large ones."""
    from torchvision import models

    sizes = {
        name: models.get_model_weights(name).DEFAULT.meta["num_params"]
        for name in models.list_models(module=models)
    }
    return [name for name, size in sizes.items() if size <= MAX_PARAMETERS]


def torchvision_model(name: str) -> torch.nn.Module:
    """Build a torchvision model with random weights."""
    from torchvision import models

    model: torch.nn.Module = models.get_model(name, weights=None, **OPTIONS.get(name, {}))
    return model


def timm_model(name: str) -> torch.nn.Module:
    """Build a timm model with random weights."""
    import timm

    options = TIMM[name]
    fixed = {} if options.get("img_size") in (None, 224, 240) else options
    return timm.create_model(name, pretrained=False, exportable=True, **fixed)


def size_of(name: str) -> int:
    """Return the input size of an architecture in pixels."""
    return TIMM.get(name, {}).get("img_size") or SIZES.get(name, SIZE)


def check(family: str, name: str) -> Row:
    """Return (name, default layer, number of nodes, its worst error, that of an early layer)."""
    build = timm_model if family == "timm" else torchvision_model
    for weights in (True, False):
        torch.manual_seed(0)
        model = architectures.randomize(build(name), weights)
        try:
            (layer, nodes, late), (_, _, early) = architectures.worst_errors(
                model, size_of(name), share=1 / 3, dynamo=family == "dynamo"
            )
        except architectures.IllPosedError:
            # Attention may saturate under weights of unit gain: use the network's initialization.
            if not weights:
                raise
            continue
        break
    return name, layer, nodes, late, early


def names_of(family: str) -> list[str]:
    """Return the architectures of a family: torchvision, dynamo or timm."""
    if family == "torchvision":
        return torchvision_names()
    return list(BY_DYNAMO if family == "dynamo" else TIMM)


def table(rows: Iterator[Row]) -> Iterator[str]:
    """Format rows as lines of a Markdown table."""
    yield "| architecture | nodes | default layer | error there | error at an early layer |"
    yield "| --- | --- | --- | --- | --- |"
    for name, layer, nodes, late, early in rows:
        yield f"| {name} | {nodes} | `{layer}` | {late:.1e} | {early:.1e} |"


def main() -> None:
    """Compare the architectures named on the command line and print the table."""
    # torchvision's compiled operators may be missing beside a CPU build of torch.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operator = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(operator)
    family, *names = sys.argv[1:]

    def rows() -> Iterator[Row]:
        for name in names or names_of(family):
            start = time.monotonic()
            try:
                row = check(family, name)
            except Exception as error:
                print(f"FAILED {name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
                continue
            print(f"{name} {time.monotonic() - start:.0f} s {row}", file=sys.stderr, flush=True)
            yield row

    for line in table(rows()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
