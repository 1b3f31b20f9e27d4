"""Weights and the working memory of CPU sessions are in memory only once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

TAKEN = """
import re

def taken():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
"""
# A hundred weights of 1 MiB.
READ = """
import gc, sys
import numpy as np, onnx
from adcc_onnx.graph.loading.reading import read_model
from adcc_onnx.runtime.memory import trim_heap

before = taken()
model = read_model(sys.argv[1])
gc.collect(), trim_heap()
grown = taken() - before
looked_at = [value.const_value.numpy() for value in model.graph.initializers.values()]
assert 99 < grown < 115, grown
assert taken() - before < 115, taken() - before
"""
# Eight sums of 16 MiB in a row, of which every second one is still read at the end.
TWO_SESSIONS = """
import numpy as np, onnx, onnx_ir as ir
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session import Session

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


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads /proc of Linux"
)


def test_a_second_session_works_in_the_memory_of_the_first() -> None:
    subprocess.run([sys.executable, "-c", TAKEN + TWO_SESSIONS], check=True)


def test_a_loaded_model_keeps_its_weights_but_not_its_file_in_memory(tmp_path: Path) -> None:
    names = [f"w{i}" for i in range(100)]
    weights = [onnx.numpy_helper.from_array(np.ones(2**18, "f4"), name) for name in names]
    image = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2**18])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2**18])
    total = onnx.helper.make_node("Sum", ["x", *names], ["y"])
    graph = onnx.helper.make_graph([total], "g", [image], [result], weights)
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    subprocess.run([sys.executable, "-c", TAKEN + READ, path], check=True)
