"""The distribution's own CNI plug-ins, in the namespace of a node: `ptp`, `bridge`, `host-local`, `portmap`."""

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from api import meta
from api import types as objects
from api.types import Event, Node
from kubelet.network.cni.networks import Plugins
from kubelet.network.cni.plugins import PluginFailed
from kubelet.runtime.interfaces import Record, State
from tests.integration.kubelet.networks import Networks, Pod
from tests.unit.kube_proxy.networks import inside

PLUGINS = Path("/usr/lib/cni")
RANGE = "10.244.77.0/24"
NOT_INITIALIZED = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


def conflist(place: Path, kind: str, **more: Any) -> str:
    ipam = {"type": "host-local", "subnet": RANGE, "dataDir": str(place / "ipam"), "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": kind, "ipMasq": False, "ipam": ipam, **more}
    return json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": [plugin]})


@pytest.fixture
def plugins_of(tmp_path: Path) -> Callable[[str], Path]:
    """The plug-ins, run in a node's namespace."""

    def make(namespace: str) -> Path:
        directory = tmp_path / f"bin-{namespace}"
        directory.mkdir()
        for name in ("ptp", "bridge", "host-local"):
            program = directory / name
            program.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/{namespace} {PLUGINS}/{name} "$@"\n')
            program.chmod(0o755)
        return directory

    return make


@pytest.fixture
def networks() -> Iterator[Networks]:
    made = Networks(apart=False)
    yield made
    made.close()


async def attach(network: Plugins, pod: Pod, address: str = "") -> str:
    named = objects.Pod(metadata=objects.ObjectMeta(name=pod.name, namespace="default", uid=pod.name))
    return await network.attach(named, Record(id=f"{pod.name}-c", state=State.RUNNING, pid=pod.pid), address)


@pytest.mark.parametrize("more", [{"kind": "ptp"}, {"kind": "bridge", "isGateway": True, "hairpinMode": True}])
async def test_pods_of_real_plugins_reach_each_other_and_themselves(
    networks: Networks, plugins_of: Callable[[str], Path], tmp_path: Path, more: dict[str, Any]
) -> None:
    node, (one, two) = networks.nodes[0], networks.pods
    directory = plugins_of(node.name)
    (tmp_path / "10.conflist").write_text(conflist(tmp_path, **more))
    network = Plugins(tmp_path, (str(directory),), tmp_path / "records", (), node.netlink)
    await network.prepare()
    addresses = [await attach(network, pod) for pod in (one, two)]
    assert addresses == ["10.244.77.2", "10.244.77.3"]
    with inside(two.name):
        server = socket.create_server(("", 8080))
    try:
        for client, seen in ((one, addresses[0]), (two, addresses[1])):
            with inside(client.name):
                connection = socket.create_connection((addresses[1], 8080), 3)
            accepted, peer = server.accept()
            assert peer[0] == seen
            accepted.close()
            connection.close()
    finally:
        server.close()
    assert [await attach(network, pod, a) for pod, a in zip((one, two), addresses, strict=True)] == addresses
    await network.detach(one.name)
    assert "eth0" not in one.links()
    assert not (tmp_path / "ipam" / "net" / "10.244.77.2").exists()


async def test_a_connection_that_was_cut_fails_its_check(
    networks: Networks, plugins_of: Callable[[str], Path], tmp_path: Path
) -> None:
    node, one = networks.nodes[0], networks.pods[0]
    (tmp_path / "10.conflist").write_text(conflist(tmp_path, "ptp"))
    network = Plugins(tmp_path, (str(plugins_of(node.name)),), tmp_path / "records", (), node.netlink)
    address = await attach(network, one)
    one.ip("link", "delete", "eth0")
    with pytest.raises(PluginFailed, match=r'plugin type="ptp" name="net" failed \(check\)'):
        await attach(network, one, address)


