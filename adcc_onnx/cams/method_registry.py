"""CAM methods by name: the built-in ones and those that users and other packages register."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, overload

from adcc_onnx.cams.method import Method, MethodContext, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.options import split_call
from adcc_onnx.plugin_registry import PluginRegistry

MapFunction = Callable[[MethodContext], Float32Array]

_Class = TypeVar("_Class", bound=type[Method])
_Function = TypeVar("_Function", bound=MapFunction)

# The methods of the ADCC paper, in the order of its tables.
PAPER_METHODS = ("fakecam", "gradcam", "gradcam++", "smoothgradcam++", "xgradcam", "scorecam")

# The controls that run beside every choice of methods.
DEFAULT_CONTROLS = ("random", "center")

# The module under `adcc_onnx.cams` and the class of each built-in method.
_BUILT_IN = {
    "fakecam": ("controls", "FakeCAM"),
    "gradcam": ("gradient_cams", "GradCAM"),
    "gradcam++": ("gradient_cams", "GradCAMPP"),
    "smoothgradcam++": ("gradient_cams", "SmoothGradCAMPP"),
    "xgradcam": ("gradient_cams", "XGradCAM"),
    "scorecam": ("score_cams", "ScoreCAM"),
    "layercam": ("gradient_cams", "LayerCAM"),
    "hirescam": ("gradient_cams", "HiResCAM"),
    "cam": ("gradient_cams", "CAM"),
    "gradcamelementwise": ("gradient_cams", "GradCAMElementWise"),
    "shapleycam": ("gradient_cams", "ShapleyCAM"),
    "finercam": ("contrast_cams", "FinerCAM"),
    "eigencam": ("component_cams", "EigenCAM"),
    "eigengradcam": ("component_cams", "EigenGradCAM"),
    "segeigencam": ("component_cams", "SegEigenCAM"),
    "kpcacam": ("component_cams", "KPCACAM"),
    "ablationcam": ("ablation_cams", "AblationCAM"),
    "sscam": ("score_cams", "SSCAM"),
    "iscam": ("score_cams", "ISCAM"),
    "groupcam": ("score_cams", "GroupCAM"),
    "reciprocam": ("ablation_cams", "ReciproCAM"),
    "opticam": ("optimized_cams", "OptiCAM"),
    "rise": ("random_masks", "RISE"),
    "saliency": ("pixel_attributions", "Saliency"),
    "inputxgradient": ("pixel_attributions", "InputXGradient"),
    "fullgrad": ("pixel_attributions", "FullGrad"),
    "smoothgrad": ("pixel_attributions", "SmoothGrad"),
    "integratedgradients": ("pixel_attributions", "IntegratedGradients"),
    "rollout": ("attention_cams", "AttentionRollout"),
    "chefer": ("attention_cams", "Chefer"),
    "attentioncam": ("attention_cams", "AttentionCAM"),
    "attcat": ("attention_cams", "AttCAT"),
    "legrad": ("attention_cams", "LeGrad"),
    "tokentm": ("attention_cams", "TokenTM"),
    "random": ("controls", "Random"),
    "center": ("controls", "Center"),
}

METHODS: PluginRegistry[Method] = PluginRegistry(
    Method,  # type: ignore[type-abstract]
    kind="method",
    group="adcc_onnx.cams",
    built_in={name: (f"adcc_onnx.cams.{file}", cls) for name, (file, cls) in _BUILT_IN.items()},
    required=("name", "family", "summary", "needs"),
)


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
    """Register a CAM method, written as a class or as a function.

    A class is decorated with `@method` alone. It defines its name, family, summary and needs
    itself, and the arguments of its constructor are the method's options. A function from the
    context to raw maps is decorated with `@method(name=..., needs=...)`.

    Args:
        target: The class.
        name: The function's name in requests, without spaces, commas, "=" or brackets.
        needs: Everything the function reads from its context.
        family: The family in lists of methods.
        summary: One line for lists of methods.

    Returns:
        The class or function, unchanged.

    Raises:
        OptionError: The name is not usable or is taken by another method. The same class or
            function, defined again, replaces the earlier one.
        TypeError: `target` is not a subclass of `Method`.

    Example:
        >>> import numpy as np
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> context = ArrayContext(activations=np.full((1, 3, 1, 2), 0.5, np.float32))
        >>> with METHODS.isolated():  # outside of tests, register at the top of a module
        ...     @method(name="activity", needs={Need.ACTIVATIONS}, summary="mean activation")
        ...     def activity(context):
        ...         return context.activations.mean(axis=1)
        ...     get_method("activity").raw_maps(context)
        array([[[0.5, 0.5]]], dtype=float32)
    """
    if target is not None:
        METHODS.register(target)
        return target
    attributes = {"name": name, "family": family, "summary": summary, "needs": frozenset(needs)}

    def register_function(function: _Function) -> _Function:
        METHODS.register_function(function, "raw_maps", attributes)
        return function

    return register_function


def get_method(text: str) -> Method:
    """Create the method that a text names, such as "gradcam++" or "smoothgradcam++(n=4)".

    Args:
        text: The name, with options in brackets if there are any.

    Returns:
        The method with these options.

    Raises:
        OptionError: The method or an option does not exist, or a value is wrong. The message
            suggests close names.

    Example:
        >>> get_method("smoothgradcam++(n=4, sigma=0.3)")
        SmoothGradCAMPP(n=4, sigma=0.3)
    """
    return METHODS.create(text)


def method_title(text: str) -> str:
    """The name of a method as its authors write it, with the options that a text names.

    Args:
        text: A method with its options, or the name of ready-made maps, which stays as it is.

    Example:
        >>> method_title("smoothgradcam++(n=4)")
        'Smooth Grad-CAM++ (n=4)'
        >>> method_title("maps of another tool")
        'maps of another tool'
    """
    try:
        name, options = split_call(text)
        title = METHODS.find(name).title or name
    except OptionError:
        return text
    return f"{title} ({text[len(name) :].strip()[1:-1]})" if options else title


def method_names() -> list[str]:
    """The names of all methods, the built-in ones first.

    Example:
        >>> method_names()[:3]
        ['fakecam', 'gradcam', 'gradcam++']
    """
    return METHODS.names()


def list_methods() -> list[type[Method]]:
    """Return the classes of all methods, built-in and registered ones.

    Returns:
        The classes, in the order of the command `adcc-onnx methods`.

    Example:
        >>> import adcc_onnx as adcc
        >>> [(cls.name, cls.family) for cls in adcc.list_methods()][:2]
        [('fakecam', 'control'), ('gradcam', 'gradient')]
    """
    return METHODS.classes()
