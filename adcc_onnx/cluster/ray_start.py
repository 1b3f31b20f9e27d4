"""Starting Ray without its side effects: requests to cloud providers, and its signal handlers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Ray's head process asks the metadata services of three cloud providers where it runs, even without
# usage statistics. Behind a proxy that does not exist, these requests leave no machine.
_DASHBOARD_PROXY = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1,localhost"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def without_side_effects() -> Iterator[None]:
    """Let `ray.init` in the context contact no cloud provider and change no signal handler."""
    with _without_cloud_requests(), _with_own_handlers():
        yield


@contextmanager
def _without_cloud_requests() -> Iterator[None]:
    from ray._private import services

    start = services.start_ray_process

    def start_process(command: list[str], process_type: str, *args: Any, **options: Any) -> Any:
        if process_type == "dashboard":
            options["env_updates"] = {**(options.get("env_updates") or {}), **_DASHBOARD_PROXY}
        return start(command, process_type, *args, **options)

    services.start_ray_process = start_process
    try:
        yield
    finally:
        services.start_ray_process = start


@contextmanager
def _with_own_handlers() -> Iterator[None]:
    """Keep the signal handlers of this process.

    Ray's handler in Python exits with the status 15 without storing anything, and its handler in
    C++ prints a stack trace.
    """
    from ray._private import utils

    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    set_handler = utils.set_sigterm_handler

    def ignore(handler: Callable[..., Any]) -> None:
        return None

    utils.set_sigterm_handler = ignore
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:  # it was set by C code
                    signal.signal(number, handler)
