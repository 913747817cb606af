"""What pods use, from the kubelet to `kubectl top` and to the autoscaler."""

import asyncio
import sys
from pathlib import Path

from api import meta
from api.types import (
    Container,
    CrossVersionObjectReference,
    Deployment,
    DeploymentSpec,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    LabelSelector,
    MetricSpec,
    MetricTarget,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplateSpec,
    ResourceMetricSource,
    ResourceRequirements,
)
from machinery.client import Client
from machinery.testing import ControlPlane
from tests.integration.processes import until, workers


def web() -> Deployment:
    requests = ResourceRequirements(requests={"cpu": "10m", "memory": "1Ki"})
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web"}),
        spec=PodSpec(containers=[Container(name="main", image="app:1", resources=requests)]),
    )
    spec = DeploymentSpec(replicas=1, selector=LabelSelector(matchLabels={"app": "web"}), template=template)
    return Deployment(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)


def by_memory() -> HorizontalPodAutoscaler:
    """A simulated container uses a megabyte: far more than is asked for."""
    target = MetricTarget(type="Utilization", averageUtilization=80)
    spec = HorizontalPodAutoscalerSpec(
        scaleTargetRef=CrossVersionObjectReference(apiVersion="apps/v1", kind="Deployment", name="web"),
        maxReplicas=3, metrics=[MetricSpec(type="Resource", resource=ResourceMetricSource(name="memory", target=target))],
    )  # fmt: skip
    return HorizontalPodAutoscaler(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)


async def kubectl(plane: ControlPlane, directory: Path, *arguments: str) -> str:
    config = plane.kubeconfig(directory / "kubeconfig")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "kubectl"), "--kubeconfig", str(config), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_top_shows_what_is_used_and_the_autoscaler_acts_on_it(
    plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    async with workers(plane, tmp_path):
        await client.create(web())
        await until(client, Pod, lambda found: any(meta.is_true(p, "Ready") for p in found))
        pods = await kubectl(plane, tmp_path, "top", "pods", "--no-headers", "--containers")
        ((name, cpu, memory),) = (line.split()[1:] for line in pods.splitlines())
        # It uses a thousandth of a core; kubectl rounds up, and a window may be a hair too short.
        assert (name, memory) == ("main", "0Mi")
        assert cpu in ("1m", "2m")
        [node] = (await kubectl(plane, tmp_path, "top", "nodes", "--no-headers")).splitlines()
        assert node.split()[0] == "node1"
        assert int(node.split()[3].removesuffix("Mi")) > 0
        await client.create(by_memory())
        await until(client, Deployment, lambda found: found[0].spec.replicas == 3)
        [scaled] = await until(client, HorizontalPodAutoscaler, lambda found: found[0].status.desiredReplicas == 3)
        assert meta.is_true(scaled, "ScalingActive")
