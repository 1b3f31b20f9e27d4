"""Clusters: results are equal wherever they are computed and whichever worker is lost."""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.command_line import (
    command,
    count,
    environment,
    evaluation,
    images_in,
    report_of,
    run_whole,
)
from helpers.input_twins import twin

from adcc_onnx.cluster import heartbeat, worker_pool
from adcc_onnx.cluster.backlog import Backlog, Chunk
from adcc_onnx.cluster.connection import Cluster, connected, place_workers
from adcc_onnx.cluster.job import Job, identity
from adcc_onnx.cluster.worker import Worker
from adcc_onnx.cluster.worker_pool import Placement
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import ClusterError, DeviceError, ModelError, OptionError
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.run_options import ModelOptions, PlanOptions, SourceOptions, load_with
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.model import load
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

IMAGES = 32

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None or sys.platform != "linux", reason="Ray is not installed, or no /proc"
)
ON_LOOPBACK = {
    **environment(),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


@contextmanager
def loopback_cluster() -> Iterator[tuple[str, list[int], Callable[[], int]]]:
    """Start two nodes; yield the head's address, the process ids, and what adds another node."""
    program = Path(__file__).parents[1] / "helpers" / "loopback_cluster.py"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    for _ in range(3):  # on a busy machine Ray gives up after 30 s
        process = subprocess.Popen([sys.executable, program], text=True, env=ON_LOOPBACK, **pipes)
        address, *numbers = process.stdout.readline().split() or [""]
        if address:
            break
        process.kill()
        process.wait()

    def add() -> int:
        print(file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield address, [int(number) for number in numbers], add
    process.stdin.close()
    process.wait(60)


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, list[int]]]:
    with loopback_cluster() as (address, raylets, _):
        yield address, raylets


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report of an uninterrupted run in one process."""
    path = tmp_path_factory.mktemp("whole") / "run.sqlite"
    run_whole(*evaluation(IMAGES), "-o", path)
    return report_of(path)


@needs_ray
@pytest.mark.ci
@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_result_is_equal(
    nodes: tuple[str, list[int]], whole: str, tmp_path: Path
) -> None:
    address, raylets = nodes
    path = tmp_path / "run.sqlite"
    run_whole(*evaluation(IMAGES), "-o", path, "--limit", "10")
    words = command(*evaluation(IMAGES), "-o", path, "--resume", "--cluster", address)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, env=ON_LOOPBACK, **pipes) as driver:
        # The first one that works: on a busy machine the other may start when all is done.
        victim, *_ = wait_for(lambda: [*at_work(raylets[0]), *at_work(raylets[1])], driver)
        listening = {address for raylet in raylets for address in listeners(raylet)}
        os.kill(victim, signal.SIGKILL)
        at_death = images_in(path)
        table, said = driver.communicate()
    assert driver.returncode == 0, said
    assert table.startswith(f"classifier · {IMAGES} images")
    assert 10 <= at_death < IMAGES
    assert "was lost; others take over" in said and "2 workers" in said
    assert listening and all(address.startswith("127.0.0.1") for address in listening), listening
    assert report_of(path) == whole


@needs_ray
@pytest.mark.slow
def test_workers_do_not_change_when_a_run_stops(tmp_path: Path) -> None:
    methods = [word for name in ("gradcam", "layercam", "eigencam") for word in ("--method", name)]
    words = [*evaluation(120)[:6], *methods, "--until", "certain"]
    run_whole(*words, "-o", tmp_path / "alone.sqlite")
    run_whole(*words, "-o", tmp_path / "cluster.sqlite", "--cluster", "local:2")
    assert 0 < images_in(tmp_path / "alone.sqlite") < 120
    assert report_of(tmp_path / "cluster.sqlite") == report_of(tmp_path / "alone.sqlite")


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("stopping", [[], ["--until", "certain", "--margin", "0.05"]])
def test_workers_do_not_change_corrected_scores(tmp_path: Path, stopping: list[str]) -> None:
    methods = [word for name in ("gradcam", "layercam", "eigencam") for word in ("--method", name)]
    words = [*evaluation(60)[:6], *methods, "--precision", "fp16", "--anchor", "12", *stopping]
    run_whole(*words, "-o", tmp_path / "alone.sqlite")
    run_whole(*words, "-o", tmp_path / "cluster.sqlite", "--cluster", "local:2")
    found = report_of(tmp_path / "cluster.sqlite")
    assert '"anchors"' in found and found == report_of(tmp_path / "alone.sqlite")


@needs_ray
@pytest.mark.ci
@pytest.mark.slow
def test_a_run_is_interrupted_on_a_local_cluster_and_resumed_without_one(tmp_path: Path) -> None:
    # An image takes so long that most of the work is left after the first rows on any machine.
    method = ["--method", "rise(masks=300)", "--metric", "average_drop"]
    words_of_run = [*evaluation(12)[:6], *method, "--batch-size", "1"]
    path, whole = tmp_path / "run.sqlite", tmp_path / "whole.sqlite"
    run_whole(*words_of_run, "-o", whole)
    words = command(*words_of_run, "-o", path, "--cluster", "local:2")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment()) as driver:
        wait_for(lambda: images_in(path) > 0, driver)
        driver.send_signal(signal.SIGINT)
        said = driver.stderr.read()
    assert driver.returncode == 130
    assert said.splitlines()[-1] == (
        f"adcc-onnx: interrupted; what was finished is kept in {path}: the same command with "
        "--resume continues"
    )
    with Store.open(path) as store:
        assert images_in(path) > 0 and not store.runs()[0].complete
    run_whole(*words_of_run, "-o", path, "--resume")
    assert report_of(path) == report_of(whole)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("how", [pytest.param("local:2", marks=pytest.mark.ci), "joined"])
def test_no_process_is_left_after_the_driver_was_killed(
    how: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = tmp_path / "run.sqlite"
    address = request.getfixturevalue("nodes")[0] if how == "joined" else how
    words = command(*evaluation(IMAGES), "-o", path, "--cluster", address)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ON_LOOPBACK) as driver:
        wait_for(lambda: count(path, "image") > 0, driver)
        started = descendants(driver.pid)
        driver.kill()
    assert how == "joined" or len(started) > 8  # Ray's own processes, two agents and two workers
    deadline = time.monotonic() + 60
    while alive(started) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(started)
    if how == "joined":
        for raylet in request.getfixturevalue("nodes")[1]:
            while at_work(raylet) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert not at_work(raylet)


def status_of(process: int) -> tuple[str, int, str] | None:
    """Return the state, the parent and the start time of a process; None if it has ended."""
    with suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[1]), fields[19]
    return None


def descendants(process: int) -> dict[int, str]:
    """Return the start times of all processes that a process and its descendants started."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    statuses = {number: status for number in numbers if (status := status_of(number))}
    found, parents = {}, {process}
    while parents:
        children = {number: time for number, (_, p, time) in statuses.items() if p in parents}
        found |= children
        parents = set(children)
    return found


