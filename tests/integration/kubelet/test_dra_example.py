"""examples/dra-driver: the driver at work at a kubelet's, its manifests at an API server's.

The test allocates, and makes claims from templates, as a scheduler and a controller would.
"""

import asyncio
import importlib.util
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from api.types import (
    AllocationResult,
    ClusterRoleBinding,
    ConfigMap,
    DaemonSet,
    DeviceAllocationResult,
    DeviceClass,
    DeviceRequestAllocationResult,
    EnvVar,
    HostPathVolumeSource,
    ObjectMeta,
    OwnerReference,
    Pod,
    ResourceClaimConsumerReference,
    ResourceClaimTemplate,
    ResourceSlice,
    ResourceV1ResourceClaim,
    Volume,
    VolumeMount,
)  # fmt: skip
from machinery.kubeconfigs import dump
from tests.integration.kubelet.asking import logs, ready
from tests.integration.kubelet.test_devices import bind
from wherry.images import TAG
from wherry.kubectl import binary
from wherry.labs import PROJECT

EXAMPLE = PROJECT / "examples" / "dra-driver"


@pytest.fixture(scope="module")
def program() -> Any:
    spec = importlib.util.spec_from_file_location("dra_driver", EXAMPLE / "driver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def driver(lab: Any, program: Any) -> AsyncIterator[None]:
    pki = lab.plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "tls.crt", pki / "tls.key")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        cluster = program.Cluster(session, lab.plane.rest)
        running = asyncio.create_task(program.run(cluster, "node1", lab.root, lab.root / "cdi"))
        try:
            yield
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def published(lab: Any) -> ResourceSlice:
    async with asyncio.timeout(20):
        listing = await lab.client.list(ResourceSlice)
        found: ResourceSlice | None = listing.items[0] if listing.items else None
        if found is None:
            async for batch in lab.client.watch(ResourceSlice, resource_version=listing.resource_version):
                if found := next((e.object for e in batch if e.type == "ADDED"), None):
                    break
        assert found is not None
        return found


