"""Which methods cannot serve a model, found before the first image is run.

A gradient may be impossible to build, be refused by onnxruntime, or fail when it is run: each of
them concerns only the methods that need it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np

from adcc_onnx.cams.method import Need
from adcc_onnx.errors import AdccError, AdccWarning, ModelError, OutOfMemoryError
from adcc_onnx.explanation.model_requirements import missing_part
from adcc_onnx.explanation.required_passes import OWN_PASSES, pass_for
from adcc_onnx.graph.programs.tensor_names import IMAGE, TARGET
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import TARGETED, Pass
from adcc_onnx.runtime.session import Session

# A pass, and the index of the layer that it is for.
_Session = tuple[Pass, int]


def unavailable_methods(
    model: Model, methods: Mapping[str, frozenset[Need]], controls: Collection[str] = ()
) -> dict[str, str]:
    """Find the methods that a model cannot be explained by, usually for want of a gradient.

    Their reasons are given as a warning, so that the other methods can run.

    Args:
        model: The classifier.
        methods: What each method needs, by the method's name.
        controls: Names of the methods that are controls; they alone are not worth a run.

    Returns:
        The reason for each method that cannot run, by the method's name.

    Raises:
        ModelError: No method can run, or only controls can.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> unavailable_methods(model, {"scorecam": frozenset({Need.ACTIVATIONS})})
        {}
    """
    problems: dict[_Session, AdccError | None] = {}
    joint: _Session = (pass_for(frozenset[Need]().union(*methods.values())), 0)
    shared = _problem(model, joint, problems) is None
    errors: dict[str, AdccError] = {}
    for name, needs in methods.items():
        batch_pass = [] if shared else [(pass_for(needs), 0)]
        sessions = [*batch_pass, *_own_sessions(model, needs)]
        error = missing_part(model, needs) or next(
            (error for one in sessions if (error := _problem(model, one, problems))), None
        )
        if error is not None:
            errors[name] = error
    wanted = set(methods) - set(controls) or set(methods)
    if errors and wanted <= set(errors):
        raise next(error for name, error in errors.items() if name in wanted)
    _warn(model, errors)
    return {name: str(error) for name, error in errors.items()}


def _own_sessions(model: Model, needs: frozenset[Need]) -> list[_Session]:
    """The sessions that a method runs itself."""
    kinds = dict.fromkeys(kind for need, kind in OWN_PASSES.items() if need in needs)
    return [(kind, layer) for kind in kinds for layer in range(len(model.layers))]


def _problem(
    model: Model, session: _Session, known: dict[_Session, AdccError | None]
) -> AdccError | None:
    """Open a session once, try its gradients, and return the error that it ends in.

    Raises:
        OutOfMemoryError: The memory is too small, which is no property of the method.
    """
    if session not in known:
        known[session] = None
        kind, layer = session
        try:
            if kind is Pass.SUFFIX:
                model.pool.split_session(layer)
            else:
                opened = model.pool.session(kind, layer)
                if kind in TARGETED and not opened.samples:  # it has never run
                    _try_one_image(model, opened)
        except OutOfMemoryError:
            raise
        except ModelError as error:
            known[session] = error
    return known[session]


def _try_one_image(model: Model, session: Session) -> None:
    """Run one image of noise, since an operator may fail only when it is run.

    Raises:
        ModelError: The run fails.
    """
    shape = (1, model.classifier.channels, *model.size)
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with suppress(OutOfMemoryError):  # the images themselves report it
        session.run({IMAGE: image, TARGET: np.zeros(1, np.int64)})


def _warn(model: Model, errors: Mapping[str, AdccError]) -> None:
    by_reason: dict[str, list[str]] = {}
    for name, error in errors.items():
        by_reason.setdefault(str(error), []).append(name)
    for reason, names in by_reason.items():
        warnings.warn(
            f"{', '.join(names)} cannot explain {model.name} and will be skipped: {reason}",
            AdccWarning,
            stacklevel=3,
        )
