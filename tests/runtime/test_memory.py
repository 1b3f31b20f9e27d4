"""When memory runs out, the batch is halved, down to one image; no image is lost or doubled."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from helpers.small_models import small

from adcc_onnx.cli.messages import printed_warnings
from adcc_onnx.errors import AdccWarning, ModelError, OutOfMemoryError
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session import Session

# Real messages from GPUs; the reason of the first one is on its second line.
MESSAGES = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv "
    "node. Name:'/stem/Conv' Status Message: \n/onnxruntime_src/onnxruntime/core/framework/"
    "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(...) Failed to allocate "
    "memory for requested buffer of size 939524096",
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=box ; expr=cudaMalloc((void**)&p, size);",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);",
    "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cudnnConvolutionForward(...)",
    "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0 ;",
    "CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ... CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_"
    "FAILED",
    "bfc_arena.cc:359 Available memory of 0 is smaller than requested bytes of 1048576",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "std::bad_alloc",
]


class Bound:
    """An onnxruntime binding that records how many images were bound."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.count = 0

    def bind_cpu_input(self, name: str, array: np.ndarray) -> None:
        self.count = len(array)
        self.inner.bind_cpu_input(name, array)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Small:
    """An onnxruntime session on a device with memory for a few images only."""

    def __init__(self, inner: Any, room: int, message: str) -> None:
        self._inner, self._room, self._message = inner, room, message
        self.batches: list[int] = []

    def io_binding(self) -> Bound:
        return Bound(self._inner.io_binding())

    def run_with_iobinding(self, bound: Bound) -> None:
        self.batches.append(bound.count)
        if bound.count > self._room:
            raise RuntimeError(self._message)
        self._inner.run_with_iobinding(bound.inner)


def _session(room: int, message: str, batch: int = 8, fixed: bool = False) -> tuple[Session, Small]:
    session = Session(ir.from_proto(small()), choose_device("cpu"), batch, fixed)
    session._session = Small(session._session, room, message)
    return session, session._session


IMAGES = np.random.default_rng(0).standard_normal((13, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("room", [1, 2, 3, 8])
def test_every_image_is_run_once_in_smaller_batches(room: int, message: str) -> None:
    session, device = _session(room, message)
    whole, _ = _session(8, message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AdccWarning)
        scores = session.run({"image": IMAGES})["scores"]
    np.testing.assert_array_equal(scores, whole.run({"image": IMAGES})["scores"])
    batch = {1: 1, 2: 2, 3: 2, 8: 8}[room]
    served = [count for count in device.batches if count <= room]
    assert served == [batch] * (13 // batch) + [13 % batch] * (13 % batch > 0)


def test_the_user_is_warned_and_the_smaller_batch_is_kept() -> None:
    session, device = _session(2, MESSAGES[0])
    with pytest.warns(AdccWarning) as caught:
        session.run({"image": IMAGES})
    assert [str(w.message) for w in caught] == [
        "out of memory with 8 images per run; continuing with 4",
        "out of memory with 4 images per run; continuing with 2",
    ]
    device.batches.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.run({"image": IMAGES})
    assert max(device.batches) == 2


def test_memory_that_is_not_in_use_is_freed_before_the_batch_is_halved() -> None:
    session, device = _session(2, MESSAGES[0])

    def make_room() -> bool:
        device._room = 8
        return True

    session._make_room = make_room
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = session.run({"image": IMAGES})["scores"]
    whole, _ = _session(8, MESSAGES[0])
    np.testing.assert_array_equal(scores, whole.run({"image": IMAGES})["scores"])
    assert device.batches == [8, 8, 5]


def test_it_is_an_error_if_one_image_does_not_fit() -> None:
    for session, device in (
        _session(0, MESSAGES[0], batch=2),
        _session(1, MESSAGES[0], batch=2, fixed=True),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdccWarning)
            with pytest.raises(OutOfMemoryError, match="memory is too small") as caught:
                session.run({"image": IMAGES})
        assert "\n" not in str(caught.value)
        assert device.batches[-1] == (1 if not session._fixed else 2)


def test_other_failures_are_not_retried() -> None:
    session, device = _session(1, "Non-zero status code returned while running Gemm node")
    with pytest.raises(ModelError, match="Gemm") as caught:
        session.run({"image": IMAGES})
    assert not isinstance(caught.value, OutOfMemoryError)
    assert device.batches == [8]


def test_the_command_line_prints_the_warning_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with printed_warnings():
        warnings.warn("out of memory", AdccWarning, stacklevel=1)
    assert capsys.readouterr().err == "adcc-onnx: out of memory\n"
