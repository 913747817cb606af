"""One client's flood of lists, and what a node's heartbeats notice of it: with priority and fairness, and without.

An API server and etcd on loopback.  "Without" is the same server with so many seats that nobody ever waits.
"""

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from api.types import (
    ClusterRole,
    ClusterRoleBinding,
    ConfigMap,
    Lease,
    LeaseSpec,
    Node,
    ObjectMeta,
    PolicyRule,
    RoleRef,
    Subject,
)  # fmt: skip
from bench.results import Result, percentile, result
from bench.servers import proportional
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane

OBJECTS, SIZE = 1000, 2000
CLIENTS, HEARTBEATS, PAUSE = 100, 60, 0.05
UNLIMITED = ("--max-requests-inflight=1000000", "--max-mutating-requests-inflight=1000000")
NODE = "node1"


async def run() -> list[Result]:
    found = []
    for flags, name in (((), ""), (UNLIMITED, ".without")):
        with tempfile.TemporaryDirectory() as temporary:
            async with control_plane(Path(temporary), *flags) as plane:
                quiet, flooded, memory = await _measure(plane)
        if not name:
            found += [result("overload.quiet.p99", percentile(quiet, 0.99)), result("overload.memory", memory)]
        found += [
            result(f"overload.heartbeat.p50{name}", percentile(flooded, 0.5)),
            result(f"overload.heartbeat.p99{name}", percentile(flooded, 0.99)),
        ]
    return found


async def _measure(plane: ControlPlane) -> tuple[list[float], list[float], float]:
    """Seconds of each heartbeat, before and during the flood; MB that the server holds in the end."""
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(connect(plane.access()))
        node = await stack.enter_async_context(connect(plane.access(f"{NODE}-kubelet")))
        await _prepare(admin)
        await node.create(Node(metadata=ObjectMeta(name=NODE)))
        meta = ObjectMeta(name=NODE, namespace="kube-node-lease")
        lease = await node.create(Lease(metadata=meta, spec=LeaseSpec(holderIdentity=NODE)))
        quiet = await _heartbeats(node, lease)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.flooding", plane.rest, str(plane.pki / "admin"), "flood", str(CLIENTS),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await asyncio.sleep(3)  # until all its clients have connected and ask
        flooded = await _heartbeats(node, lease)
        told, _ = await child.communicate(b"")
        print(f"{max(quiet):.3f} {max(flooded):.3f}; the flood was answered {json.loads(told)}", file=sys.stderr)
        return quiet, flooded, proportional(plane.pid) / 1e6


async def _prepare(admin: Client) -> None:
    rule = PolicyRule(apiGroups=[""], resources=["configmaps"], verbs=["list"])
    await admin.create(ClusterRole(metadata=ObjectMeta(name="flood"), rules=[rule]))
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name="flood"),
        roleRef=RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name="flood"),
        subjects=[Subject(kind="User", name="flood", apiGroup="rbac.authorization.k8s.io")],
    )
    await admin.create(binding)
    meta = (ObjectMeta(name=f"c{n}", namespace="default") for n in range(OBJECTS))
    await asyncio.gather(*(admin.create(ConfigMap(metadata=m, data={"x": "x" * SIZE})) for m in meta))


async def _heartbeats(node: Client, lease: Lease) -> list[float]:
    seconds = []
    for _ in range(HEARTBEATS):
        await asyncio.sleep(PAUSE)
        began = time.monotonic()
        await node.patch(Lease, lease.metadata.name, lease.metadata.namespace, {"spec": {"leaseTransitions": 1}})
        seconds.append(time.monotonic() - began)
    return seconds
