"""The controller manager by itself, with an API server and etcd on loopback: bursts, and what it costs at rest.

No scheduler and no nodes: what is measured is how soon controllers have written what they must.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from api import meta
from api.types import (
    ConfigMap,
    Container,
    CronJob,
    CronJobSpec,
    CrossVersionObjectReference,
    Deployment,
    DeploymentSpec,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    Job,
    JobSpec,
    JobTemplateSpec,
    LabelSelector,
    Namespace,
    ObjectMeta,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    Pod,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodSpec,
    PodTemplateSpec,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
    StatefulSet,
    StatefulSetSpec,
    VolumeResourceRequirements,
)
from bench.results import Result, result
from bench.servers import Server
from machinery import kubeconfigs
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane, free_port, process

PODS = 200
NAMESPACES, OBJECTS = 200, 10
IDLE_OF_A_KIND = 50
SETTLING, WATCHING = 20.0, 20.0


async def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        async with control_plane(directory) as plane, connect(plane.access()) as client:
            async with manager(plane, directory, f"--metrics-bind-address=127.0.0.1:{free_port()}") as server:
                await _accounts(client)
                watched = server.memory()
            async with manager(plane, directory) as server:
                await _accounts(client)
                found = [result("controllers.metrics.memory", (watched - server.memory()) / 1e6)]
                found.append(result("controllers.burst", await _burst(client)))
                found.append(result("controllers.namespaces", await _namespaces(client)))
                found.append(result("controllers.idle", await _idle(client, server)))
                return found


@asynccontextmanager
async def manager(plane: ControlPlane, directory: Path, *flags: str) -> AsyncIterator[Server]:
    own, kubeconfig = plane.pki / "controller-manager", directory / "controller-manager.kubeconfig"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(kubeconfigs.dump(plane.access("controller-manager"), "bench", "controller-manager"))
    async with process(
        sys.executable, "-m", "controller_manager", "--kubeconfig", str(kubeconfig), "--tls-cert-file",
        str(own / "tls.crt"), "--tls-private-key-file", str(own / "tls.key"), "--client-ca-file", str(own / "ca.crt"),
        "--root-ca-file", str(own / "ca.crt"), "--bind-address", "127.0.0.1", "--secure-port", str(free_port()),
        "--leader-elect=false", *flags, log=directory / "controller-manager.log",
    ) as child:  # fmt: skip
        yield Server((child.pid,))


async def _accounts(client: Client) -> None:
    """Wait until the controllers work, and have done what there is to do in a new namespace."""
    name = f"ready-{time.monotonic_ns()}"
    await client.create(Namespace(metadata=ObjectMeta(name=name)))
    await until(client, ConfigMap, lambda found: len(found) == 1, name)
    await client.delete(Namespace, name)
    await until(client, Namespace, lambda found: name not in names(found))


def names(objects: dict[str, Any]) -> set[str]:
    return {o.metadata.name for o in objects.values()}


async def until(client: Client, what: type[Any], holds: Callable[[dict[str, Any]], bool], namespace: str = "") -> None:
    listing = await client.list(what, namespace)
    found = {o.metadata.uid: o for o in listing.items}
    if holds(found):
        return
    async for batch in client.watch(what, namespace, resource_version=listing.resource_version):
        for event in batch:
            if event.type == "DELETED":
                found.pop(event.object.metadata.uid, None)
            elif event.type != "BOOKMARK":
                found[event.object.metadata.uid] = event.object
        if holds(found):
            return


async def _burst(client: Client) -> float:
    """Seconds from the request for a deployment to the last of its pods, as a watcher sees them."""
    began = time.monotonic()
    waiting = asyncio.create_task(until(client, Pod, lambda found: len(found) == PODS, "default"))
    await client.create(_deployment("burst", PODS))
    await waiting
    took = time.monotonic() - began
    await client.delete(Deployment, "burst", "default", propagation="Background")
    await until(client, Pod, lambda found: not found, "default")
    return took


async def _namespaces(client: Client) -> float:
    """Seconds from the first deletion until the last namespace is gone."""
    crowd = {f"crowd-{i}" for i in range(NAMESPACES)}

    async def fill(name: str) -> None:
        await client.create(Namespace(metadata=ObjectMeta(name=name)))
        for i in range(OBJECTS // 2):
            metadata = ObjectMeta(name=f"of-{i}", namespace=name)
            await client.create(ConfigMap(metadata=metadata))
            await client.create(Secret(metadata=metadata))

    await asyncio.gather(*map(fill, crowd))
    await asyncio.sleep(2)  # for what controllers put there
    began = time.monotonic()
    await asyncio.gather(*(client.delete(Namespace, name) for name in crowd))
    await until(client, Namespace, lambda found: not crowd & names(found))
    return time.monotonic() - began


async def _idle(client: Client, server: Server) -> float:
    """Per cent of a processor, with five hundred objects that have what they want, or never will."""
    await asyncio.gather(*(client.create(obj) for i in range(IDLE_OF_A_KIND) for obj in _idlers(f"idle-{i}")))
    await asyncio.sleep(SETTLING)
    before = server.processor_seconds()
    await asyncio.sleep(WATCHING)
    return 100 * (server.processor_seconds() - before) / WATCHING


def _idlers(name: str) -> list[Any]:
    """Ten objects; together they leave no controller out that could be busy with nothing."""
    metadata = ObjectMeta(name=name, namespace="default")
    selector = LabelSelector(matchLabels={"app": name})
    spec = PodSpec(containers=[Container(name="main", image="app:1")], restartPolicy="Never")
    template = PodTemplateSpec(metadata=ObjectMeta(labels={"app": name}), spec=_pod())
    space = VolumeResourceRequirements(requests={"storage": "1Gi"})
    unbindable = PersistentVolumeClaimSpec(accessModes=["ReadWriteOnce"], resources=space, storageClassName="none")
    claim = PersistentVolumeClaim(metadata=ObjectMeta(name="data"), spec=unbindable)
    sleeping = JobSpec(suspend=True, template=PodTemplateSpec(spec=spec))
    target = CrossVersionObjectReference(apiVersion="apps/v1", kind="Deployment", name="nowhere")
    yearly = CronJobSpec(schedule="0 0 1 1 *", jobTemplate=JobTemplateSpec(spec=sleeping))
    return [
        _deployment(name, 0),
        StatefulSet(
            metadata=metadata,
            spec=StatefulSetSpec(replicas=1, selector=selector, template=template, volumeClaimTemplates=[claim]),
        ),
        Job(metadata=metadata, spec=sleeping),
        CronJob(metadata=metadata, spec=yearly),
        PersistentVolumeClaim(metadata=metadata, spec=unbindable),
        PodDisruptionBudget(metadata=metadata, spec=PodDisruptionBudgetSpec(selector=selector, minAvailable=1)),
        HorizontalPodAutoscaler(
            metadata=metadata, spec=HorizontalPodAutoscalerSpec(scaleTargetRef=target, maxReplicas=2)
        ),
        Service(metadata=metadata, spec=ServiceSpec(selector={"app": name}, ports=[ServicePort(port=80)])),
        ConfigMap(metadata=metadata),
        Pod(metadata=metadata, spec=meta.clone(spec)),
    ]


def _pod() -> PodSpec:
    return PodSpec(containers=[Container(name="main", image="app:1")], terminationGracePeriodSeconds=0)


def _deployment(name: str, replicas: int) -> Deployment:
    labels = {"app": name}
    template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=_pod())
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(matchLabels=labels), template=template)
    return Deployment(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)