async def kubectl(lab: Any, place: Any, *arguments: str) -> None:
    path = place / "kubeconfig"
    path.write_text(dump(lab.plane.access(), "test", "admin").replace(lab.plane.access().server, lab.plane.rest))
    command = [str(binary()), "--kubeconfig", str(path), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def use(lab: Any, name: str, template: str, choice: dict[str, list[str]]) -> Pod:
    """What controller and scheduler do for a pod with one claim: `choice` are the devices of each request."""
    pod = await lab.client.get(Pod, name, "default")
    (reference,) = pod.spec.resourceClaims
    made = await lab.client.get(ResourceClaimTemplate, template, "default")
    owner = OwnerReference(
        apiVersion="v1", kind="Pod", name=name, uid=pod.metadata.uid, controller=True, blockOwnerDeletion=True
    )  # fmt: skip
    claim = await lab.client.create(
        ResourceV1ResourceClaim(
            metadata=ObjectMeta(name=f"{name}-x", namespace="default", ownerReferences=[owner]), spec=made.spec.spec
        )
    )
    claim.status.allocation = AllocationResult(
        devices=DeviceAllocationResult(
            results=[
                DeviceRequestAllocationResult(request=request, driver="lamps.example.com", pool="node1", device=device)
                for request, devices in choice.items()
                for device in devices
            ]
        )
    )
    claim.status.reservedFor = [ResourceClaimConsumerReference(resource="pods", name=name, uid=pod.metadata.uid)]
    await lab.client.update_status(claim)
    status = {"status": {"resourceClaimStatuses": [{"name": reference.name, "resourceClaimName": f"{name}-x"}]}}
    await lab.client.patch(Pod, name, "default", status, subresource="status")
    await bind(lab, pod)
    started: Pod = await lab.until(name, ready)
    return started


async def test_pods_print_which_lamps_they_got(lab: Any, program: Any, tmp_path: Any) -> None:
    flags = ("--cdi-spec-dirs", str(lab.root / "cdi"))
    (lab.root / "cdi").mkdir()
    (lab.root / "plugins").mkdir()
    (lab.root / "plugins_registry").mkdir()
    await kubectl(lab, tmp_path, "apply", "-f", str(EXAMPLE / "pods.yaml"))
    async with lab.kubelet(*flags), driver(lab, program):
        lamps = await published(lab)
        named = {d.name: d.attributes["colour"].string for d in lamps.spec.devices}
        assert named == {"lamp-0": "green", "lamp-1": "red", "lamp-2": "blue", "lamp-3": "blue"}
        desk = await use(lab, "desk", "any-lamp", {"lamp": ["lamp-0"]})
        assert logs(lab, desk, "desk") == "LAMP_0=on\nlamp-0 of node1, for the request lamp of desk-x\n"
        stage = await use(lab, "stage", "red-and-blue", {"red": ["lamp-1"], "blue": ["lamp-2", "lamp-3"]})
        assert logs(lab, stage, "left") == "LAMP_1=on\nlamp-1 of node1, for the request red of stage-x\n"
        told = logs(lab, stage, "right").splitlines()
        assert sorted(told) == [
            "LAMP_2=on", "LAMP_3=on", "lamp-2 of node1, for the request blue of stage-x",
            "lamp-3 of node1, for the request blue of stage-x",
        ]  # fmt: skip
        # What controllers wrote into the status is still there, though the kubelet has written its own.
        assert (await lab.client.get(Pod, "stage", "default")).status.resourceClaimStatuses
        for name in ("desk", "stage"):
            await lab.client.delete(Pod, name, "default")
            await lab.until_gone(name)
        assert [*(lab.root / "cdi").iterdir()] == []
        assert [p.name for p in (lab.root / "plugins" / "lamps.example.com").iterdir()] == ["dra.sock"]


async def test_a_kubelet_that_starts_has_the_devices_published_anew(lab: Any, program: Any) -> None:
    for name in ("cdi", "plugins", "plugins_registry"):
        (lab.root / name).mkdir()
    async with lab.kubelet():  # the node is there then
        pass
    async with driver(lab, program):
        first = await published(lab)
        listing = await lab.client.list(ResourceSlice)
        async with lab.kubelet(), asyncio.timeout(20):
            async for batch in lab.client.watch(ResourceSlice, resource_version=listing.resource_version):
                if new := [e.object for e in batch if e.type == "ADDED"]:
                    break
        assert new[0].metadata.name == first.metadata.name
        assert new[0].metadata.uid != first.metadata.uid


async def test_its_manifests_are_what_the_api_server_takes(lab: Any, tmp_path: Any) -> None:
    await kubectl(lab, tmp_path, "apply", "-k", str(EXAMPLE))
    made = await lab.client.get(DaemonSet, "driver", "lamps")
    config = made.spec.template.spec.volumes[0].configMap.name
    assert (await lab.client.get(ConfigMap, config, "lamps")).data["driver.py"] == (EXAMPLE / "driver.py").read_text()
    assert await lab.client.get(DeviceClass, "lamps.example.com")
    assert await lab.client.get(ClusterRoleBinding, "lamps-driver")


async def test_it_works_from_within_a_pod(lab: Any, tmp_path: Any) -> None:
    """As the manifest has it, but for the way to the API server: here is no proxy, and no controller for its CA."""
    await kubectl(lab, tmp_path, "apply", "-k", str(EXAMPLE))
    ca = (lab.plane.pki / "admin" / "ca.crt").read_text()
    await lab.client.create(
        ConfigMap(metadata=ObjectMeta(name="kube-root-ca.crt", namespace="lamps"), data={"ca.crt": ca})
    )
    spec = (await lab.client.get(DaemonSet, "driver", "lamps")).spec.template.spec
    spec.nodeName, spec.hostNetwork, spec.terminationGracePeriodSeconds = "node1", True, 5
    (container,) = spec.containers
    container.image = f"wherry/component:{TAG}"
    server = urlsplit(lab.plane.rest)
    for name, value in (("HOST", server.hostname), ("PORT", str(server.port))):
        container.env.append(EnvVar(name=f"KUBERNETES_SERVICE_{name}", value=value or ""))
    # Whatever the image has of it, the contracts are those of this checkout.
    spec.volumes.append(Volume(name="proto", hostPath=HostPathVolumeSource(path=str(PROJECT / "proto"))))
    container.volumeMounts.append(VolumeMount(name="proto", mountPath="/opt/wherry/source/proto"))
    moved = f"--host-path-map=/var/lib/kubelet={lab.root},/var/run/cdi={lab.root}/cdi"
    await kubectl(lab, tmp_path, "apply", "-f", str(EXAMPLE / "pods.yaml"))
    async with lab.kubelet(moved):
        await lab.client.create(Pod(metadata=ObjectMeta(name="driver", namespace="lamps"), spec=spec))
        await published(lab)
        desk = await use(lab, "desk", "any-lamp", {"lamp": ["lamp-3"]})
        assert logs(lab, desk, "desk") == "LAMP_3=on\nlamp-3 of node1, for the request lamp of desk-x\n"
        await lab.client.delete(Pod, "desk", "default")
        await lab.until_gone("desk")
        assert [*(lab.root / "cdi").iterdir()] == []
