"""The two ports at which upstream's proxy tells of itself: health to everybody, the rest to its own node.

https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/ : `--healthz-bind-address`,
`--metrics-bind-address`.
"""

import asyncio
from collections.abc import Callable

from kube_proxy.health import Health
from kube_proxy.http_ports import NOT_FOUND, TEXT, Answer, listen
from kube_proxy.metrics import Metrics
from machinery.running import CannotGoOn

MODE = "nftables"


class StatusPorts:
    """Addresses are HOST:PORT; "" is not served."""

    def __init__(self, health: Health, metrics: Metrics, *, health_address: str, metrics_address: str) -> None:
        self._health = health
        self._metrics = metrics
        self._exposition = metrics.exposition()
        self._wanted = ((health_address, self.of_health), (metrics_address, self.of_metrics))

    async def run(self) -> None:
        """Serve until cancelled."""
        servers = [await _listen(address, answer) for address, answer in self._wanted if address]
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for server in servers:
                server.close()

    def of_health(self, path: str) -> Answer:
        match path:
            case "/healthz":
                answer, count = self._health.healthz(), self._metrics.health
            case "/livez":
                answer, count = self._health.livez(), self._metrics.life
            case _:
                return NOT_FOUND
        count.add((answer.status[:3],))
        return answer

    def of_metrics(self, path: str) -> Answer:
        match path:
            case "/healthz":
                return Answer(b"ok", media=TEXT)
            case "/proxyMode":
                return Answer(MODE.encode(), media=TEXT)
            case "/metrics":
                media, body = self._exposition.render()
                return Answer(body, media=media)
        return NOT_FOUND


async def _listen(address: str, answer: Callable[[str], Answer]) -> asyncio.Server:
    host, _, port = address.rpartition(":")
    try:
        return await listen(host.strip("[]"), int(port), answer)
    except OSError as e:
        raise CannotGoOn(f"cannot listen on {address}: {e}") from e
