"""Sessions on a CPU share their working memory: the second one's run takes no more of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Eight sums of 16 MiB in a row, of which every second one is still read at the end.
TWO_SESSIONS = """
import re
import numpy as np, onnx, onnx_ir as ir
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session import Session

def taken():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

def session(name):
    lines = [f"v{i} = Add(v{i - 1}, v{i - 1})" for i in range(1, 9)]
    body = "\\n".join(lines) + f"\\n{name} = Sum(v1, v3, v5, v7, v8)"
    head = f"g (float[N, 4096] v0) => (float[N, 4096] {name})"
    text = f'<ir_version: 10, opset_import: ["" : 17]> {head} {{ {body} }}'
    return Session(ir.from_proto(onnx.parser.parse_model(text)), choose_device("cpu"), 1024)

image = {"v0": np.ones((1024, 4096), np.float32)}
first, second = session("first"), session("second")
grown = []
for one in (first, second):
    before = taken()
    one.run(image)
    grown.append(taken() - before)
assert grown[0] > 64, grown
assert grown[1] < 16, grown
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_second_session_works_in_the_memory_of_the_first() -> None:
    subprocess.run([sys.executable, "-c", TWO_SESSIONS], check=True)
