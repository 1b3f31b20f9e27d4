"""One small network of every family of timm and transformers, with random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# A CPU build of torch lacks two operators that torchvision declares when it is imported.
_OPERATORS: list[Any] = []
_CLASSES = 10
_SIZES = (64, 96, 128)

# The smallest network of each module of timm, and variants of the modules with several kinds.
TIMM = (
    "bat_resnext26ts", "beit_base_patch16_224", "caformer_s18", "cait_xxs24_224", "coat_tiny",
    "coatnet_pico_rw_224", "convit_tiny", "convmixer_768_32", "convnext_zepto_rms",
    "convnextv2_atto", "cpubone_nano", "crossvit_tiny_240", "cs3darknet_focus_s", "csatv2",
    "cspnext_tiny", "davit_tiny", "deepseek_vit_412m", "deit_tiny_distilled_patch16_224",
    "deit_tiny_patch16_224", "densenet121", "dla46x_c", "dm_nfnet_f0", "dpn48b",
    "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0", "efficientnet_b0",
    "efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "ese_vovnet19b_slim_dw",
    "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny",
    "gemma4_vit_167m_enc", "ghostnet_050", "gmlp_ti16_224", "halonet_h1", "hardcorenas_b",
    "hgnetv2_b0", "hiera_tiny_224", "hrnet_w18_small", "iformer_l", "inception_next_atto",
    "inception_resnet_v2", "inception_v3", "inception_v4", "lcnetv2_small", "legacy_seresnet18",
    "legacy_xception", "levit_128s", "lowformer_b0", "mambaout_femto", "maxvit_pico_rw_256",
    "mixer_s32_224", "mnasnet_small", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "mobilenetv5_base", "mobileone_s1", "mobilevit_xxs", "mobilevitv2_050", "mvitv2_tiny",
    "naflexvit_base_patch16_parfac_gap", "nasnetalarge", "nest_tiny", "nextvit_small",
    "pit_ti_224", "pnasnet5large", "pvt_v2_b0", "qwen3_vit_88m", "rdnet_tiny", "regnetx_002",
    "repghostnet_050", "repvgg_a0", "repvit_m1", "res2next50", "resmlp_12_224", "resnest14d",
    "resnet18", "resnet50_gn", "resnetv2_18", "resnetv2_50x1_bit", "rexnet_100",
    "sam2_hiera_tiny", "samvit_base_patch16_224", "selecsls42", "sequencer2d_s", "shvit_s1",
    "skresnet18", "starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224", "swinv2_tiny_window8_256", "test_mambaout", "test_resnet", "test_vit",
    "test_vit_relpos", "tiny_vit_5m_224", "tnt_s_legacy_patch16_224", "tresnet_m",
    "twins_svt_small", "vgg11", "visformer_tiny", "vit_base_patch16_siglip_224",
    "vit_base_patch16_siglip_gap_224", "vit_tiny_patch16_224", "vit_tiny_r_s16_p8_224",
    "vit_wee_patch16_reg1_gap_256", "vitamin_small_224", "volo_d1_224", "xception41p",
    "xcit_nano_12_p16_224",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network in evaluation mode.

    Attributes:
        name: The library, the family and the network, and how attention is written.
        module: The network; it takes images and returns scores.
        size: The (height, width) of its images in pixels.
    """

    name: str
    module: torch.nn.Module
    size: tuple[int, int]


def declare_torchvision_operators() -> None:
    """Declare two operators without which torchvision cannot be imported."""
    if not _OPERATORS and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _OPERATORS.append(library)


def timm_network(name: str) -> Network:
    """Build a network of timm for the smallest images that it takes."""
    declare_torchvision_operators()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempts: list[Callable[[], Network]] = [
            *(lambda size=size: _timm_of_size(name, size) for size in _SIZES),
            lambda: _timm_of_size(name, None),
        ]
        return _first_that_runs(attempts)


def _timm_of_size(name: str, size: int | None) -> Network:
    import timm

    options: dict[str, Any] = {"pretrained": False, "num_classes": _CLASSES, "exportable": True}
    default = timm.models.get_pretrained_cfg(name)
    if size is not None and default is not None and default.fixed_input_size:
        options["img_size"] = size
    module = timm.create_model(name, **options)
    own = module.default_cfg["input_size"][1:]
    height, width = own if size is None else (size, size)
    return Network(f"timm {name}", randomize(shorten(module)), (height, width))


def _first_that_runs(attempts: list[Callable[[], Network]]) -> Network:
    for place, attempt in enumerate(attempts):
        try:
            network = attempt()
            if place == len(attempts) - 1 or _has_positions(network):
                return network
        except Exception:
            if place == len(attempts) - 1:
                raise
    raise ValueError("no size of images gives finite scores and a feature map")


def _has_positions(network: Network) -> bool:
    """Whether the scores are finite, and the features that they are computed from have a grid."""
    x = torch.randn(1, 3, *network.size)
    with torch.no_grad():
        scores = network.module(x)
        found = network.module.forward_features(x)
    several = found if isinstance(found, tuple | list) else [found]
    tensors = [next(iter(one.values())) if isinstance(one, dict) else one for one in several]
    return bool(scores.isfinite().all()) and any(map(_is_spatial, tensors))


def _is_spatial(tensor: torch.Tensor) -> bool:
    if tensor.ndim == 4:
        channels_last = tensor.shape[1] == tensor.shape[2]
        return bool(min(tensor.shape[2:]) > 1 or (channels_last and tensor.shape[1] > 1))
    return bool(tensor.ndim == 3 and tensor.shape[1] > 2)


