"""Write a model to a file that appears only after the checks of onnx and onnxruntime."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import AdccWarning, ModelError, OptionError, first_line
from adcc_onnx.graph.loading.saving import data_file, save
from adcc_onnx.graph.loading.weights import all_graphs
from adcc_onnx.runtime.devices import CPU_PROVIDER
from adcc_onnx.runtime.onnxruntime_import import onnxruntime

_SILENT = 4  # a logging level of onnxruntime; the errors are reported by us
_STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


def check_destination(out: str | Path, sources: Iterable[Path], force: bool = False) -> None:
    """Check that a model may be written to a file, before any work is done for it.

    Args:
        out: The file; large weights go to the file `OUT.data` in the same folder.
        sources: The files that the model is read from.
        force: Whether existing files may be replaced.

    Raises:
        OptionError: One of the two files is a source, is no regular file, or exists and may not be
            replaced.
    """
    out = Path(out)
    for file in (out, data_file(out)):
        if not os.path.lexists(file):
            continue
        if any(source.exists() and file.exists() and file.samefile(source) for source in sources):
            raise OptionError(
                f"{file} is the input model or its weights, which are never overwritten: choose "
                "another name with -o"
            )
        if file.exists() and not file.is_file():
            raise OptionError(f"{file} is not a regular file: choose another name with -o")
        if not force and file == out:
            raise OptionError(
                f"{file} exists: choose another name with -o, or replace the file with --force"
            )


def save_verified(
    model: ir.Model,
    out: str | Path,
    sources: Iterable[Path] = (),
    *,
    force: bool = False,
    custom_ops: Sequence[str] = (),
) -> None:
    """Write a model, check the written file, and only then give it its name.

    Args:
        model: The model.
        out: The file. Weights of 2 GiB and more go to the file `OUT.data` in the same folder.
        sources: The files that the model is read from; they are never overwritten.
        force: Whether existing files may be replaced.
        custom_ops: The paths of libraries with the model's custom operators.

    Raises:
        OptionError: A file exists, or is a source; see `check_destination`.
        ModelError: The file cannot be written, or fails a check. Nothing is left of it.
    """
    sources = list(sources)
    out = Path(out)
    check_destination(out, sources, force)
    real = Path(os.path.realpath(out))  # a link is kept, and the file behind it is replaced
    _import_domains(model)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{real.name}.", dir=real.parent))
    except OSError as error:
        raise _cannot_write(out, error) from error
    try:
        written = folder / real.name
        save(model, written)
        _check_written(written, out, custom_ops)
        check_destination(real, sources, force)
        if data_file(written).exists() and data_file(real).exists() and not force:
            raise OptionError(
                f"{data_file(real)} exists, and the weights would be written to it: choose another "
                "name with -o, or replace the file with --force"
            )
        _move_into_place(written, real)
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cannot_write(out: Path, error: OSError) -> ModelError:
    reason = error.strerror or first_line(error)
    return ModelError(f"cannot write {out}: {reason}; choose another file or folder with -o")


def _import_domains(model: ir.Model) -> None:
    """Import every domain whose operators are used; some exporters forget those of their own."""
    for graph in all_graphs(model):
        for node in graph:
            model.opset_imports.setdefault(node.domain, 1)


def _check_written(written: Path, out: Path, custom_ops: Sequence[str]) -> None:
    """Run the checker of onnx on a file, and open it in onnxruntime.

    Args:
        written: The file.
        out: The name of the file in messages.
        custom_ops: The libraries of custom operators.

    Raises:
        ModelError: The file fails a check.
    """
    try:
        # The path, not the model: the checker then reads external weights, and has no size limit.
        onnx.checker.check_model(str(written))
    except Exception as error:
        raise _invalid(written, out, "onnx.checker", error) from error
    try:
        _open(written, custom_ops)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        _warn_unopened(out, f"the CPU lacks a kernel ({first_line(error)})")
    except Exception as error:
        custom = _custom_operators(written)
        if custom and not custom_ops and "is not a registered function/op" in str(error):
            _warn_unopened(out, f"it needs a library with {', '.join(custom)}")
            return
        raise _invalid(written, out, "onnxruntime", error) from error


def _open(path: Path, custom_ops: Sequence[str]) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    for library in custom_ops:
        options.register_custom_ops_library(library)
    onnxruntime.InferenceSession(
        str(path), options, providers=[CPU_PROVIDER], enable_fallback=False
    )


def _custom_operators(path: Path) -> list[str]:
    graph = onnx.load(path, load_external_data=False).graph
    names = {f"{n.domain}.{n.op_type}" for n in graph.node if n.domain not in _STANDARD_DOMAINS}
    return sorted(names)


def _warn_unopened(out: Path, reason: str) -> None:
    warnings.warn(
        f"{out} passed onnx.checker, but was not opened in onnxruntime: {reason}",
        AdccWarning,
        stacklevel=2,
    )


def _invalid(written: Path, out: Path, tool: str, error: Exception) -> ModelError:
    reason = first_line(error).replace(str(written), str(out))[:300]
    return ModelError(
        f"{out} was not written, because the new model is invalid ({tool}: {reason}): this is a "
        "fault of adcc-onnx; please report it with the input model, and try another --layer"
    )


def _move_into_place(written: Path, out: Path) -> None:
    """Rename a file and its weights; if that fails, the weights are not left alone."""
    weights, separate = data_file(written), data_file(written).exists()
    if separate:
        weights.replace(data_file(out))
    try:
        written.replace(out)
    except OSError:
        if separate:
            data_file(out).unlink(missing_ok=True)
        raise