async def test_a_node_is_ready_with_a_configuration_and_its_pods_keep_their_addresses(
    lab: Any, pods: Any, plugins_of: Callable[[str], Path], tmp_path: Path
) -> None:
    configurations = tmp_path / "net.d"
    flags = ("--cni-conf-dir", str(configurations), "--cni-bin-dir", str(plugins_of(lab.namespace)))
    async with lab.kubelet(*flags):
        await lab.create(pods("web"))
        await node_until(lab, "False", NOT_INITIALIZED)
        assert await said(lab, "NetworkNotReady") == f"network is not ready: {NOT_INITIALIZED}"
        configurations.mkdir()
        (configurations / "10.conflist").write_text(conflist(tmp_path, "ptp"))
        first = await lab.until("web", lambda pod: meta.is_true(pod, "Ready"))
        assert first.status.podIP == "10.244.77.2"
        await node_until(lab, "True")
        own = next(s.containerID for s in first.status.containerStatuses).removeprefix("docker://")
        running = lab.engine.exec_create(own, ["cat", "/etc/hosts"])["Id"]
        assert "10.244.77.2\tweb\n" in lab.engine.exec_start(running).decode()
    async with lab.kubelet(*flags):
        await lab.create(pods("other"))
        other = await lab.until("other", lambda pod: meta.is_true(pod, "Ready"))
        assert other.status.podIP == "10.244.77.3"
        again = await lab.until("web", lambda pod: meta.is_true(pod, "Ready"))
        assert (again.status.podIP, again.status.containerStatuses) == ("10.244.77.2", first.status.containerStatuses)
        for name in ("web", "other"):
            await lab.client.delete(objects.Pod, name, "default")
            await lab.until_gone(name)
        assert {f.name for f in (tmp_path / "ipam" / "net").iterdir()}.isdisjoint({"10.244.77.2", "10.244.77.3"})


async def test_a_failing_plugin_is_told_and_another_network_takes_over(
    lab: Any, pods: Any, plugins_of: Callable[[str], Path], tmp_path: Path
) -> None:
    directory = plugins_of(lab.namespace)
    flags = ("--cni-conf-dir", str(tmp_path), "--cni-bin-dir", str(directory))
    (tmp_path / "10.conflist").write_text(conflist(tmp_path, "ptp"))
    host_local = (directory / "host-local").rename(directory / "hidden")
    async with lab.kubelet(*flags):
        await lab.create(pods("web", terminationGracePeriodSeconds=0))
        message = await said(lab, "FailedCreatePodSandBox")
        assert message.startswith("Failed to create pod sandbox: failed to setup network for sandbox ")
        assert 'plugin type="ptp" name="net" failed (add): ' in message
        host_local.rename(directory / "host-local")
        pod = await lab.until("web", lambda pod: meta.is_true(pod, "Ready"))
        assert pod.status.podIP.startswith("10.244.77.")
    async with lab.kubelet():
        pod = await lab.until(
            "web", lambda pod: pod.status.podIP.startswith("10.244.1.") and meta.is_true(pod, "Ready")
        )
        assert list((tmp_path / "ipam" / "net").glob("10.*")) == []
        assert lab.inside("ip", "route", "show", RANGE) == ""


async def node_until(lab: Any, status: str, message: str = "") -> None:
    """Returns when the node's Ready condition has this status, and this message if one is given."""
    async for node in changes(lab, Node):
        ready = meta.condition(node, "Ready")
        if ready is not None and ready.status == status and message in ("", ready.message):
            return
    raise AssertionError("the watch ended")


async def said(lab: Any, reason: str) -> str:
    """The message of the first event of that reason."""
    async for event in changes(lab, Event):
        if event.reason == reason:
            return str(event.message)
    raise AssertionError("the watch ended")


async def changes(lab: Any, what: Any) -> AsyncIterator[Any]:
    listing = await lab.client.list(what)
    for found in listing.items:
        yield found
    async with aclosing(lab.client.watch(what, resource_version=listing.resource_version)) as watch:
        async for batch in watch:
            for event in batch:
                if event.type in ("ADDED", "MODIFIED"):
                    yield event.object
