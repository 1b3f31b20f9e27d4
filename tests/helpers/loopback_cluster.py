"""A program that runs Ray nodes on 127.0.0.1 until its standard input is closed.

It prints one line: the address of the head node and the process ids of both nodes. For each line of
the input it adds another node, and prints its process id.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any


def main() -> None:
    """Start the nodes, and stop them at the end of the standard input."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # 127.0.0.1 and no other address
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    logging.disable()
    from ray.cluster_utils import Cluster

    given = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=given)
    nodes = [cluster.head_node, _another(cluster)]
    print(cluster.address, *map(_process_id, nodes), flush=True)
    for _ in sys.stdin:
        print(_process_id(_another(cluster)), flush=True)
    cluster.shutdown()


def _another(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)


def _process_id(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


if __name__ == "__main__":
    main()
