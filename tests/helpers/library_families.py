"""One small network of every family of timm and transformers, against the library's own layers.

Each network has random weights. It is exported to ONNX, and three things are compared with torch:
the default layer with the tensor that the library's own code pools or gives to its last attention,
the gradient there with autograd, and an evaluation of two images must end without a failure.

Run in `tests/` as `python -m helpers.library_families ROWS.jsonl timm|transformers|dynamo
[NAME...]`. Networks whose rows are in the file are skipped, so that a stopped run continues.
`python -m helpers.library_families ROWS.jsonl page` prints docs/results/families.md.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import math
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import adcc_onnx as adcc
from adcc_onnx.errors import AdccError
from adcc_onnx.graph.programs.inspection import inspect
from helpers.library_layers import closest, own_layers
from helpers.library_networks import (
    TIMM,
    Network,
    timm_network,
    transformers_families,
    transformers_network,
)

LIMIT_SECONDS = 60
PACKAGES = ("torch", "timm", "transformers", "onnx", "onnxruntime-gpu")
_INTRODUCTION = """# The default layer of every architecture family

A wrong default layer gives a plausible but wrong table. This page compares the default layer of one
small network per timm module, and per image classification architecture of transformers, with the
layer that the library itself uses. It was made on {date} with {versions}.

Each network has random weights. For timm, it is the smallest network of the module, with images of
64 to 224 pixels, and with two blocks if all blocks are equal. For transformers, it has a tiny
configuration, and each architecture was built twice, with eager and with sdpa attention. Each
network was exported to ONNX by the older exporter at opset 18, or by the dynamo exporter if the
table says so. The columns contain:

* **Default layer**: the layer that `adcc-onnx inspect` selects, as the module path that the
  exporter recorded, and its shape without the batch.
* **The library's own tensor**: recorded by hooks in torch, without the ONNX graph. For feature
  maps, it is the input of the library's pooling module, or the output of `forward_features` (timm)
  or of the base model (transformers). For tokens, it is the input of the last attention module. The
  table contains the module path if the values equal those of the default layer, to 1e-3 of the
  largest value. Otherwise, the path of the expected tensor is given in parentheses.
* **Gradient error**: the largest difference between the gradients of `adcc-onnx expose` and of
  torch autograd at this layer, relative to the largest gradient. The limit is 1e-4. The error is 0
  if only a mean and a linear layer follow, because the gradient then consists of the weights.
* **Remark**: for example that the evaluation of two images with Grad-CAM failed.

A default layer that cannot be found with certainty is called a guess, with the reason. `--layer`
selects another layer.

To compute the table again, run `python -m helpers.library_families rows.jsonl timm` in `tests/`,
then the same with `transformers` and `dynamo`. An interrupted computation continues.
`python -m helpers.library_families rows.jsonl page` prints this page. The slow test
`tests/graph/classifier/test_library_layers.py` checks the same for all families, and the default
tests compare tiny networks of twelve kinds."""
DYNAMO = (
    "timm resnet18", "timm vit_tiny_patch16_224", "timm convnext_zepto_rms",
    "timm swin_tiny_patch4_window7_224", "timm mobilenetv3_small_050", "timm beit_base_patch16_224",
    "timm mixer_s32_224", "transformers vit", "transformers swin", "transformers convnext",
    "transformers dinov2_with_registers", "transformers siglip", "transformers beit",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What was found for one network.

    Attributes:
        name: The network.
        layer: The default layer, as a tensor's name.
        module: The module path that the exporter recorded for it.
        reason: Why it is the default layer.
        kind: "feature_map" or "tokens".
        shape: The shape of the default layer.
        own: The library's tensor that equals it; empty if none does.
        expected: The library's first choice.
        gradient_error: The largest error of the gradient, relative to its largest magnitude.
        remark: What else is to say, or the problem.
        seconds: The time that the row took.
    """

    name: str
    layer: str = ""
    module: str = ""
    reason: str = ""
    kind: str = ""
    shape: str = ""
    own: str = ""
    expected: str = ""
    gradient_error: float = math.nan
    remark: str = ""
    seconds: float = 0.0


def check(build: Callable[[], Network], name: str, dynamo: bool = False) -> Row:
    """Build, export and compare one network with torch."""
    try:
        network = build()
    except Exception as error:
        return Row(name, remark=f"not built: {_brief(error)}")
    torch.manual_seed(0)
    x = torch.randn(2, 3, *network.size)
    try:
        model, remark = _exported(network.module, x, dynamo)
        _session(model)
    except Exception as error:
        return Row(name, remark=f"not exported: {_brief(error)}")
    try:
        row = compare(network.module, model, x, name)
        problems = [remark, row.remark, _difference(network.module, model, x)]
        problems.append(evaluate_two(model, x))
        return replace(row, remark="; ".join(filter(None, problems)))
    except AdccError as error:
        return Row(name, remark=str(error))


def _exported(
    module: torch.nn.Module, x: torch.Tensor, dynamo: bool
) -> tuple[onnx.ModelProto, str]:
    """Export by the old exporter, and by the dynamo exporter where the old one cannot."""
    try:
        return export(module, x, dynamo), ""
    except TimeoutError:
        raise
    except Exception:
        return export(module, x, dynamo=True), "exported by dynamo"


