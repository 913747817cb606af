"""Health check node ports of services with externalTrafficPolicy Local."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api.types import Service
from kube_proxy.health_checks import RETRY_SECONDS, HealthChecks
from kube_proxy.proxy import SERVICE
from machinery.testing import FakeClock, free_port, settle
from tests.unit.kube_proxy.objects import NODE, endpoint, service, slice_of
from tests.unit.kube_proxy.worlds import World

HERE = "127.0.0.1"


class Checks:
    def __init__(self) -> None:
        self.services, self.slices = World(), World()
        self.services.complete.set()
        self.slices.complete.set()
        self.slices.add_index(SERVICE, lambda s: [f"default/{s.metadata.labels['kubernetes.io/service-name']}"])
        self.clock, self.healthy = FakeClock(), True
        self.checks = HealthChecks(
            self.services, self.slices, node=NODE, healthy=lambda: self.healthy, host=HERE, clock=self.clock
        )  # type: ignore[arg-type] # fmt: skip


@asynccontextmanager
async def running() -> AsyncIterator[Checks]:
    found = Checks()
    task = asyncio.create_task(found.checks.run())
    try:
        await settle()
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def local(port: int, name: str = "web") -> Service:
    return service(name, type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=port)


async def get(port: int) -> tuple[int, dict[str, str], object]:
    reader, writer = await asyncio.open_connection(HERE, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), dict(line.split(": ") for line in lines), json.loads(body)


async def test_a_node_tells_how_many_ready_endpoints_it_has() -> None:
    port = free_port()
    async with running() as it:
        it.services.put(local(port))
        away, unready = endpoint("10.244.1.2", "node2"), endpoint("10.244.0.9", ready=False)
        it.slices.put(slice_of(endpoint("10.244.0.2"), endpoint("10.244.0.3"), away, unready))
        await settle()
        status, headers, told = await get(port)
        assert (status, headers["X-Load-Balancing-Endpoint-Weight"]) == (200, "2")
        assert told == {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": 2,
            "serviceProxyHealthy": True,
        }
        it.slices.put(slice_of(away))
        assert (await get(port))[0] == 503
        it.slices.put(slice_of(endpoint("10.244.0.2")))
        it.healthy = False
        assert (await get(port))[0] == 503


async def test_the_port_closes_with_the_service_and_with_policy_cluster() -> None:
    port = free_port()
    async with running() as it:
        it.services.put(local(port))
        await settle()
        it.services.put(service("web", type="LoadBalancer", externalTrafficPolicy="Cluster"))
        await settle()
        with pytest.raises(ConnectionRefusedError):
            await get(port)


async def test_a_port_in_use_is_tried_again_and_the_others_are_served_meanwhile() -> None:
    port, other = free_port(), free_port()
    async with running() as it:
        taken = await asyncio.start_server(lambda r, w: w.close(), HERE, port)
        it.services.put(local(port))
        it.services.put(local(other, "other"))
        await settle()
        assert (await get(other))[0] == 503
        taken.close()
        await taken.wait_closed()
        await it.clock.advance(RETRY_SECONDS)
        await settle()
        assert (await get(port))[0] == 503
