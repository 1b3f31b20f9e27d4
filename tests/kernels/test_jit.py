"""Tests of the distribution of kernels over threads: neither results nor stability depend on it."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from adcc_onnx.kernels import jit
from adcc_onnx.kernels.gradient_maps import weighted_sum
from adcc_onnx.kernels.similarity import mean_abs, pearson


def _inputs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((7, 11, 5, 6)).astype(np.float32)
    return a, rng.standard_normal((7, 11)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    a, w = _inputs()
    expected = np.stack([weighted_sum(a[i : i + 1], w[i : i + 1])[0] for i in range(len(a))])
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
    np.testing.assert_array_equal(weighted_sum(a, w), expected)


def test_concurrent_callers_get_the_same_results():
    jobs = [_inputs(seed) for seed in range(8)]
    sequential = [weighted_sum(*job) for job in jobs]
    with ThreadPoolExecutor(8) as callers:
        concurrent = list(callers.map(lambda i: weighted_sum(*jobs[i % 8]), range(400)))
    for i, maps in enumerate(concurrent):
        np.testing.assert_array_equal(maps, sequential[i % 8])


@pytest.mark.parametrize(("callers", "parts"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_callers_share_the_threads(monkeypatch, callers, parts):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(jit, "_compiled", lambda function: function)
    bounds = []
    record = jit.kernel(lambda start, stop: bounds.append((start, stop)))
    with jit.share_threads(callers):
        record(8)
        assert len(bounds) == parts
        with ThreadPoolExecutor(1) as other:  # another thread has not entered the context
            other.submit(record, 8).result()
        assert len(bounds) == parts + 4
    record(8)
    assert len(bounds) == parts + 8
    assert sum(stop - start for start, stop in bounds) == 3 * 8


def _send_mean(sender, maps):
    sender.send(mean_abs(maps))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_can_run_kernels():
    maps = np.random.default_rng(1).random((4, 3, 3), dtype=np.float32)
    expected = mean_abs(maps)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_mean, args=(sender, maps))
    child.start()
    try:
        assert receiver.poll(30), "the child process waits for threads of its parent"
        np.testing.assert_array_equal(receiver.recv(), expected)
    finally:
        child.kill()
        child.join()


def test_without_a_writable_cache_kernels_still_compile(monkeypatch):
    njit = numba.njit

    def without_cache(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(jit.numba, "njit", without_cache)

    @jit.kernel
    def doubled(start, stop, values, out):
        for i in range(start, stop):
            out[i] = 2.0 * values[i]

    out = np.empty(3)
    doubled(3, np.arange(3.0), out)
    np.testing.assert_array_equal(out, [0.0, 2.0, 4.0])


def test_as_kernel_array_copies_only_if_needed():
    ready = np.zeros((2, 3, 4), np.float32)
    assert jit.as_kernel_array(ready, 3) is ready
    read_only = ready.copy()
    read_only.flags.writeable = False
    for other in (ready[:, ::-1], ready.astype(np.float64), np.asfortranarray(ready), read_only):
        made = jit.as_kernel_array(other, 3)
        assert made.flags.c_contiguous and made.flags.writeable and made.dtype == np.float32


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5), (2, 0, 4), (2, 3, 0)])
def test_as_kernel_array_raises_for_other_shapes(shape):
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        jit.as_kernel_array(np.zeros(shape), 3)


def test_an_empty_batch_gives_empty_results():
    assert mean_abs(np.zeros((0, 3, 3))).shape == (0,)
    assert pearson(np.zeros((0, 3, 3)), np.zeros((0, 3, 3))).shape == (0,)
