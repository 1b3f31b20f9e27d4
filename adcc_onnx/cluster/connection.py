"""Evaluation on many machines, or in many processes of one machine, with Ray.

Only the driver accesses the run's file. It assigns image positions to workers and writes the rows
that they return. A run may therefore begin on one machine and continue on many, or vice versa.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcc_onnx.cluster.guardian import guarded
from adcc_onnx.cluster.job import Job
from adcc_onnx.cluster.ray_start import without_side_effects
from adcc_onnx.cluster.worker_pool import Placement, WorkerPool
from adcc_onnx.errors import ClusterError, DeviceError, OptionError, first_line
from adcc_onnx.evaluation.pipeline import Begin
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model

_LOCAL = re.compile(r"local(?::([1-9][0-9]{0,3}))?")
_ADDRESS = re.compile(r"(?!local:)([^\s/:]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")
_OBJECT_STORE = 100 * 2**20  # bytes; the rows of a chunk are a few kilobytes
_CONNECT_SECONDS = 5.0  # seconds until a machine counts as unreachable
# Ray reads these at import. It refuses clients without the token of `ray get-auth-token`.
_SETTINGS = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
# With this setting Ray listens on 127.0.0.1 instead of all addresses of the machine.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_PRIVATE = {**_SETTINGS, **_LOOPBACK_ONLY}
_GPU_DEVICES = ("cuda", "tensorrt")


@dataclass(frozen=True)
class Cluster:
    """A connected Ray cluster.

    Attributes:
        ray: The Ray module, connected.
        placements: Placement of each worker.
        device: Device of every worker, as `adcc_onnx.load` takes it.
        notify: Function that prints a line for the user.
        discover: Function that returns the placements on the machines of this moment; None if
            machines neither join nor leave.
    """

    ray: Any
    placements: Sequence[Placement]
    device: str
    notify: Callable[[str], None]
    discover: Callable[[], Sequence[Placement]] | None = None

    @contextmanager
    def worker_pool(
        self, job: Job, model: Model, source: Source, plan: Plan
    ) -> Iterator[tuple[Model, Begin]]:
        """Start workers on one job.

        Args:
            job: Job, from which the workers build their model, source and plan.
            model: The driver's model.
            source: The driver's source.
            plan: The driver's plan.

        Yields:
            The model with the workers' device and batch size, for the run's config, and the
            function that begins the work.

        Raises:
            ClusterError: No worker starts, or a worker has another model or other images.
        """
        pool = WorkerPool(
            self.ray, job, self.device, self.placements, model, source, plan, self.notify,
            self.discover,
        )  # fmt: skip
        try:
            ready = pool.first_ready()
            device = replace(model.device, name=ready.device, tf32=ready.tf32)
            settings = replace(model.settings, batch=ready.batch)
            # Ray prints long messages about every lost worker; its logs hold them, too.
            with Path(os.devnull).open("w") as devnull, redirect_stdout(devnull):
                yield replace(model, device=device, settings=settings), pool.begin
        finally:
            pool.shut_down()


@contextmanager
def connected(
    address: str, device: str = "auto", notify: Callable[[str], None] = lambda line: None
) -> Iterator[Cluster]:
    """Connect to a cluster; the connection is closed at the end of the context.

    Args:
        address: "HOST:PORT" of a cluster's head node, "local" for one worker per GPU (or a single
            worker) on this machine, or "local:N" for N workers.
        device: "auto" for GPUs if the cluster has any and CPUs otherwise, "cpu", "cuda" or
            "tensorrt".
        notify: Function that prints a line for the user.

    Yields:
        The cluster.

    Raises:
        OptionError: The address or the device is not valid.
        ClusterError: Ray is not installed, or the cluster does not answer.
        DeviceError: GPUs were requested, and the cluster has none.
    """
    local, remote = _LOCAL.fullmatch(address), _ADDRESS.fullmatch(address)
    if local is None and remote is None:
        raise OptionError(
            f"--cluster must be HOST:PORT of the head node, local or local:N, not '{address}'"
        )
    workers = int(local[1]) if local is not None and local[1] else None
    if remote is not None:
        _check_reachable(remote[1].strip("[]"), int(remote[2]))
    with guarded() if remote is None else nullcontext():
        ray = _join(address if remote is not None else None)
        try:
            chosen, placements = place_workers(ray.nodes(), device, workers)

            def discover() -> Sequence[Placement]:
                with suppress(ClusterError, DeviceError):  # no machine is left for the moment
                    return place_workers(ray.nodes(), chosen, workers)[1]
                return []

            machines = len({placement.node for placement in placements})
            notify(f"{len(placements)} workers on {machines} machine(s), device {chosen}")
            yield Cluster(ray, placements, chosen, notify, discover)
        finally:
            ray.shutdown()


def place_workers(
    nodes: Sequence[Mapping[str, Any]], device: str, workers: int | None
) -> tuple[str, list[Placement]]:
    """Choose the device of all workers and distribute them over the machines.

    Args:
        nodes: Descriptions of the machines, from `ray.nodes()`.
        device: Requested device.
        workers: Number of workers per machine; None takes one per GPU, or one per machine on CPUs.

    Returns:
        The device, and the placement of each worker.

    Raises:
        OptionError: The device has a number, but Ray assigns the GPUs.
        DeviceError: GPUs were requested, and there are none.
        ClusterError: No machine has resources for a worker.
    """
    alive = [node for node in nodes if node["Alive"]]
    gpus = sum(int(node["Resources"].get("GPU", 0)) for node in alive)
    if ":" in device:
        raise OptionError(
            f"on a cluster every worker has its own GPU: use --device "
            f"{device.partition(':')[0]}, not {device}"
        )
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device in _GPU_DEVICES and not gpus:
        raise DeviceError(f"device '{device}' is not available: the cluster has no GPU")
    on_gpus = device in _GPU_DEVICES
    found = [one for node in alive for one in _placements_on_node(node, on_gpus, workers)]
    if not found:
        raise ClusterError("no machine of the cluster has CPUs for a worker; see `ray status`")
    return device, found


def _placements_on_node(
    node: Mapping[str, Any], on_gpus: bool, workers: int | None
) -> list[Placement]:
    cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
    default = gpus if on_gpus else min(cpus, 1)
    count = (workers or default) if default else 0
    resources = {
        # A single worker reserves all CPUs, so that Ray places nothing else on the machine.
        "num_cpus": cpus if not on_gpus and count == 1 else 0,
        "num_gpus": min(1.0, gpus / count) if on_gpus and count else 0,
    }
    placement = Placement(
        node["NodeManagerAddress"],
        {**resources, "scheduling_strategy": _prefer_node(node["NodeID"])},
        max(1, cpus // max(count, 1)),
        node["NodeID"],
    )
    return [placement] * count


def _prefer_node(node: str) -> Any:
    """Prefer this machine; if it is lost, Ray takes another one."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node, soft=True)


def _join(address: str | None) -> Any:
    """Connect Ray to a cluster, or start a private one on this machine if `address` is None."""
    for variable, value in (_SETTINGS if address else _PRIVATE).items():
        os.environ.setdefault(variable, value)
    try:
        import ray
    except ImportError:
        raise ClusterError('--cluster needs Ray: pip install "adcc-onnx[cluster]"') from None
    private = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with without_side_effects():
            ray.init(address=address or "local", **quiet, **({} if address else private))
    except Exception as error:  # Ray raises RuntimeError, ValueError, OSError and others.
        said = first_line(error)
        if address is None:  # it gives up after 30 s
            raise ClusterError(
                f"Ray cannot start on this machine: {said}; if it is busy, try again later"
            ) from error
        raise ClusterError(
            f"Ray cannot join {address}: {said}; docs/guides/cluster.md says what must be the same "
            "on all machines"
        ) from error
    return ray


def _check_reachable(host: str, port: int) -> None:
    """Check that something listens at the address: Ray itself would retry for minutes."""
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"no cluster answers at {host}:{port} ({first_line(error)}); start its head with "
            f"`ray start --head --port={port}`"
        ) from None