def alive(processes: dict[int, str]) -> list[str]:
    """Describe those of the processes that have not ended."""
    found = []
    for number, start in processes.items():
        status = status_of(number)
        if status and status[0] not in "ZX" and status[2] == start:
            words = ["ps", "-o", "pid=,ppid=,stat=,etimes=,args=", "-ww", "-p", str(number)]
            found.append(subprocess.run(words, capture_output=True, text=True).stdout.strip())
    return found


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("what", ["killed raylet", "frozen machine", "frozen raylet"])
def test_a_lost_machine_is_noticed_within_a_minute(what: str, tmp_path: Path) -> None:
    """With Ray's default settings, with which Ray itself takes more than a minute."""
    path, said = tmp_path / "run.sqlite", tmp_path / "stderr"
    number = signal.SIGKILL if what == "killed raylet" else signal.SIGSTOP
    # The worker of a frozen raylet continues, and would finish a short run.
    words_of_run = evaluation(2000 if what == "frozen raylet" else 160)
    with loopback_cluster() as (address, raylets, _), said.open("w") as stderr:
        words = command(*words_of_run, "-o", path, "--cluster", address)
        with subprocess.Popen(words, stderr=stderr, text=True, env=ON_LOOPBACK) as driver:
            wait_for(lambda: at_work(raylets[1]), driver)
            victims = [raylets[1], *(at_work(raylets[1]) if what == "frozen machine" else [])]
            for victim in victims:
                os.kill(victim, number)
            deadline = time.monotonic() + 60
            while "others take over" not in said.read_text() and time.monotonic() < deadline:
                time.sleep(0.2)
                assert driver.poll() is None, said.read_text()
            assert "others take over its images" in said.read_text()
            if what == "frozen raylet":
                driver.terminate()
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
    if what == "frozen raylet":
        assert driver.returncode == 143
        return
    run_whole(*words_of_run, "-o", tmp_path / "whole.sqlite")
    assert driver.returncode == 0 and report_of(path) == report_of(tmp_path / "whole.sqlite")


