"""Pods from files of the node: https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from api import meta
from api.types import Node, Pod
from machinery.clocks import SYSTEM
from tests.integration.kubelet.conftest import FOREVER, IMAGE

NAME = "web-node1"


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    directory = tmp_path / "manifests"
    directory.mkdir()
    return directory


def write(directory: Path, name: str = "web", **spec: Any) -> None:
    container = {"name": "main", "image": IMAGE, "command": FOREVER}
    document = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }  # fmt: skip
    whole = directory / f".{name}"
    whole.write_text(json.dumps(document))
    whole.rename(directory / f"{name}.yaml")


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


async def test_a_manifest_becomes_a_pod_that_the_api_server_shows(lab: Any, manifests: Path) -> None:
    async with lab.kubelet("--pod-manifest-path", str(manifests)):
        write(manifests)
        pod = await lab.until(NAME, ready, gone_is_fine=True)
        annotations = pod.metadata.annotations
        assert annotations["kubernetes.io/config.source"] == "file"
        assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
        assert annotations["kubernetes.io/config.hash"] != pod.metadata.uid
        (owner,) = pod.metadata.ownerReferences
        node = await lab.client.get(Node, "node1")
        assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Node", "node1", node.metadata.uid, True)
        assert any(t.operator == "Exists" and t.effect == "NoExecute" for t in pod.spec.tolerations)
        (container,) = pod.status.containerStatuses

        await lab.client.delete(Pod, NAME, "default")
        again = await lab.until(NAME, lambda p: p.metadata.uid != pod.metadata.uid and ready(p), gone_is_fine=True)
        assert again.status.containerStatuses[0].containerID == container.containerID

        write(manifests, hostname="other")
        changed = await lab.until(
            NAME, lambda p: p.metadata.annotations != annotations and ready(p), gone_is_fine=True
        )  # fmt: skip
        assert changed.status.containerStatuses[0].containerID != container.containerID
        assert len([c for c in lab.containers() if c["State"] == "running"]) == 2  # one pod: itself and its sandbox

        (manifests / "web.yaml").unlink()
        await lab.until_gone(NAME)
        assert lab.containers() == []


async def test_static_pods_survive_a_restart_of_the_kubelet_and_go_with_a_file_that_went_meanwhile(
    lab: Any, manifests: Path
) -> None:
    write(manifests, "one")
    write(manifests, "two")
    async with lab.kubelet("--pod-manifest-path", str(manifests)):
        one = await lab.until("one-node1", ready, gone_is_fine=True)
        await lab.until("two-node1", ready, gone_is_fine=True)
    (manifests / "two.yaml").unlink()
    async with lab.kubelet("--pod-manifest-path", str(manifests)):
        await lab.until_gone("two-node1")
        after = await lab.client.get(Pod, "one-node1", "default")
        assert after.status == one.status
        assert {c["Labels"]["io.kubernetes.pod.name"] for c in lab.containers()} == {"one-node1"}


async def test_static_pods_need_no_api_server(lab: Any, manifests: Path) -> None:
    write(manifests)
    flags = ("--pod-manifest-path", str(manifests), "--pod-cidr", "10.244.1.0/24")

    def running() -> set[str]:
        return {c["Labels"]["io.kubernetes.container.name"] for c in lab.containers() if c["State"] == "running"}

    async with lab.kubelet(*flags, alone=True):
        async with asyncio.timeout(20):
            while running() != {"POD", "main"}:
                await SYSTEM.sleep(0.05)
    before = {c["Id"] for c in lab.containers()}
    async with lab.kubelet(*flags):
        await lab.until(NAME, ready, gone_is_fine=True)
    assert {c["Id"] for c in lab.containers()} == before


async def test_a_static_pod_may_not_need_the_api_server_and_a_broken_file_ends_nothing(
    lab: Any, manifests: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with lab.kubelet("--pod-manifest-path", str(manifests)):
        write(manifests, "refers", volumes=[{"name": "c", "configMap": {"name": "c"}}])
        write(manifests)
        pod = await lab.until(NAME, ready, gone_is_fine=True)
        (manifests / "web.yaml").write_text("kind: Po")
        write(manifests, "next")
        await lab.until("next-node1", ready, gone_is_fine=True)
        assert (await lab.client.get(Pod, NAME, "default")).status == pod.status
    assert "static pods may not reference configmaps" in caplog.text
