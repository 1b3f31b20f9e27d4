"""The kinds of passes through a classifier, and who counts and stops them."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pass(enum.Enum):
    """The kinds of passes through a classifier; each has a graph and a session of its own."""

    FORWARD = "scores"
    ACTIVATIONS = "scores and activations"
    GRADIENTS = "scores, activations and gradients"
    MASKED = "scores of one image under many masks"
    BLENDED = "scores of one image, blended with a baseline by many masks"
    RANKED = "scores of one image with its first pixels replaced"
    SUFFIX = "scores of one image with many masks on the activations of a layer"
    IMAGE_GRADIENTS = "scores and gradients with respect to the image"
    SHARE_GRADIENTS = "scores under a mixture of channels, and gradients of its weights"
    ATTENTIONS = "scores, activations and attentions"
    ATTENTION_GRADIENTS = "scores, activations, attentions and gradients of both"
    TOKEN_TRANSFORMS = "the same, and tokens before and behind the projections of attentions"
    BLOCK_SCORE_GRADIENTS = "gradients of the scores of each block of a transformer"
    HESSIAN_PRODUCTS = "products of second derivatives with the activations"
    FULL_GRADIENT = "contributions of the image and of all biases to a score"
    MIXED_GRADIENTS = "gradients of weighted sums of the logits"


# The passes that take the input `target`.
TARGETED = frozenset(
    (
        Pass.GRADIENTS,
        Pass.IMAGE_GRADIENTS,
        Pass.ATTENTION_GRADIENTS,
        Pass.TOKEN_TRANSFORMS,
        Pass.BLOCK_SCORE_GRADIENTS,
        Pass.HESSIAN_PRODUCTS,
        Pass.FULL_GRADIENT,
    )
)


class RunStoppedError(BaseException):
    """The user asked for a stop; raised between two passes.

    It is no `Exception`, so that a method that handles its own errors cannot swallow it.
    """


class PassCounter:
    """Counts the passes of one thread, and stops them on request.

    Args:
        stop: A function that returns whether to stop before the next pass.

    Attributes:
        passes: The number of samples that were run so far by the kind of pass. Only the counting
            thread writes it, so no lock is needed; other threads may read it.
    """

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self.passes: dict[Pass, int] = {}
        self._stop = stop

    def before_run(self) -> None:
        """Raise the request to stop, if there is one.

        Raises:
            RunStoppedError: The user asked for a stop.
        """
        if self._stop():
            raise RunStoppedError

    def add(self, kind: Pass, samples: int) -> None:
        """Count samples.

        Args:
            kind: The kind of pass.
            samples: The number of samples that were run.
        """
        self.passes[kind] = self.passes.get(kind, 0) + samples


class _Thread(threading.local):
    """The counter of each thread; None where nobody counts."""

    counter: PassCounter | None = None


_THREAD = _Thread()


def current_counter() -> PassCounter | None:
    """Return the counter of this thread; None if nobody counts."""
    return _THREAD.counter


@contextmanager
def counting(counter: PassCounter) -> Iterator[PassCounter]:
    """Count the passes that this thread runs in the context.

    Args:
        counter: The counter.

    Yields:
        The counter.

    Example:
        >>> with counting(PassCounter()) as counter:
        ...     counter.add(Pass.FORWARD, 8)
        >>> counter.passes
        {<Pass.FORWARD: 'scores'>: 8}
    """
    outer, _THREAD.counter = _THREAD.counter, counter
    try:
        yield counter
    finally:
        _THREAD.counter = outer
