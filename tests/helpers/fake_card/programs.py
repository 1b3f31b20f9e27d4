"""Programs that run on the fake card, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
# Runs before every program: counters and faults of the card, and a model without convolutions.
_PRELUDE = """
import ctypes, json
import numpy as np
import adcc_onnx as adcc
from helpers.fake_card.model import cnn, toy

library = ctypes.CDLL("libcudart.so.13")
for name in ("card_used", "card_most"):
    getattr(library, name).restype = ctypes.c_size_t
library.card_limit.argtypes = [ctypes.c_size_t]
images = np.random.default_rng(0).standard_normal((5, 3, 16, 16)).astype(np.float32)
"""


def run_on_card(
    card: Path, program: str, *arguments: str, **faults: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python program on the fake card.

    Args:
        card: The folder of the card's libraries.
        program: The program; the names of the prelude are defined.
        *arguments: The arguments of the program.
        **faults: The environment variables of `card.c`.

    Returns:
        The finished process, with its text.
    """
    paths = [str(_ROOT), str(_ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(card),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **faults,
    }
    return subprocess.run(
        [sys.executable, "-c", _PRELUDE + program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=280,
        check=False,
    )