@needs_ray
@pytest.mark.slow
def test_a_machine_that_joins_gets_work(tmp_path: Path) -> None:
    # More work than a machine takes to start, which may be a minute; then the run is stopped.
    # That results are equal is tested without Ray.
    words = command(*evaluation(2000), "-o", tmp_path / "run.sqlite", "--cluster")
    with loopback_cluster() as (address, raylets, add):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*words, address], text=True, env=ON_LOOPBACK, **pipes) as driver:
            wait_for(lambda: all(at_work(raylet) for raylet in raylets), driver)
            new = add()
            wait_for(lambda: bool(at_work(new)), driver)
            driver.terminate()
            _, said = driver.communicate()
    assert driver.returncode == 143, said
    assert "127.0.0.1 has joined the cluster and gets work" in said


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def at_work(raylet: int) -> list[int]:
    """Return the process ids of a node's workers that are evaluating images."""
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    names = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, name in names.items() if name.startswith(b"ray::Worker.evaluate")]


def listeners(process: int) -> set[str]:
    """Return the local addresses, such as `127.0.0.1:80`, on which a process listens."""
    inodes = set()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        target = str(entry.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:  # listening
                address, port = fields[1].split(":")
                octets = bytes.fromhex(address[-8:])[::-1]
                found.add(f"{'.'.join(map(str, octets))}:{int(port, 16)}")
    return found


class LostError(Exception):
    """A stand-in for Ray's error about a lost worker."""


class TaskError(LostError):
    """A stand-in for Ray's error about an exception in a worker."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(eq=False)
class Promise:
    """A stand-in for Ray's future: it is computed when it is asked for."""

    worker: int
    compute: Callable[[], Any]


class OneProcessRay:
    """The part of Ray that we use, in this process; `dies` selects the calls that kill a worker.

    Workers whose numbers are in `frozen` never answer.
    """

    exceptions = SimpleNamespace(RayError=LostError, RayTaskError=TaskError)

    def __init__(self, dies: Callable[..., bool] = lambda name, *given: False) -> None:
        self.dies, self.started = dies, 0
        self.dead: set[int] = set()
        self.frozen: set[int] = set()

    def remote(self, **_: Any) -> Any:
        return self._actor

    def _actor(self, kind: type) -> Any:
        def start(*given: Any) -> Any:
            self.started += 1
            worker, number = kind(*given), self.started

            def promised(name: str) -> Any:
                def call(*args: Any) -> Any:
                    method = getattr(worker, name)
                    return Promise(number, lambda: self._call(number, method, name, args))

                started = SimpleNamespace(remote=call)
                return SimpleNamespace(remote=call, options=lambda **_: started)

            names = ("open", "evaluate", "stop", "pulse")
            return SimpleNamespace(number=number, **{name: promised(name) for name in names})

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def _call(self, number: int, method: Any, name: str, args: tuple[Any, ...]) -> Any:
        if number in self.dead or self.dies(name, *args):
            self.dead.add(number)
            raise LostError("the worker died")
        try:
            return method(*args)
        except Exception as error:
            raise TaskError(error) from error

    def wait(self, promises: list[Promise], timeout: float) -> tuple[list[Any], list[Any]]:
        answered = [promise for promise in promises if promise.worker not in self.frozen]
        return answered[-1:], [promise for promise in promises if promise not in answered[-1:]]

    def get(self, promise: Promise, timeout: float | None = None) -> Any:
        return promise.compute()

    def kill(self, worker: Any) -> None:
        self.dead.add(worker.number)


COUNT, METHODS = 12, ["gradcam", "random"]
HERE = [Placement("a", {}, 1), Placement("b", {}, 1)]


def recipe(path: str | Path, **options: Any) -> Callable[..., Any]:
    return lambda device, threads: load(path, device=device, batch_size=2, threads=threads)


def evaluated(ray: OneProcessRay, store: Store, lines: list[str], **changed: Any) -> str:
    """Return the report of a run on two workers, whose job differs in the `changed` parts."""
    opened = SourceOptions(f"drawings:{COUNT}").open()
    recipes = {
        "load": recipe(classifier_path()),
        "open": lambda: opened,
        "plan": PlanOptions(METHODS).plan,
        "folder": Path.cwd(),
    }
    model = load(classifier_path(), device="cpu", batch_size=2)
    source, plan = as_source(f"drawings:{COUNT}"), make_plan(METHODS)
    cluster = Cluster(
        ray, changed.pop("here", HERE), "cpu", lines.append, changed.pop("discover", None)
    )
    with cluster.worker_pool(Job(**{**recipes, **changed}), model, source, plan) as (
        recorded,
        begin,
    ):
        evaluate_into(store, recorded, source, plan, "drawings", begin=begin)
    return render([store], "json")


@pytest.fixture(scope="module")
def alone() -> str:
    with Store.create(None) as store:
        model = load(classifier_path(), device="cpu")
        evaluate_into(store, model, as_source(f"drawings:{COUNT}"), make_plan(METHODS), "drawings")
        return render([store], "json")


def test_images_survive_two_lost_workers(alone: str) -> None:
    deaths: dict[tuple[int, ...], int] = {}

    def dies(name: str, positions: tuple[int, ...] = (), *_: Any) -> bool:
        deaths[positions] = deaths.get(positions, 0) + 1
        return name == "evaluate" and len(positions) > 1 and deaths[positions] < 3

    ray, lines = OneProcessRay(dies), []
    with Store.create(None) as store:
        assert evaluated(ray, store, lines) == alone
    assert "a worker on b was lost; others take over its images" in lines


def test_only_the_image_that_kills_every_worker_fails() -> None:
    ray = OneProcessRay(lambda name, positions=(), *_: 7 in positions)
    with Store.create(None) as store:
        evaluated(ray, store, [])
        run = store.run(1)
    assert run.images == COUNT and run.failed == 1 and run.complete
    assert [(f.image, f.method) for f in run.failures] == [("2026-7", None)]
    assert "3 workers were lost while they evaluated it" in run.failures[0].reason
    assert ray.started == 2 + 3


def test_only_the_unfinished_methods_of_an_image_fail(
    tmp_path: Path,
) -> None:
    path, victim = tmp_path / "run.sqlite", 3
    with Store.create(path) as store:
        evaluated(OneProcessRay(), store, [])
    unfinished = tmp_path / "unfinished.sqlite"
    with Store.open(path) as whole, Store.create(unfinished) as store:
        run = store.begin(whole.run(1).config)
        for image, scores in whole.rows(1):
            done = [s for s in scores if (s.position, s.method) != (3, "random")]
            store.write(run, [image], done)
    with Store.resume(unfinished) as store:
        evaluated(OneProcessRay(lambda name, places=(), *_: victim in places), store, [])
        resumed = store.run(1)
    assert resumed.complete and resumed.images == COUNT and resumed.failed == 0
    assert [(f.image, f.method) for f in resumed.failures] == [("2026-3", "random")]
    assert len(resumed.methods["gradcam"].positions) == COUNT


def test_machines_that_join_get_work(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_DISCOVERY_SECONDS", 0)
    ray, lines = OneProcessRay(), []
    joined = [*HERE, Placement("c", {}, 1, "node c"), Placement("c", {}, 1, "node c")]
    with Store.create(None) as store:
        assert evaluated(ray, store, lines, discover=lambda: joined) == alone
    assert ray.started == 4 and lines == ["c has joined the cluster and gets work"]


def test_a_lost_machine_is_named_and_not_used_again(alone: str) -> None:
    alive, deaths = [Placement("a", {}, 1, "node a"), Placement("b", {}, 1, "node b")], []

    def dies(name: str, *given: Any) -> bool:
        if name != "evaluate" or deaths:
            return False
        deaths.append(alive.pop())
        return True

    ray, lines = OneProcessRay(dies), []
    with Store.create(None) as store:
        assert evaluated(ray, store, lines, here=[*alive], discover=lambda: alive) == alone
    assert lines == ["the machine b was lost; others take over its images"] and ray.started == 2


def test_a_worker_that_does_not_answer_is_replaced(
    alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(heartbeat, "_INTERVAL_SECONDS", 0.01)
    ray, lines = OneProcessRay(), []

    def dies(name: str, *given: Any) -> bool:
        if name == "evaluate":
            ray.frozen.add(2)  # the first one that is ready; it has more work
        return False

    ray.dies = dies
    with Store.create(None) as store:
        assert evaluated(ray, store, lines) == alone
    (said,) = lines
    assert said.startswith("a worker on b has not answered for") and said.endswith(
        "others take over its images"
    )
    assert ray.started == 3


def test_a_worker_whose_machine_leaves_while_it_waits_is_given_up(
    alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "_DISCOVERY_SECONDS", 0)
    ray, lines = OneProcessRay(), []
    ray.frozen.add(2)  # it never starts
    machines = [Placement("a", {}, 1, "node a"), Placement("b", {}, 1, "node b")]
    with Store.create(None) as store:
        left = machines[:1]
        assert evaluated(ray, store, lines, here=machines, discover=lambda: left) == alone
    assert lines == ["the machine b was lost"] and ray.started == 2


def test_no_worker_can_start() -> None:
    ray, lines = OneProcessRay(lambda name, *given: name == "open"), []
    with Store.create(None) as store, pytest.raises(ClusterError, match="no worker is left"):
        evaluated(ray, store, lines)
    assert ray.started == 6 and len(lines) == 2


def test_workers_must_have_the_same_model_and_images(tmp_path: Path) -> None:
    other = tmp_path / "classifier.onnx"
    other.write_bytes(classifier_path().read_bytes() + b"\x72\x00")  # an empty graph's name
    other.with_suffix(".toml").write_text(classifier_path().with_suffix(".toml").read_text())
    with Store.create(None) as store:
        with pytest.raises(ClusterError, match="under the same paths on all machines"):
            evaluated(OneProcessRay(), store, [], load=recipe(tmp_path / "absent.onnx"))
        with pytest.raises(ClusterError, match="images: 11, here 12"):
            fewer = as_source("drawings:11")
            evaluated(OneProcessRay(), store, [], open=lambda: fewer)
        with pytest.raises(ClusterError, match="names and labels"):
            drawn_otherwise = as_source(f"drawings:{COUNT}@1")
            evaluated(OneProcessRay(), store, [], open=lambda: drawn_otherwise)
        assert store.runs() == []


def test_our_errors_in_a_worker_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Worker, *given: Any) -> None:
        raise ModelError("onnxruntime failed to run the model: no memory")

    monkeypatch.setattr(Worker, "evaluate", fails)
    with Store.create(None) as store, pytest.raises(ModelError, match="no memory"):
        evaluated(OneProcessRay(), store, [])


def test_returned_chunks_come_first_and_are_split_before_the_last_attempt() -> None:
    backlog = Backlog(range(5), 2)
    first, second = backlog.take(), backlog.take()
    assert (first, second) == (Chunk((0, 1)), Chunk((2, 3)))
    backlog.put_back([first, second])
    assert [backlog.take() for _ in range(4)] == [first, second, Chunk((4,)), None]
    assert first.after_loss() == [Chunk((0, 1), 1)]
    assert Chunk((0, 1), 1).after_loss() == [Chunk((0,), 2), Chunk((1,), 2)]
    assert Chunk((0,), 2).after_loss() == []


def node(host: str, cpus: float = 4, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    resources = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    number = f"{hash(host) % 2**32:056x}"
    return {"NodeID": number, "NodeManagerAddress": host, "Alive": alive, "Resources": resources}


@needs_ray
def test_placement_of_workers() -> None:
    def placed(*given: Any) -> tuple[str, list[tuple[Any, ...]]]:
        device, placements = place_workers(*given)
        resources = [
            (p.host, p.resources["num_cpus"], p.resources["num_gpus"], p.threads)
            for p in placements
        ]
        return device, resources

    plain = [node("a"), node("b", 8), node("c", alive=False), node("d", 0)]
    assert placed(plain, "auto", None) == ("cpu", [("a", 4, 0, 4), ("b", 8, 0, 8)])
    assert placed(plain[:1], "cpu", 3) == ("cpu", [("a", 0, 0, 1)] * 3)
    cards = [node("a", 8, 2), node("b")]
    assert placed(cards, "auto", None) == ("cuda", [("a", 0, 1, 4)] * 2)
    assert placed(cards, "tensorrt", None)[0] == "tensorrt"
    assert placed(cards, "cpu", None) == ("cpu", [("a", 8, 0, 8), ("b", 4, 0, 4)])
    assert placed(cards[:1], "cuda", 4) == ("cuda", [("a", 0, 0.5, 2)] * 4)
    with pytest.raises(DeviceError, match="the cluster has no GPU"):
        place_workers(plain, "cuda", None)
    with pytest.raises(OptionError, match="use --device cuda, not cuda:1"):
        place_workers(cards, "cuda:1", None)
    with pytest.raises(ClusterError, match="no machine"):
        place_workers([node("a", 0)], "auto", None)


def test_wrong_addresses_and_a_missing_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("local:0", "ray://here:10001", "here", "here:port"):
        with pytest.raises(OptionError, match="HOST:PORT"), connected(address):
            pass
    with pytest.raises(ClusterError, match="no cluster answers"), connected("127.0.0.1:1"):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ClusterError, match=r'pip install "adcc-onnx\[cluster\]"'),
        connected("local"),
    ):
        pass


def test_the_command_reports_an_error_in_one_line() -> None:
    words = command("evaluate", classifier_path(), "--images", "drawings:2", "--cluster", "here")
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "--cluster must be HOST:PORT" in done.stderr


def test_a_worker_sets_the_same_inputs(tmp_path: Path) -> None:
    inputs = "float[batch,1,8,6] x, float[1] shift"
    onnx.save(twin(inputs, "pixels = Add (x, shift)"), tmp_path / "net.onnx")
    options: ModelOptions = {"set_inputs": {"shift": 0.25}}
    path, images = tmp_path / "net.onnx", np.ones((2, 1, 8, 6), np.float32)
    load_there = partial(load_with, path, options)
    job = Job(load_there, lambda: as_source(images), lambda: make_plan(METHODS), tmp_path)
    sent = pickle.loads(pickle.dumps(job.load))
    here, there = load_with(path, {**options, "device": "cpu"}), sent(device="cpu", threads=1)
    assert identity(there, as_source(images)) == identity(here, as_source(images))
    assert there.describe()["inputs"] == {"shift": "[0.25]"}
