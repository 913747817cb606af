"""The scheduler: its decisions alone, and with an API server and etcd of its own, where nodes are mere objects."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from api import meta, times
from api.types import (
    Affinity,
    CELDeviceSelector,
    Container,
    Device,
    DeviceAttribute,
    DeviceClaim,
    DeviceClass,
    DeviceClassSpec,
    DeviceRequest,
    DeviceSelector,
    ExactDeviceRequest,
    LabelSelector,
    Node,
    NodeCondition,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodAffinityTerm,
    PodAntiAffinity,
    PodResourceClaim,
    PodSpec,
    PriorityClass,
    ResourceClaimSpec,
    ResourcePool,
    ResourceRequirements,
    ResourceSlice,
    ResourceSliceSpec,
    ResourceV1ResourceClaim,
    ServiceAccount,
    TopologySpreadConstraint,
)
from bench.controllers import until
from bench.results import Result, result
from bench.servers import Server
from machinery import kubeconfigs
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane, free_port, process
from scheduler.decisions import schedule
from scheduler.snapshots import Snapshot
from scheduler.wishes import HOSTNAME, ZONE, wish

NODES, PODS = 1000, 10_000
VICTIMS_NODES = 500
IDLE_NODES, IDLE_PODS, IDLE_SECONDS = 100, 1000, 30
CREATING = 256
"""Creations under way at once."""
LABELS = {"app": "bench"}
SELECTOR = LabelSelector(matchLabels=LABELS)


async def run() -> list[Result]:
    spread = TopologySpreadConstraint(
        maxSkew=1, topologyKey=ZONE, whenUnsatisfiable="DoNotSchedule", labelSelector=SELECTOR
    )  # fmt: skip
    term = PodAffinityTerm(labelSelector=SELECTOR, topologyKey=HOSTNAME)
    apart = Affinity(podAntiAffinity=PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=[term]))
    return [
        result("scheduler.algorithm.5000_nodes", _decisions(10_000)),
        result("scheduler.spread.5000_nodes", _decisions(5000, topologySpreadConstraints=[spread])),
        result("scheduler.anti_affinity.5000_nodes", _decisions(2000, affinity=apart)),
        result("scheduler.devices.1000_nodes", _devices(5000)),
        result("scheduler.end_to_end.1000_nodes", await _end_to_end()),
        result("scheduler.preemption", await _preemption()),
        result("scheduler.idle", await _idle()),
    ]


def _decisions(count: int, **spec: Any) -> float:
    """Pods a second of processor time, from the object to the changed snapshot."""
    snapshot, random = Snapshot(), Random(1)
    for i in range(5000):
        snapshot.set_node(_node(i))
    pods = [_pod(f"p{i}", "100m", **spec) for i in range(count)]
    began = time.process_time()
    for pod in pods:
        wanted = wish(pod)
        snapshot.set_pod(wanted, schedule(snapshot, wanted, random).node)
    return count / (time.process_time() - began)


def _devices(count: int) -> float:
    """Pods a second of processor time, each with a claim for one of the eight devices of a node."""
    snapshot, random, driver = Snapshot(), Random(1), "gpu.example.com"
    devices = snapshot.with_devices()
    selector = DeviceSelector(cel=CELDeviceSelector(expression=f'device.attributes["{driver}"].size >= 2'))
    devices.set_class(DeviceClass(metadata=ObjectMeta(name="gpu"), spec=DeviceClassSpec(selectors=[selector])))
    for i in range(1000):
        snapshot.set_node(_node(i))
        offered = [Device(name=f"gpu{n}", attributes={"size": DeviceAttribute(int_=n // 2)}) for n in range(12)]
        pool = ResourcePool(name=f"n{i}", generation=1, resourceSliceCount=1)
        spec = ResourceSliceSpec(driver=driver, nodeName=f"n{i}", pool=pool, devices=offered)
        devices.set_slice(ResourceSlice(metadata=ObjectMeta(name=f"n{i}"), spec=spec))
    wanted = DeviceClaim(requests=[DeviceRequest(name="gpu", exactly=ExactDeviceRequest(deviceClassName="gpu"))])
    for i in range(count):
        metadata = ObjectMeta(name=f"c{i}", namespace="default", uid=f"c{i}", resourceVersion="1")
        devices.set_claim(ResourceV1ResourceClaim(metadata=metadata, spec=ResourceClaimSpec(devices=wanted)))
    pods = [
        _pod(f"p{i}", "100m", resourceClaims=[PodResourceClaim(name="gpu", resourceClaimName=f"c{i}")])
        for i in range(count)
    ]
    began = time.process_time()
    for pod in pods:
        looks_for = wish(pod)
        decision = schedule(snapshot, looks_for, random)
        snapshot.set_pod(looks_for, decision.node)
        snapshot.promise((), decision.grants, decision.node)
        for grant in decision.grants:  # as when it is written
            written = meta.clone(devices.claims[grant.claim])
            written.metadata.resourceVersion, written.status.allocation = "2", grant.allocation
            devices.set_claim(written)
        snapshot.withdraw((), decision.grants)
    return count / (time.process_time() - began)


async def _end_to_end() -> float:
    async with _cluster(NODES) as (client, plane, directory):
        await _create(client, (_pod(f"p{i}", "100m") for i in range(PODS)))
        return await _placed(client, plane, directory, PODS, "p")


async def _preemption() -> float:
    """Each of the pods needs the place of three; those go at once, since no kubelet has to stop them."""
    async with _cluster(VICTIMS_NODES) as (client, plane, directory):
        for name, value in (("low", 1), ("high", 10)):
            await client.create(PriorityClass(metadata=ObjectMeta(name=name), value=value))
        low = [_pod(f"low-{i}", "900m", priorityClassName="low") for i in range(4 * VICTIMS_NODES)]
        for i, pod in enumerate(low):
            pod.spec.nodeName = f"n{i % VICTIMS_NODES}"
        await _create(client, low)
        await _create(
            client, (_pod(f"high-{i}", "3", priorityClassName="high") for i in range(VICTIMS_NODES))
        )  # fmt: skip
        return await _placed(client, plane, directory, VICTIMS_NODES, "high")


@asynccontextmanager
async def _cluster(nodes: int) -> AsyncIterator[tuple[Client, ControlPlane, Path]]:
    with TemporaryDirectory(prefix="wherry-bench-") as place:
        directory = Path(place)
        async with control_plane(directory) as plane, connect(plane.access()) as client:
            await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
            await _create(client, map(_node, range(nodes)))
            status = {"status": _node(0).status}
            for i in range(nodes):
                await client.patch(Node, f"n{i}", "", status, subresource="status")
                await client.patch(Node, f"n{i}", "", {"spec": {"taints": None}})  # there is no controller to do it
            yield client, plane, directory


async def _placed(client: Client, plane: ControlPlane, directory: Path, count: int, prefix: str) -> float:
    """Pods bound a second, from when the scheduler starts to decide: its start is that of an interpreter."""
    since = (await client.list(Pod, "default", field_selector="spec.nodeName=none")).resource_version
    left, began = count, 0.0
    async with _scheduler(plane, directory):
        bound: set[str] = set()
        async for batch in client.watch(Pod, "default", resource_version=since):
            began = began or time.perf_counter()
            for event in batch:
                if event.type == "MODIFIED" and event.object.spec.nodeName:
                    bound.add(event.object.metadata.name)
            left = count - len([name for name in bound if name.startswith(prefix)])
            if not left:
                break
    return count / (time.perf_counter() - began)


async def _idle() -> float:
    """Per cent of a processor, with a thousand pods that fit nowhere, while nodes beat and small pods come and go."""
    async with _cluster(IDLE_NODES) as (client, plane, directory):
        await _create(client, (_pod(f"big-{i}", "9") for i in range(IDLE_PODS)))
        async with _scheduler(plane, directory) as server:
            await until(client, Pod, lambda pods: all(p.status.conditions for p in pods.values()), "default")
            before = server.processor_seconds()
            for second in range(IDLE_SECONDS):
                for i in range(second, IDLE_NODES, 10):
                    beat = NodeCondition(type="Ready", status="True", lastHeartbeatTime=times.format(time.time()))
                    await client.patch(Node, f"n{i}", "", {"status": {"conditions": [beat]}}, subresource="status")
                await client.create(_pod(f"small-{second}", "100m", nodeName=f"n{second}"))
                await client.delete(Pod, f"small-{second}", "default")
                await asyncio.sleep(1)
            return 100 * (server.processor_seconds() - before) / IDLE_SECONDS


@asynccontextmanager
async def _scheduler(plane: ControlPlane, directory: Path) -> AsyncIterator[Server]:
    own, kubeconfig = plane.pki / "scheduler", directory / "scheduler.kubeconfig"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(kubeconfigs.dump(plane.access("scheduler"), "bench", "scheduler"))
    async with process(
        sys.executable, "-m", "scheduler", "--kubeconfig", str(kubeconfig), "--leader-elect=false",
        "--bind-address=127.0.0.1", f"--secure-port={free_port()}", "--tls-cert-file", str(own / "tls.crt"),
        "--tls-private-key-file", str(own / "tls.key"), "--client-ca-file", str(own / "ca.crt"),
        log=directory / "scheduler.log",
    ) as child:  # fmt: skip
        yield Server((child.pid,))


async def _create(client: Client, objects: Iterable[Any]) -> None:
    waiting = iter(objects)

    async def create() -> None:
        for each in waiting:
            await client.create(each)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CREATING):
            tasks.create_task(create())


def _node(number: int) -> Node:
    name, sizes = f"n{number}", {"cpu": "4", "memory": "32Gi", "pods": "110"}
    return Node(
        metadata=ObjectMeta(name=name, labels={HOSTNAME: name, ZONE: f"zone-{number % 3}"}),
        status=NodeStatus(capacity=sizes, allocatable=sizes),
    )


def _pod(name: str, cpu: str, **spec: Any) -> Pod:
    resources = ResourceRequirements(requests={"cpu": cpu, "memory": "100Mi"})
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=LABELS),
        spec=PodSpec(
            containers=[Container(name="main", image="pause:1", resources=resources)],
            terminationGracePeriodSeconds=0, automountServiceAccountToken=False, **spec,
        ),
    )  # fmt: skip
