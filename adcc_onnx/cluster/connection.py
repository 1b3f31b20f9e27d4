"""An evaluation on many machines, or on many processes of one, by Ray.

The driver alone knows the run's file. It hands out positions of images and writes the rows that
come back, so that a run may begin on one machine and go on with many, or the other way round.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcc_onnx.cluster.job import Job
from adcc_onnx.cluster.worker_pool import Placement, WorkerPool
from adcc_onnx.errors import ClusterError, DeviceError, OptionError, first_line
from adcc_onnx.evaluation.pipeline import Begin
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model

_LOCAL = re.compile(r"local(?::([1-9][0-9]{0,3}))?")
_ADDRESS = re.compile(r"(?!local:)([^\s/:]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")
_OBJECT_STORE = 100 * 2**20  # bytes; the rows of a chunk are a few kilobytes
_CONNECT_SECONDS = 5.0  # seconds until a machine that does not answer is taken to be off
# Ray reads these when it is imported. Who has not the token of `ray get-auth-token` is refused.
_SETTINGS = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
# Its switch for 127.0.0.1 in place of all the machine's addresses.
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_ON_GPUS = ("cuda", "tensorrt")


@dataclass(frozen=True)
class Cluster:
    """Machines that Ray has joined.

    Attributes:
        ray: the module, connected.
        places: one a worker.
        device: of every worker, as `adcc_onnx.load` takes it.
        say: takes a line for a person.
    """

    ray: Any
    places: Sequence[Placement]
    device: str
    say: Callable[[str], None]

    @contextmanager
    def team(
        self, job: Job, model: Model, source: Source, plan: Plan
    ) -> Iterator[tuple[Model, Begin]]:
        """Workers on one job.

        Args:
            job: what the workers build theirs from.
            model, source, plan: the driver's.

        Yields:
            The model as where the workers run it, for the record; and what begins the work.

        Raises:
            ClusterError: no worker comes up, or one does not have what the driver has.
        """
        team = WorkerPool(self.ray, job, self.device, self.places, model, source, plan, self.say)
        try:
            ready = team.first_ready()
            device = replace(model.device, name=ready.device, tf32=ready.tf32)
            settings = replace(model.settings, batch=ready.batch)
            # Ray prints pages about every lost worker; they stand in its logs, too.
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                yield replace(model, device=device, settings=settings), team.begin
        finally:
            team.dismiss()


@contextmanager
def connected(
    address: str, device: str = "auto", say: Callable[[str], None] = lambda line: None
) -> Iterator[Cluster]:
    """A cluster, for as long as it is used.

    Args:
        address: "HOST:PORT" of a cluster's head, "local" for one worker a GPU (or one in all) of
            this machine, or "local:N" for N of them.
        device: "auto" for the GPUs where there are any, else the CPUs; "cpu"; or "cuda",
            "tensorrt".
        say: takes a line for a person.

    Raises:
        OptionError: no such address or device.
        ClusterError: Ray is not installed, or the cluster does not answer.
        DeviceError: GPUs are asked for and the cluster has none.
    """
    local, remote = _LOCAL.fullmatch(address), _ADDRESS.fullmatch(address)
    if local is None and remote is None:
        raise OptionError(
            f"--cluster is HOST:PORT of the cluster's head, local, or local:N, not '{address}'"
        )
    workers = int(local[1]) if local is not None and local[1] else None
    if remote is not None:
        _check_reachable(remote[1].strip("[]"), int(remote[2]))
    ray = _join(address if remote is not None else None)
    try:
        chosen, places = places_on(ray.nodes(), device, workers)
        machines = len({place.host for place in places})
        say(f"{len(places)} workers on {machines} machine(s), device {chosen}")
        yield Cluster(ray, places, chosen, say)
    finally:
        ray.shutdown()


def places_on(
    nodes: Sequence[Mapping[str, Any]], device: str, workers: int | None
) -> tuple[str, list[Placement]]:
    """The device of all workers, and where they stand.

    Args:
        nodes: as `ray.nodes()` gives them.
        device: as asked for.
        workers: on each machine; one a GPU, or else one a machine, if None.

    Raises:
        OptionError: a device by its number, which is Ray's to give.
        DeviceError: GPUs are asked for and there are none.
        ClusterError: no machine can take a worker.
    """
    alive = [node for node in nodes if node["Alive"]]
    gpus = sum(int(node["Resources"].get("GPU", 0)) for node in alive)
    if ":" in device:
        raise OptionError(
            f"on a cluster every worker has a GPU of its own: give --device "
            f"{device.partition(':')[0]}, not {device}"
        )
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device in _ON_GPUS and not gpus:
        raise DeviceError(f"device '{device}' is not available: the cluster has no GPU")
    found = [place for node in alive for place in _on_node(node, device in _ON_GPUS, workers)]
    if not found:
        raise ClusterError("no machine of the cluster has CPUs for a worker; see `ray status`")
    return device, found


def _on_node(node: Mapping[str, Any], on_gpus: bool, workers: int | None) -> list[Placement]:
    cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
    one_each = gpus if on_gpus else min(cpus, 1)
    count = (workers or one_each) if one_each else 0
    wanted = {
        # All of a machine's CPUs, so that nothing else is put there beside the worker.
        "num_cpus": cpus if not on_gpus and count == 1 else 0,
        "num_gpus": min(1.0, gpus / count) if on_gpus and count else 0,
    }
    place = Placement(
        node["NodeManagerAddress"],
        {**wanted, "scheduling_strategy": _on(node["NodeID"])},
        max(1, cpus // max(count, 1)),
    )
    return [place] * count


def _on(node: str) -> Any:
    """This machine, or where it is gone, another that is free."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node, soft=True)


def _join(address: str | None) -> Any:
    """Ray, connected to a cluster, or to one of its own on this machine that only it can reach."""
    for variable, value in (_SETTINGS if address else {**_SETTINGS, **_ON_LOOPBACK}).items():
        os.environ.setdefault(variable, value)
    try:
        import ray
    except ImportError:
        raise ClusterError('a cluster needs Ray: pip install "adcc-onnx[cluster]"') from None
    own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address or "local", **quiet, **({} if address else own))
    except Exception as error:  # Ray raises what it comes upon: RuntimeError, ValueError, OSError
        raise ClusterError(
            f"Ray cannot join {address or 'local'}: {first_line(error)}; docs/cluster.md says what "
            "must be the same on all machines"
        ) from error
    return ray


def _check_reachable(host: str, port: int) -> None:
    """Whether anybody answers: Ray itself would try for minutes."""
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"no cluster answers at {host}:{port} ({first_line(error)}); start its head with "
            f"`ray start --head --port={port}`"
        ) from None
