"""One lasting thread for everything that touches a card whose runs are recorded as CUDA graphs.

While a run is being recorded, CUDA forbids other threads to allocate and copy, and loses the
recording if they do. onnxruntime also keeps one recording per thread, so a new thread would record
again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from adcc_onnx.runtime.devices import Device

_NAME = "adcc-card"
_Result = TypeVar("_Result")


def on_device(device: Device, work: Callable[[], _Result]) -> _Result:
    """Do work on a device: in the lasting thread if it records runs, else in the calling thread.

    Args:
        device: The device.
        work: The work.

    Returns:
        The result of the work; its exceptions are raised here.
    """
    if not device.captures or threading.current_thread().name.startswith(_NAME):
        return work()
    return _thread().submit(work).result()


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=_NAME)
