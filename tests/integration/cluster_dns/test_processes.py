"""The server as a process of its own, with a real API server."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import pytest
from dns.message import Message

from api.types import EndpointSlice, ObjectMeta, Service, ServicePort, ServiceSpec
from cluster_dns.publishing import NAME
from machinery import kubeconfigs
from machinery.client import Client
from machinery.testing import ControlPlane, connect, control_plane, free_port, process
from tests.integration.processes import Environment

ADVERTISED = "192.0.2.53"


@dataclass
class Names:
    port: int
    client: Client
    process: asyncio.subprocess.Process

    async def ask(self, name: str, type_: str = "A") -> Message:
        query = dns.message.make_query(name, type_)
        return await dns.asyncquery.udp(query, "127.0.0.1", port=self.port, timeout=5)

    async def published(self, holds: Callable[[Any], bool]) -> None:
        """Waits until the server's own slice is there and as it should be."""
        listing = await self.client.list(EndpointSlice, NAME.namespace)
        found = list(listing.items)
        watch = self.client.watch(EndpointSlice, NAME.namespace, resource_version=listing.resource_version)
        async with asyncio.timeout(20):
            while not any(each.endpoints[0].addresses == [ADVERTISED] and holds(each) for each in found):
                found = [event.object for event in await anext(watch)]
        await watch.aclose()


@asynccontextmanager
async def cluster_dns(
    plane: ControlPlane, directory: Path, client: Client, env: Environment | None = None
) -> AsyncIterator[Names]:
    own, port = plane.pki / "cluster-dns", free_port()
    kubeconfig, resolv = directory / "kubeconfig", directory / "resolv.conf"
    kubeconfig.write_text(kubeconfigs.dump(plane.access("cluster-dns"), "test", "cluster-dns"))
    resolv.write_text("")
    async with process(
        sys.executable, "-m", "cluster_dns", "--kubeconfig", str(kubeconfig), "--bind-address", "127.0.0.1",
        "--port", str(port), "--resolv-conf", str(resolv), "--advertise-address", ADVERTISED,
        "--secure-bind-address", "127.0.0.1", "--secure-port", str(free_port()), "--tls-cert-file",
        str(own / "tls.crt"), "--tls-private-key-file", str(own / "tls.key"), "--client-ca-file", str(own / "ca.crt"),
        log=directory / "cluster-dns.log", env=env,
    ) as running:  # fmt: skip
        names = Names(port, client, running)
        await names.published(lambda each: each.endpoints[0].conditions.ready)
        yield names


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as made:
        yield made


def data(answer: Message) -> list[str]:
    return [record.to_text() for rrset in answer.answer for record in rrset]


async def test_it_publishes_itself_answers_follows_and_says_goodbye(plane: ControlPlane, tmp_path: Path) -> None:
    async with connect(plane.access()) as client:
        async with cluster_dns(plane, tmp_path, client) as names:
            assert data(await names.ask("kubernetes.default.svc.cluster.local.")) == ["10.96.0.1"]
            assert data(await names.ask("kube-dns.kube-system.svc.cluster.local.")) == ["10.96.0.10"]
            assert data(await names.ask("10.0.96.10.in-addr.arpa.", "PTR")) == [
                "kube-dns.kube-system.svc.cluster.local."
            ]
            spec = ServiceSpec(ports=[ServicePort(name="http", port=80)], selector={"app": "web"})
            made = await client.create(Service(metadata=ObjectMeta(name="web", namespace="default"), spec=spec))
            web = "web.default.svc.cluster.local."
            async with asyncio.timeout(5):
                while not (found := data(await names.ask(web))):
                    pass
            assert found == [made.spec.clusterIP]
            first = await client.get(Service, NAME.name, NAME.namespace)
            await client.delete(Service, NAME.name, NAME.namespace)
            await names.published(lambda each: each.metadata.ownerReferences[0].uid != first.metadata.uid)
        await names.published(lambda each: each.endpoints[0].conditions.ready is False)


async def test_it_still_answers_those_who_have_not_heard_that_it_goes(plane: ControlPlane, tmp_path: Path) -> None:
    async with connect(plane.access()) as client, cluster_dns(plane, tmp_path, client) as names:
        names.process.terminate()
        await names.published(lambda each: not each.endpoints[0].conditions.ready)
        assert data(await names.ask("kubernetes.default.svc.cluster.local.")) == ["10.96.0.1"]
        assert await names.process.wait() == 0
