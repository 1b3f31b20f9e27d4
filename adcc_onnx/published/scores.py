"""The table of published scores."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.published.publications import PUBLICATIONS, TABLES

_KEYS = ("table", "network", "method", "layer", "scores")


@dataclass(frozen=True)
class PublishedRow:
    """The published scores of one method on one network.

    Attributes:
        publication: Name of the publication.
        table: Name of the table or log within the publication.
        network: Name of the network.
        method: Name of the method, as published.
        layer: The explained layer: "before pooling", "last convolution" or "first activation" (of
            the last residual block); empty if it is not stated.
        scores: The differentiated scores, such as "logits"; empty if they are not stated.
        values: The scores as fractions, by their names in adcc-onnx.
    """

    publication: str
    table: str
    network: str
    method: str
    layer: str
    scores: str
    values: dict[str, float]


def published_rows(
    publication: str | None = None, networks: Iterable[str] = ()
) -> list[PublishedRow]:
    """Return the published scores.

    Args:
        publication: Name of a publication; all of them if None.
        networks: Names of networks; all of them if empty.

    Returns:
        The rows in the order of the sources.

    Raises:
        OptionError: There is no such publication, or it has no such network.

    Example:
        >>> row = published_rows("poppi2021", ["vgg16"])[0]
        >>> row.method, row.values["adcc"]
        ('gradcam', 0.5352)
    """
    if publication is not None and publication not in PUBLICATIONS:
        raise OptionError(
            f"there is no publication '{publication}'{did_you_mean(publication, PUBLICATIONS)} "
            f"(publications: {', '.join(PUBLICATIONS)})"
        )
    rows = [row for row in _rows() if publication in (None, row.publication)]
    known = list(dict.fromkeys(row.network for row in rows))
    wanted = list(networks)
    for name in wanted:
        if name not in known:
            raise OptionError(
                f"there are no published scores of a network '{name}'{did_you_mean(name, known)} "
                f"(networks: {', '.join(known)})"
            )
    return [row for row in rows if not wanted or row.network in wanted]


@cache
def _rows() -> tuple[PublishedRow, ...]:
    with Path(__file__).with_name("scores.csv").open(encoding="ascii", newline="") as file:
        return tuple(_row(cells) for cells in csv.DictReader(file))


def _row(cells: dict[str, str]) -> PublishedRow:
    values = {
        name: round(float(text) / 100, 6)
        for name, text in cells.items()
        if name not in _KEYS and text
    }
    table = cells["table"]
    return PublishedRow(
        TABLES[table],
        table,
        cells["network"],
        cells["method"],
        cells["layer"],
        cells["scores"],
        values,
    )