def _difference(module: torch.nn.Module, model: onnx.ModelProto, x: torch.Tensor) -> str:
    """Say that the exported file computes other scores than torch."""
    session = _session(model)
    (scores, *_) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        wanted = module(x).numpy()
    error = float(np.abs(scores - wanted).max() / np.abs(wanted).max())
    return f"the exported scores differ by {error:.0e}" if error > 1e-4 else ""


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Open a model without optimization, which is wrong for some families (Pad and MaxPool)."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def export(module: torch.nn.Module, x: torch.Tensor, dynamo: bool = False) -> onnx.ModelProto:
    """Export a network with a dynamic batch, by the old or by the dynamo exporter."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
            program = torch.onnx.export(
                module, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False
            )
            assert program is not None
            proto: onnx.ModelProto = program.model_proto
            return proto
        file = io.BytesIO()
        torch.onnx.export(
            module, (x,), file, input_names=["x"], dynamic_axes={"x": {0: "n"}},
            opset_version=18, dynamo=False,
        )  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


def compare(module: torch.nn.Module, model: onnx.ModelProto, x: torch.Tensor, name: str) -> Row:
    """Compare the default layer and its gradient with the library's own."""
    found = inspect(model)
    default = found["default"]
    layer = next(entry for entry in found["layers"] if entry["name"] == default["name"])
    exposed = adcc.expose(model)
    session = _session(exposed)
    feeds = {session.get_inputs()[0].name: x.numpy(), "target": np.array([1, 3])}
    outputs = [f"{layer['name']}.activation", f"{layer['name']}.gradient"]
    activation, gradient = map(torch.from_numpy, session.run(outputs, feeds))
    scores, layers = own_layers(module, x)
    own, error = closest(layers, scores[[0, 1], [1, 3]], activation, gradient)
    return Row(
        name,
        layer["name"],
        layer["module"] or "",
        default["reason"],
        layer["kind"],
        str(layer["shape"][1:]),
        own,
        layers[0].name if layers else "",
        error,
        "" if own else "the default layer is none of the library's own",
    )


def evaluate_two(model: onnx.ModelProto, x: torch.Tensor) -> str:
    """Evaluate Grad-CAM on two images; returns what went wrong, or an empty text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save_model(model, path)
        try:
            result = adcc.evaluate(adcc.load(path, device="cpu"), x.numpy(), ["gradcam"])
        except AdccError as error:
            return f"evaluate: {error}"
    return f"{result.failed} images failed" if result.failed else ""


def _brief(error: Exception) -> str:
    text = re.sub(r"\x1b\[\d+m", "", str(error)).strip()
    return (text.splitlines() or [type(error).__name__])[0][:120]


def jobs(library: str, names: list[str]) -> Iterator[tuple[str, Callable[[], Network], bool]]:
    """The networks of one library: name, how to build it, and whether dynamo exports it."""
    if library == "timm":
        for name in names or TIMM:
            yield f"timm {name}", partial(timm_network, name), False
    elif library == "transformers":
        for family in names or transformers_families():
            for attention in ("eager", "sdpa"):
                name = f"transformers {family} ({attention})"
                yield name, partial(transformers_network, family, attention), False
    else:
        for entry in names or DYNAMO:
            source, name = entry.split()
            build: Callable[..., Network] = transformers_network
            if source == "timm":
                build = timm_network
            yield f"{entry} (dynamo)", partial(build, name), True


def _interrupt(*_: Any) -> None:
    raise TimeoutError(f"more than {LIMIT_SECONDS} s of processor time")


def check_in_time(build: Callable[[], Network], name: str, dynamo: bool = False) -> Row:
    """Compare one network with torch, within the limit of processor time."""
    previous = signal.signal(signal.SIGPROF, _interrupt)
    start = time.monotonic()
    signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
    try:
        row = check(build, name, dynamo)
    except Exception as error:
        row = Row(name, remark=f"{type(error).__name__}: {_brief(error)}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    return replace(row, seconds=round(time.monotonic() - start, 1))


def run(rows: Path, library: str, names: list[str]) -> None:
    """Append the rows of the networks that the file does not hold yet."""
    done = {row.name for row in read(rows)} if rows.exists() and not names else set()
    for name, build, dynamo in jobs(library, names):
        if name in done:
            continue
        row = check_in_time(build, name, dynamo)
        if "(sdpa)" in name and row.remark.startswith("not built"):
            continue  # as with eager attention, or the family has no other
        with rows.open("a") as stream:
            stream.write(json.dumps(asdict(row)) + "\n")
        print(row, flush=True)


def read(rows: Path) -> list[Row]:
    """Read the rows of a file, the last one of each network."""
    found = [Row(**json.loads(line)) for line in rows.read_text().splitlines()]
    return list({row.name: row for row in found}.values())


def page(rows: list[Row]) -> Iterator[str]:
    """The lines of docs/results/families.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield _INTRODUCTION.format(date=datetime.date.today(), versions=versions)
    for library, title in (("timm", "timm"), ("transformers", "transformers")):
        yield f"\n## {title}\n"
        yield "| network | default layer | the library's own tensor | gradient error | remark |"
        yield "| --- | --- | --- | --- | --- |"
        for row in sorted(rows, key=lambda row: row.name):
            if row.name.startswith(library):
                yield _line(row)


def _line(row: Row) -> str:
    error = "" if math.isnan(row.gradient_error) else f"{row.gradient_error:.0e}"
    layer = f"`{row.module.removeprefix('model.') or row.layer}` {row.shape}" if row.layer else ""
    own = f"`{row.own}`" if row.own else (f"(`{row.expected}`)" if row.expected else "")
    guess = row.reason.partition("; ")[2].partition(" (--layer")[0]
    remark = "; ".join(filter(None, [guess, row.remark]))
    return f"| {row.name.partition(' ')[2]} | {layer} | {own} | {error} | {remark} |"


def main() -> None:
    """Make rows, or print the page."""
    path, library, *names = sys.argv[1:]
    if library == "page":
        print("\n".join(page(read(Path(path)))))
    else:
        run(Path(path), library, names)


if __name__ == "__main__":
    main()
