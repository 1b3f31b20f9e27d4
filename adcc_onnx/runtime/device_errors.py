"""What onnxruntime's errors on a device mean, in one place for opening, copying and running."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from adcc_onnx.errors import AdccError, ModelError, OutOfMemoryError, first_line

# Parts of the out-of-memory messages of onnxruntime, CUDA, cuBLAS, cuDNN (8 and 9), TensorRT and
# C++, in lower case with spaces for underscores.
_OUT_OF_MEMORY = (
    "failed to allocate memory",
    "is smaller than requested bytes",
    "out of memory",
    "outofmemory",
    "alloc failed",
    "allocation failed",
    "memoryallocation",
    "bad alloc",
    "bad allocation",
)
_NO_KERNELS = ("cudaerrornokernelimagefordevice", "no kernel image is available")
# The part of a CUDA message that says what happened; template names of C++ surround it.
_CUDA_REASON = re.compile(
    r"\b(?:CUDA|CUBLAS|CUBLASLT|CUDNN|CUDNN_FE|CURAND) (?:failure|error)\b.*?(?= ; |$)",
    re.MULTILINE,
)
_NODE = re.compile(r"running (\S+ node)")
_LONGEST = 300


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out.

    Args:
        error: An error of onnxruntime or Python.
    """
    return isinstance(error, MemoryError | OutOfMemoryError) or _says(error, _OUT_OF_MEMORY)


def lacks_kernels(error: BaseException) -> bool:
    """Return whether an error says that a library has no kernels for the GPU.

    Args:
        error: An error of onnxruntime.
    """
    return _says(error, _NO_KERNELS)


def reason_of(error: BaseException) -> str:
    """Return one line that says why onnxruntime failed, without the C++ around it.

    Args:
        error: An error of onnxruntime.

    Example:
        >>> reason_of(RuntimeError("/a.cc:1 T f(X) [with T = int] CUDA failure 46: busy ; GPU=0"))
        'CUDA failure 46: busy'
    """
    found = _CUDA_REASON.search(str(error))
    if found is None:
        return first_line(error)[:_LONGEST]
    node = _NODE.search(str(error))
    where = "" if node is None else f" in a {node[1]}"
    return f"{found[0].strip()}{where}"[:_LONGEST]


@contextmanager
def device_errors(action: str) -> Iterator[None]:
    """Raise errors of onnxruntime in a block as errors for the user.

    Args:
        action: What failed, such as "onnxruntime failed to run the model".

    Raises:
        OutOfMemoryError: Memory ran out.
        ModelError: Anything else failed.
    """
    try:
        yield
    except AdccError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                "the memory is too small to run the model; give --batch-size 1, smaller images "
                "or --device cpu"
            ) from error
        raise ModelError(f"{action}: {reason_of(error)}") from error


def _says(error: BaseException, signs: tuple[str, ...]) -> bool:
    text = str(error).lower().replace("_", " ")
    return any(sign in text for sign in signs)
