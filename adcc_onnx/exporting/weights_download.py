"""Downloads of weights by the frameworks, and what to do if one fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adcc_onnx.errors import ModelError, root_cause


@contextmanager
def downloading(network: str, files: str, place: str = "") -> Iterator[None]:
    """Explain the failure of a download in one line.

    Args:
        network: The network whose weights are downloaded.
        files: The file or files that are downloaded, as the user can find them.
        place: The folder in which the framework looks for the files first; empty if files can only
            be given by `--weights`.

    Raises:
        ModelError: The body raised an exception.
    """
    try:
        yield
    except Exception as error:  # the errors of network libraries have no common type
        where = f"place the file in {place}, or " if place else ""
        raise ModelError(
            f"the weights of {network} cannot be downloaded ({root_cause(error)}): get {files} on "
            f"a machine with a network, then {where}give its path by --weights; --weights none "
            "exports random weights"
        ) from error
