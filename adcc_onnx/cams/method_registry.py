"""Methods by name: the built-in ones and those a user registers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar, overload

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.options import is_name, read_options, split_call

MapFunction = Callable[[MethodContext], Float32Array]

_Class = TypeVar("_Class", bound=type[Method])
_Function = TypeVar("_Function", bound=MapFunction)

PLUGINS = "adcc_onnx.cams"  # the entry point group of other packages' methods
# Each built-in method and the module that registers it, imported when it is first asked for.
_BUILT_IN = {
    "fakecam": "fakecam",
    "gradcam": "gradcam",
    "gradcam++": "gradcampp",
    "smoothgradcam++": "smoothgradcampp",
    "xgradcam": "xgradcam",
    "scorecam": "scorecam",
    "layercam": "layercam",
    "hirescam": "hirescam",
    "eigencam": "eigencam",
    "eigengradcam": "eigencam",
    "kpcacam": "kpcacam",
    "ablationcam": "ablationcam",
    "sscam": "sscam",
    "iscam": "iscam",
    "groupcam": "groupcam",
    "reciprocam": "reciprocam",
    "opticam": "opticam",
    "rise": "rise",
    "saliency": "saliency",
    "inputxgradient": "inputxgradient",
    "smoothgrad": "smoothgrad",
    "integratedgradients": "integratedgradients",
    "random": "random",
    "center": "center",
}

# What the paper compares, in the order of its tables.
PAPER_METHODS = ("fakecam", "gradcam", "gradcam++", "smoothgradcam++", "xgradcam", "scorecam")

_registered: dict[str, type[Method]] = {}


@overload
def method(target: _Class, /) -> _Class: ...


@overload
def method(
    *, name: str, needs: Iterable[Need], family: str = "custom", summary: str = ""
) -> Callable[[_Function], _Function]: ...


def method(
    target: _Class | None = None,
    /,
    *,
    name: str = "",
    needs: Iterable[Need] = (),
    family: str = "custom",
    summary: str = "",
) -> _Class | Callable[[_Function], _Function]:
    """Register a method, as a class or as a function, under its name.

    A class stands bare under the decorator and says the rest itself; its constructor's arguments
    are its options. A function from evidence to raw maps is given what a class would say:

        @method(name="activity", needs={Need.ACTIVATIONS})
        def activity(evidence):
            return evidence.activations.mean(axis=1)

    Raises:
        OptionError: the name cannot be asked for, or is taken by another method. The same class
            or function, defined anew, takes its own place.
    """
    if target is not None:
        _register(target)
        return target
    wanted = frozenset(needs)

    def of_function(function: _Function) -> _Function:
        _register(_class_of(function, name, wanted, family, summary))
        return function

    return of_function


def get_method(text: str) -> Method:
    """The method a user asks for: `"gradcam++"`, or with options `"smoothgradcam++(n=4)"`.

    Raises:
        OptionError: an unknown method or option, with the closest there are, or a wrong value.
    """
    name, options = split_call(text)
    found = _find(name)
    return found(**read_options(name, found, options))


def method_names() -> list[str]:
    """The names of all methods, the built-in ones first."""
    _load_plugins()
    return list(dict.fromkeys([*_BUILT_IN, *_registered]))


def list_methods() -> list[type[Method]]:
    """The classes of all methods, in the order of their names above."""
    return [_find(name) for name in method_names()]


def _find(name: str) -> type[Method]:
    if name in _BUILT_IN and name not in _registered:
        importlib.import_module(f"adcc_onnx.cams.{_BUILT_IN[name]}")
    if name not in _registered:
        names, broken = method_names(), _load_plugins()
        if name in _registered:
            return _registered[name]
        failed = "".join(f"; the plug-in {trouble}" for trouble in broken)
        raise OptionError(
            f"there is no method '{name}'{did_you_mean(name, names)} "
            f"(methods: {', '.join(names)}){failed}"
        )
    return _registered[name]


@cache
def _load_plugins() -> list[str]:
    """Import what other packages register under the entry point group `adcc_onnx.cams`.

    Returns:
        What could not be imported, and why: a broken plug-in hinders no other method.
    """
    broken = []
    for point in entry_points(group=PLUGINS):
        try:
            point.load()
        except Exception as error:  # whatever the plug-in's own code raises
            broken.append(f"'{point.name}' cannot be loaded ({error})")
    return broken


def _register(new: type[Method]) -> None:
    if not is_name(new.name):
        raise OptionError(f"'{new.name}' cannot name a method: no spaces, commas, '=' or brackets")
    owner = _registered.get(new.name)
    home = f"adcc_onnx.cams.{_BUILT_IN[new.name]}" if new.name in _BUILT_IN else new.__module__
    if new.__module__ != home or (owner is not None and _place(owner) != _place(new)):
        raise OptionError(f"there is a method '{new.name}' already: choose another name")
    _registered[new.name] = new


def _place(cls: type[Method]) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _class_of(
    function: MapFunction, name: str, needs: frozenset[Need], family: str, summary: str
) -> type[Method]:
    def raw_maps(self: Method, context: MethodContext) -> Float32Array:
        return function(context)

    members = {
        "name": name,
        "family": family,
        "summary": summary,
        "needs": needs,
        "raw_maps": raw_maps,
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
    }
    return type(function.__name__, (Method,), members)
