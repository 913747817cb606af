"""What upstream's ports of health and metrics answer."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from api.meta import Key
from api.types import Node, NodeSpec, ObjectMeta, Taint
from kube_proxy.health import PATIENCE_SECONDS, Health
from kube_proxy.metrics import Metrics
from kube_proxy.status_ports import StatusPorts
from machinery.running import CannotGoOn
from machinery.testing import FakeClock, free_port

HERE = "127.0.0.1"


class Ports:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.health, self.metrics = Health(self.clock), Metrics(self.clock.now)
        self.of_health, self.of_metrics = free_port(), free_port()
        addresses = {"health_address": f"{HERE}:{self.of_health}", "metrics_address": f"{HERE}:{self.of_metrics}"}
        self.served = StatusPorts(self.health, self.metrics, **addresses)

    async def get(self, port: int, path: str, method: str = "GET") -> tuple[int, str]:
        """Again until somebody listens."""
        async with asyncio.timeout(10):
            while True:
                try:
                    reader, writer = await asyncio.open_connection(HERE, port)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0)
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
            writer.close()
        return int(head.split()[1]), body


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    made = Ports()
    task = asyncio.create_task(made.served.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_health_is_lost_when_a_change_waits_too_long(ports: Ports) -> None:
    assert await ports.get(ports.of_health, "/healthz") == (200, ports.health.healthz().body.decode())
    ports.health.queued()
    await ports.clock.advance(PATIENCE_SECONDS - 1)
    assert (await ports.get(ports.of_health, "/livez"))[0] == 200
    await ports.clock.advance(1)
    ports.health.queued()
    for path in ("/healthz", "/livez"):
        assert (await ports.get(ports.of_health, path))[0] == 503
    ports.health.ready()
    status, body = await ports.get(ports.of_health, "/livez?verbose")
    assert (status, set(json.loads(body))) == (200, {"lastUpdated", "currentTime"})


async def test_a_node_that_is_going_is_not_to_be_balanced_to_but_alive(ports: Ports) -> None:
    taint = Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule")
    ports.health.see(Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec(taints=[taint])))
    status, body = await ports.get(ports.of_health, "/healthz")
    assert (status, json.loads(body)["nodeEligible"]) == (503, False)
    assert (await ports.get(ports.of_health, "/livez"))[0] == 200
    ports.health.see(Node(metadata=ObjectMeta(name="node1")))
    assert (await ports.get(ports.of_health, "/healthz"))[0] == 200


async def test_metrics_are_upstreams(ports: Ports) -> None:
    web = Key("default", "web")
    ports.metrics.changed("service", web)
    ports.metrics.changed("endpoint", web)
    _, pending = await ports.get(ports.of_metrics, "/metrics")
    assert "kubeproxy_sync_proxy_rules_service_changes_pending 1.0" in pending
    ports.metrics.triggered(ports.clock.now())
    ports.metrics.triggered(ports.clock.now() - 3600)
    await ports.clock.advance(0.4)
    ports.metrics.synced(0.003, full=True)
    ports.metrics.without_local[web] = frozenset({"external"})
    assert (await ports.get(ports.of_health, "/healthz"))[0] == 200
    status, body = await ports.get(ports.of_metrics, "/metrics")
    assert status == 200
    for line in (
        'kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.004"} 1.0',
        'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1.0',
        'kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="0.25"} 0.0',
        'kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="0.5"} 1.0',
        'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1.0',
        "kubeproxy_sync_proxy_rules_service_changes_pending 0.0",
        "kubeproxy_sync_proxy_rules_endpoint_changes_total 1.0",
        'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 1.0',
        'kubeproxy_proxy_healthz_total{code="200"} 1.0',
    ):
        assert line in body.splitlines(), line
    assert 'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1.7000000004e+09' in body


async def test_other_paths(ports: Ports) -> None:
    assert await ports.get(ports.of_metrics, "/proxyMode") == (200, "nftables")
    assert await ports.get(ports.of_metrics, "/healthz") == (200, "ok")
    assert await ports.get(ports.of_metrics, "/healthz", "HEAD") == (200, "")
    assert (await ports.get(ports.of_health, "/metrics"))[0] == 404
    assert (await ports.get(ports.of_metrics, "/livez"))[0] == 404


async def test_a_port_that_is_taken_is_said_and_none_need_be_served(ports: Ports) -> None:
    await ports.get(ports.of_health, "/livez")
    taken = StatusPorts(
        ports.health, ports.metrics, health_address=f"{HERE}:{ports.of_health}", metrics_address=""
    )  # fmt: skip
    with pytest.raises(CannotGoOn, match="cannot listen on"):
        await taken.run()
