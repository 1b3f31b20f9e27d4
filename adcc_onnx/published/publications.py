"""The publications whose scores are known, and how each of them computed its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

ILSVRC_IMAGES = 50_000


@dataclass(frozen=True)
class Publication:
    """A publication with scores.

    Attributes:
        name: The name in requests, such as "poppi2021".
        title: Authors and title.
        source: Where the scores were read.
        images: The images, in words.
        count: Number of these images.
        protocol: The protocol, "poppi2021" or "openvino".
        target: The explained class, "label" or "predicted".
        remarks: What the source leaves open, in sentences.
    """

    name: str
    title: str
    source: str
    images: str
    count: int
    protocol: str
    target: str
    remarks: tuple[str, ...] = ()


_VALIDATION = "the ILSVRC2012 validation images"
_PUBLICATIONS = (
    Publication(
        "shapleycam2024",
        "Cai, CAMs as Shapley Value-based Explainers, arXiv 2501.06261",
        "the author's logs in github.com/caihuaiguang/pytorch-shapley-cam at ee02cce",
        _VALIDATION,
        ILSVRC_IMAGES,
        "poppi2021",
        "predicted",
        (
            "the class is that of the scripts in the repository that write this format of log",
            "the logs gist_conv and gist_avgpoolpre contain an earlier version of ReST than the "
            "logs gist2_conv and gist_avgpoolpre2, whose version is y_c + log p",
            "for ResNet and ResNeXt, the logs gist_avgpoolpre and output_avgpoolpre explain the "
            "first activation of the last block: the scripts name an activation module that the "
            "block calls several times, and the program takes the first call",
            "the log compare.txt states neither layer nor score",
        ),
    ),
    Publication(
        "poppi2021",
        "Poppi, Cornia, Baraldi and Cucchiara, Revisiting the Evaluation of Class Activation "
        "Mapping for Explainability, CVPR Workshops 2021",
        "second hand: Table 1 of ReciproCAM, from the image in github.com/sybyun/ReciproCAM",
        _VALIDATION,
        ILSVRC_IMAGES,
        "poppi2021",
        "predicted",
        ("neither the layer nor the explained class is stated there",),
    ),
    Publication(
        "reciprocam",
        "Byun and Lee, ReciproCAM, CVPR Workshops 2024",
        "Table 1, from the image in github.com/sybyun/ReciproCAM",
        _VALIDATION,
        ILSVRC_IMAGES,
        "poppi2021",
        "label",
        ("the layer is not stated there",),
    ),
    Publication(
        "vitcam",
        "Byun and Lee, ViT-ReciproCAM, arXiv 2310.02588",
        "the image of the table in github.com/sybyun/vitcam at c7018ee",
        _VALIDATION,
        ILSVRC_IMAGES,
        "poppi2021",
        "label",
        ("the layer and the number of images are not stated there",),
    ),
    Publication(
        "openvino",
        "OpenVINO XAI, user guide",
        "the table of the user guide",
        "5,000 of the ILSVRC2012 validation images (seed 42)",
        5_000,
        "openvino",
        "predicted",
        ("neither the weights nor the explained class are stated there",),
    ),
    Publication(
        "cape",
        "Chowdhury et al., CAPE, CVPR 2024",
        "second hand: Table 1",
        "the 5,794 test images of CUB-200-2011",
        5_794,
        "poppi2021",
        "predicted",
        ("the network was trained by the authors, so its file must be given",),
    ),
)
PUBLICATIONS: Mapping[str, Publication] = MappingProxyType({p.name: p for p in _PUBLICATIONS})

# A score that depends on more than the logits: (1 + p) y_c - <softmax(y), y> with p and the softmax
# held constant, as the author's code calls it the original ReST.
EARLIER_REST = "earlier rest"
# Tables that state neither the layer nor the differentiated score, so that nothing can be measured.
WITHOUT_SETTINGS = frozenset({"compare"})
# The publication of each table of `scores.csv`.
TABLES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "compare", "gist2_conv", "gist_avgpoolpre", "gist_avgpoolpre2", "gist_conv",
                "output_avgpoolpre_lnsoftmax", "output_avgpoolpre_presoftmax",
                "output_conv_lnsoftmax",
            ),
            "shapleycam2024",
        ),
        "poppi": "poppi2021",
        "reciprocam": "reciprocam",
        "vitcam": "vitcam",
        "openvino": "openvino",
        "cape": "cape",
    }
)  # fmt: skip