def shorten(module: torch.nn.Module) -> torch.nn.Module:
    """Keep the last two of a sequence of equal blocks named `blocks`."""
    blocks = getattr(module, "blocks", None)
    if isinstance(blocks, torch.nn.Sequential | torch.nn.ModuleList) and len(blocks) > 3:
        shapes = [[tuple(p.shape) for p in block.parameters()] for block in blocks]
        if all(shape == shapes[0] for shape in shapes) and len({type(b) for b in blocks}) == 1:
            module.blocks = (
                type(blocks)(*blocks[-2:])
                if isinstance(blocks, torch.nn.Sequential)
                else torch.nn.ModuleList(blocks[-2:])
            )
    return module


def randomize(module: torch.nn.Module) -> torch.nn.Module:
    """Replace constant parameters (scales, biases, zero heads) by random ones."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1 and float(parameter.std()) < 1e-3:
                center = 1.0 if float(parameter.flatten()[0]) == 1.0 else 0.0
                torch.nn.init.normal_(parameter, center, 0.1 if parameter.ndim < 2 else 0.05)
        for part in module.modules():
            if hasattr(part, "inplace"):
                part.inplace = False
    return module.eval()


class Logits(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A network of transformers that takes images and returns logits."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.model = module

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return the logits of images [N, 3, H, W]."""
        result = self.model(pixel_values)
        logits: torch.Tensor = result[0] if not hasattr(result, "logits") else result.logits
        return logits


_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
    "num_channels": 3,
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "num_latents": 16,
    "d_latents": 32,
    "num_blocks": 1,
    "num_self_attends_per_block": 1,
}
# Settings of single families, where the usual ones do not fit or leave the network large.
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_WINDOWS = {"patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
_PYRAMID = {
    "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 2],
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "donut-swin": _WINDOWS,
    "convnext": _STAGES | {"patch_size": 4},
    "convnextv2": _STAGES | {"patch_size": 4},
    "resnet": _STAGES | {"embedding_size": 8, "layer_type": "basic"},
    "regnet": _STAGES | {"embedding_size": 8, "groups_width": 4},
    "bit": {"embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
            "num_groups": 4},
    "cvt": {"embed_dim": [8, 16, 32], "num_heads": [1, 2, 2], "depth": [1, 2, 3]},
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.5, "hidden_dim": 320,
                     "image_size": 64},
    "hgnet_v2": {"image_size": 64},
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilenet_v2": {"depth_multiplier": 0.35},
    "textnet": {"image_size": [64, 64], "hidden_sizes": [8, 8, 16, 24, 32], "stem_out_channels": 8},
    "poolformer": _STAGES,
    "segformer": _PYRAMID,
    "pvt": _PYRAMID,
    "pvt_v2": _PYRAMID | {"image_size": [64, 64]},
    "hiera": {"embed_dim": 16, "image_size": [128, 128], "depths": [1, 1, 2, 2],
              "num_heads": [1, 2, 2, 2], "patch_size": [7, 7]},
    "focalnet": {"patch_size": 4, "embed_dim": 16, "hidden_sizes": [16, 32], "depths": [1, 1],
                 "focal_levels": [2, 2], "focal_windows": [3, 3]},
    "levit": {"image_size": 224, "depths": [1, 1, 2], "hidden_sizes": [32, 48, 64],
              "num_attention_heads": [2, 2, 2], "patch_size": 16},
    "swiftformer": {"depths": [1, 1, 1, 2], "image_size": 64},
    "mobilevit": {"hidden_sizes": [16, 24, 32], "patch_size": 2, "image_size": 64,
                  "num_attention_heads": 4},
    "mobilevitv2": {"patch_size": 2, "image_size": 64, "width_multiplier": 0.5},
    "perceiver": {"d_latents": 32, "num_latents": 16, "num_self_attends_per_block": 2,
                  "image_size": 224},
    "imagegpt": {"vocab_size": 33, "n_positions": 64},
}  # fmt: skip


# Families that do not take photos, or need another package.
_NO_PHOTOS = {
    "dinat": "it needs the package natten",
    "imagegpt": "it takes the numbers of color clusters, not pixels",
    "shieldgemma2": "it takes text beside the image",
    "siglip2": "it takes patches of several sizes, not an image",
}


def transformers_families() -> list[str]:
    """The families that transformers classifies images with."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN,
    )

    return sorted(KNOWN)


def transformers_network(family: str, attention: str = "eager") -> Network:
    """Build a tiny network of transformers.

    Args:
        family: The model type of transformers, such as "vit".
        attention: How attention is computed, "eager" or "sdpa".
    """
    declare_torchvision_operators()
    import transformers
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN,
    )

    torch.manual_seed(0)
    if family in _NO_PHOTOS:
        raise ValueError(_NO_PHOTOS[family])
    names = KNOWN[family]
    kind = getattr(transformers, names if isinstance(names, str) else names[0])
    options = _small_options(AutoConfig.for_model(family), family)
    config = AutoConfig.for_model(family, num_labels=_CLASSES, **options)
    config._attn_implementation = attention
    module = kind._from_config(config, attn_implementation=attention)
    size = getattr(getattr(config, "vision_config", config), "image_size", 64)
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return Network(
        f"transformers {family} ({attention})", randomize(Logits(module)), (height, width)
    )


def _small_options(config: Any, family: str) -> dict[str, Any]:
    """The settings that shrink a network: two layers of 32 channels, where it has such settings."""
    options = dict(_OWN.get(family, {}))
    own = config.to_dict()
    for name, value in _SMALL.items():
        if isinstance(own.get(name), type(value)):
            options.setdefault(name, value)
    for part in ("vision_config", "text_config"):
        if hasattr(config, part):
            options[part] = _small_options(getattr(config, part), family)
    return options
