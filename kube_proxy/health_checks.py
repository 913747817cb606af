"""Health check node ports: a load balancer outside learns which nodes have endpoints of a service.

https://kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer/#preserving-the-client-source-ip
"""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial

from api.meta import Key, key
from api.types import EndpointSlice, Service
from kube_proxy.http_ports import Answer, listen
from kube_proxy.proxy import SERVICE
from kube_proxy.services import local_endpoints
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
EVERYWHERE = "0.0.0.0"  # noqa: S104  whoever balances loads may ask; the answer is a number
INDEX = "health-check"


class HealthChecks:
    """One small HTTP server for each service with externalTrafficPolicy Local and a health check node port."""

    def __init__(
        self, services: Informer[Service], slices: Informer[EndpointSlice], *,
        node: str, healthy: Callable[[], bool], host: str = EVERYWHERE, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._services, self._slices = services, slices
        self._node = node
        self._healthy = healthy
        self._host = host
        self._clock = clock
        self._servers: dict[int, tuple[Key, asyncio.Server]] = {}
        self._changed = asyncio.Event()
        services.add_index(INDEX, lambda s: ["yes"] if port_of(s) else [])
        services.on_change(self._on_service)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._services.synced()
        await self._slices.synced()
        try:
            while True:
                self._changed.clear()
                if await self._listen():
                    await self._changed.wait()
                else:
                    await self._clock.sleep(RETRY_SECONDS)
        finally:
            for _, server in self._servers.values():
                server.close()

    async def _listen(self) -> bool:
        """Open and close ports; False if one that should be open is somebody else's."""
        wanted = {port_of(service): key(service) for service in self._services.by_index(INDEX, "yes")}
        for port, (of, server) in list(self._servers.items()):
            if wanted.get(port) != of:
                server.close()
                del self._servers[port]
        complete = True
        for port, of in wanted.items():
            if port in self._servers:
                continue
            try:
                server = await listen(self._host, port, partial(self._answer, of))
            except OSError as e:
                log.warning("the health check node port %d of %s cannot be served: %s", port, of, e)
                complete = False
                continue
            self._servers[port] = (of, server)
        return complete

    def _answer(self, of: Key, _: str) -> Answer:
        return answer(of, len(local_endpoints(self._slices.by_index(SERVICE, str(of)), self._node)), self._healthy())

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        if any(s is not None and port_of(s) for s in (old, new)):
            self._changed.set()


def port_of(service: Service) -> int:
    """The service's health check node port, 0 if it has none."""
    local = service.spec.type == "LoadBalancer" and service.spec.externalTrafficPolicy == "Local"
    return (service.spec.healthCheckNodePort or 0) if local else 0


def answer(of: Key, count: int, healthy: bool) -> Answer:
    """200 if the node should be sent connections of the service."""
    told = {
        "service": {"namespace": of.namespace, "name": of.name},
        "localEndpoints": count,
        "serviceProxyHealthy": healthy,
    }
    return Answer(
        json.dumps(told, indent="\t").encode(),
        "200 OK" if count and healthy else "503 Service Unavailable",
        headers=(f"X-Load-Balancing-Endpoint-Weight: {count}",),
    )
