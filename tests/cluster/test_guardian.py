"""The guardian ends what a driver leaves, also what appears seconds after the driver's death."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from adcc_onnx.cluster import guardian
from adcc_onnx.cluster.guardian import MARK, guarded

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no environments of other processes"
)
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_what_is_left_at_the_end_is_ended() -> None:
    with guarded():
        left = subprocess.Popen(SLEEPER)
        time.sleep(0.5)
        start = time.monotonic()
    assert left.wait(10) == -9
    assert time.monotonic() - start < 4  # a driver that ends by itself waits only for a moment
    assert MARK not in os.environ


def test_a_process_that_appears_after_the_drivers_death_is_ended() -> None:
    mark = {**os.environ, MARK: "a driver that dies"}
    words = [sys.executable, guardian.__file__, mark[MARK]]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as watching:
        watching.stdin.close()
        time.sleep(2)
        late = subprocess.Popen(SLEEPER, env=mark)
        assert late.wait(20) == -9
        watching.kill()


def test_a_title_of_ray_does_not_hide_a_process() -> None:
    """Ray's agents set titles, which otherwise overwrite the environment that others see."""
    if find_spec("ray") is None:  # an import would change what children inherit
        pytest.skip("Ray is not installed")
    program = "import time; from ray._raylet import setproctitle; setproctitle('ray::Agent'); "
    with guarded():
        words = [sys.executable, "-c", f"{program}print(flush=True); time.sleep(60)"]
        left = subprocess.Popen(words, stdout=subprocess.PIPE)
        left.stdout.readline()
    assert left.wait(10) == -9
