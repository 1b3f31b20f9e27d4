"""A registry of named classes: built-in ones, and those that users and other packages register."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.options import is_name, read_options, split_call

Base = TypeVar("Base")


class PluginRegistry(Generic[Base]):
    """Classes of one kind by name, created from text such as `"deletion(steps=56)"`.

    A built-in class is imported when its name is first requested. Other packages name their modules
    in an entry point group; these are imported when a name is not built in, or all are listed.

    Args:
        base: The class that every registered class extends.
        kind: The word for one of them in messages, "method" or "metric".
        group: The entry point group of other packages.
        built_in: The module and the class of each built-in name.
        required: Class attributes that a registered class must define.
    """

    def __init__(
        self,
        base: type[Base],
        kind: str,
        group: str,
        built_in: Mapping[str, tuple[str, str]],
        required: tuple[str, ...],
    ) -> None:
        self.group = group
        self._base, self._kind, self._built_in, self._required = base, kind, built_in, required
        self._registered: dict[str, type[Base]] = {}
        self._broken: list[str] | None = None

    def names(self) -> list[str]:
        """All names, the built-in ones first."""
        self._load_plugins()
        return [*self._built_in, *self._registered]

    def classes(self) -> list[type[Base]]:
        """The classes of all names, in the same order."""
        return [self.find(name) for name in self.names()]

    def create(self, text: str) -> Base:
        """An instance from its name, with options in brackets if there are any.

        Raises:
            OptionError: The name or an option does not exist, or a value is wrong.
            TypeError: `text` is not a string.
        """
        if not isinstance(text, str):
            raise TypeError(f"a {self._kind} is given by name, not by {type(text).__name__}")
        name, options = split_call(text)
        found = self.find(name)
        return found(**read_options(name, found, options))

    def find(self, name: str) -> type[Base]:
        """The class of a name.

        Raises:
            OptionError: The name does not exist; the message lists close names and the plug-ins
                that could not be imported.
        """
        if name in self._built_in:
            module, attribute = self._built_in[name]
            found: type[Base] = getattr(importlib.import_module(module), attribute)
            return found
        if name not in self._registered:
            self._load_plugins()
        if name not in self._registered:
            names = self.names()
            failed = "".join(f"; the plug-in {problem}" for problem in self._load_plugins())
            raise OptionError(
                f"there is no {self._kind} '{name}'{did_you_mean(name, names)} "
                f"({self._kind}s: {', '.join(names)}){failed}"
            )
        return self._registered[name]

    def register(self, new: type[Base]) -> None:
        """Add a class under its `name`; the same class defined again replaces the earlier one.

        Raises:
            OptionError: The name is taken or cannot be written in a request, or the class lacks an
                attribute.
            TypeError: `new` is not a class of this kind.
        """
        if not (isinstance(new, type) and issubclass(new, self._base)):
            raise TypeError(
                f"{getattr(new, '__name__', new)!r} is not a subclass of {self._base.__name__}: "
                f"register a function with {self._kind}(name=..., ...)"
            )
        missing = [name for name in self._required if not hasattr(new, name)]
        if missing:
            raise OptionError(f"{new.__name__} must define {' and '.join(missing)}")
        name = str(new.name)  # type: ignore[attr-defined]
        if not is_name(name):
            raise OptionError(
                f"'{name}' cannot name a {self._kind}: no spaces, commas, '=' or brackets"
            )
        owner = self._registered.get(name)
        if name in self._built_in or (owner is not None and _place(owner) != _place(new)):
            raise OptionError(f"there is a {self._kind} '{name}' already: choose another name")
        self._registered[name] = new

    def register_function(
        self, function: Callable[[Any], Any], implements: str, attributes: Mapping[str, object]
    ) -> None:
        """Add a class made of one function.

        Args:
            function: The body of the class's only method, without `self`.
            implements: The name of that method.
            attributes: The class attributes.

        Raises:
            OptionError: The name is taken or cannot be written in a request.
        """

        def call(self: Base, argument: Any) -> Any:
            return function(argument)

        members = {
            **attributes,
            implements: call,
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "__qualname__": function.__qualname__,
        }
        self.register(type(function.__name__, (self._base,), members))

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Start a block with the built-in names only, and undo what it registers; for tests."""
        before = self._registered, self._broken
        self._registered, self._broken = {}, None
        try:
            yield
        finally:
            self._registered, self._broken = before

    def _load_plugins(self) -> list[str]:
        """Import the modules of the entry point group once.

        Returns:
            Which could not be imported, and why; a broken plug-in does not affect the others.
        """
        if self._broken is None:
            self._broken = []
            for point in entry_points(group=self.group):
                try:
                    point.load()
                except Exception as error:  # a plug-in's own code may raise anything
                    self._broken.append(f"'{point.name}' cannot be loaded ({error})")
        return self._broken


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
