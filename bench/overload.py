"""One client's floods of lists, watches and writes, and what a node's heartbeats and a scheduler's bindings notice of
each: with priority and fairness, and without.

An API server and etcd on loopback, anew for each.  "Without" is the same server with so many seats that nobody ever
waits.
"""

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from api.types import (
    Binding,
    ClusterRole,
    ClusterRoleBinding,
    ConfigMap,
    Container,
    Lease,
    LeaseSpec,
    Node,
    ObjectMeta,
    ObjectReference,
    Pod,
    PodSpec,
    PolicyRule,
    RoleRef,
    ServiceAccount,
    Subject,
)  # fmt: skip
from bench.results import Result, percentile, result
from bench.servers import proportional
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane

KINDS = ("lists", "watches", "writes")
OBJECTS, SIZE = 1000, 2000
CLIENTS, HEARTBEATS, PAUSE = 100, 60, 0.05
UNLIMITED = ("--max-requests-inflight=1000000", "--max-mutating-requests-inflight=1000000")
NODE = "node1"


async def run() -> list[Result]:
    found = []
    for kind in KINDS:
        for flags, name in (((), kind), (UNLIMITED, f"{kind}.without")):
            with tempfile.TemporaryDirectory() as temporary:
                async with control_plane(Path(temporary), *flags) as plane:
                    quiet, heartbeats, bindings, memory = await _measure(plane, kind)
            found += [
                result(f"overload.{name}.heartbeat.p50", percentile(heartbeats, 0.5), percentile(quiet, 0.5)),
                result(f"overload.{name}.heartbeat.p99", percentile(heartbeats, 0.99), percentile(quiet, 0.99)),
                result(f"overload.{name}.binding.p99", percentile(bindings, 0.99)),
                result(f"overload.{name}.memory", memory),
            ]
    return found


async def _measure(plane: ControlPlane, kind: str) -> tuple[list[float], list[float], list[float], float]:
    """Seconds of each heartbeat before the flood, and of each heartbeat and each binding during it; MB that the server
    holds in the end."""
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(connect(plane.access()))
        node = await stack.enter_async_context(connect(plane.access(f"{NODE}-kubelet")))
        scheduler = await stack.enter_async_context(connect(plane.access("scheduler")))
        await _prepare(admin)
        await node.create(Node(metadata=ObjectMeta(name=NODE)))
        meta = ObjectMeta(name=NODE, namespace="kube-node-lease")
        lease = await node.create(Lease(metadata=meta, spec=LeaseSpec(holderIdentity=NODE)))
        quiet = await _heartbeats(node, lease)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.flooding", plane.rest, str(plane.pki / "admin"), "flood", str(CLIENTS), kind,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await asyncio.sleep(3)  # until all its clients have connected and ask
        heartbeats, bindings = await asyncio.gather(_heartbeats(node, lease), _bindings(scheduler))
        told, _ = await child.communicate(b"")
        print(f"{kind}: the flood was answered {json.loads(told)}", file=sys.stderr)
        return quiet, heartbeats, bindings, proportional(plane.pid) / 1e6


async def _prepare(admin: Client) -> None:
    rule = PolicyRule(apiGroups=[""], resources=["configmaps"], verbs=["list", "watch", "patch"])
    await admin.create(ClusterRole(metadata=ObjectMeta(name="flood"), rules=[rule]))
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name="flood"),
        roleRef=RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name="flood"),
        subjects=[Subject(kind="User", name="flood", apiGroup="rbac.authorization.k8s.io")],
    )
    await admin.create(binding)
    meta = (ObjectMeta(name=f"c{n}", namespace="default") for n in range(OBJECTS))
    await asyncio.gather(*(admin.create(ConfigMap(metadata=m, data={"x": "x" * SIZE})) for m in meta))
    await admin.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
    spec = PodSpec(containers=[Container(name="c", image="none")])
    meta = (ObjectMeta(name=f"p{n}", namespace="default") for n in range(HEARTBEATS))
    await asyncio.gather(*(admin.create(Pod(metadata=m, spec=spec)) for m in meta))


async def _heartbeats(node: Client, lease: Lease) -> list[float]:
    seconds = []
    for _ in range(HEARTBEATS):
        await asyncio.sleep(PAUSE)
        began = time.monotonic()
        await node.patch(Lease, lease.metadata.name, lease.metadata.namespace, {"spec": {"leaseTransitions": 1}})
        seconds.append(time.monotonic() - began)
    return seconds


async def _bindings(scheduler: Client) -> list[float]:
    seconds = []
    for n in range(HEARTBEATS):
        await asyncio.sleep(PAUSE)
        metadata = ObjectMeta(name=f"p{n}", namespace="default")
        began = time.monotonic()
        bound = Binding(metadata=metadata, target=ObjectReference(apiVersion="v1", kind="Node", name=NODE))
        await scheduler.create_subresource(Pod, metadata.name, metadata.namespace, "binding", bound)
        seconds.append(time.monotonic() - began)
    return seconds
