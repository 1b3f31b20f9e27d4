"""What a command says about the file that keeps its run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adcc_onnx.cli.messages import notice
from adcc_onnx.errors import InterruptedRunError


def tell_kept(kept: Path | None, out: Path | None) -> None:
    """Say where a run is kept.

    Args:
        kept: The file of the run; None if it is not kept.
        out: The file that the user named; None if it lies in the cache folder.
    """
    from adcc_onnx.runtime.cache_folder import KEPT_RUNS

    if kept is not None:
        place = out or f"the cache, which holds the last {KEPT_RUNS} runs"
        notice(
            f"kept in {place}: adcc-onnx report {kept} --format table|csv|json|html|latex|markdown"
        )


@contextmanager
def resume_hint(out: Path | None, named: bool) -> Iterator[None]:
    """Add to the message of an interrupted run how to continue it.

    Args:
        out: The file of the run; None if it is not kept.
        named: Whether the user named the file.
    """
    try:
        yield
    except (InterruptedRunError, KeyboardInterrupt):
        hint = "nothing is kept without -o RUN.sqlite"
        if out is not None:
            hint = "nothing was kept yet"
            if out.exists():
                options = "--resume" if named else f"-o {out} --resume"
                hint = (
                    f"what was finished is kept in {out}: the same command with {options} continues"
                )
        raise InterruptedRunError(f"interrupted; {hint}") from None
