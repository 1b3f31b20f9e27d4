"""How many images, threads and concurrent runs a model is run with."""

from __future__ import annotations

from dataclasses import dataclass

from adcc_onnx.errors import OptionError


@dataclass(frozen=True)
class RunSettings:
    """Settings that change the speed of a model, but not its results.

    Attributes:
        batch: Number of images per run, at least 1.
        threads: Number of intra-op threads per run; 0 uses one per core.
        concurrent_runs: Number of batches that are run at the same time, at least 1.

    Raises:
        OptionError: A number is too small.

    Example:
        >>> RunSettings(8, concurrent_runs=2)
        RunSettings(batch=8, threads=0, concurrent_runs=2)
    """

    batch: int
    threads: int = 0
    concurrent_runs: int = 1

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("threads", 0), ("concurrent_runs", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
            if value < least:
                raise OptionError(f"{name} must be at least {least}, not {value}")

    def __str__(self) -> str:
        runs = f", {self.concurrent_runs} concurrent runs" if self.concurrent_runs > 1 else ""
        return f"{self.batch} images per run{runs}"
