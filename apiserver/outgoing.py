"""What the API server calls outside of itself: webhooks, and the way to them through the nodes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from apiserver.admission.reading import Reader
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.services import Backends, Services
from apiserver.nodes.tunnels import Tunnels
from apiserver.webhooks import Caller


@dataclass(frozen=True, slots=True)
class Outgoing:
    kubelets: Kubelets
    backends: Backends
    tunnels: Tunnels
    caller: Caller


@asynccontextmanager
async def outgoing(reader: Reader, kubelets: Kubelets) -> AsyncIterator[Outgoing]:
    """Closed, `kubelets` too, when the block is left."""
    tunnels, backends = Tunnels(kubelets), Services(reader)
    caller = Caller(backends, tunnels)
    try:
        yield Outgoing(kubelets, backends, tunnels, caller)
    finally:
        await caller.close()
        await tunnels.close()
        await kubelets.close()
