"""Whose certificate the kubelet calls and serves with: that of files which others renew, or one that it asks for.

Apart from the asking, because the library that makes keys costs a process half a megabyte, and most show only what they
are given.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client.registry import Collector

from api.types import Node
from kubelet.config import Config
from machinery.client import Client, connect
from machinery.clocks import Clock
from machinery.serving import Files


class Held:
    """Certificates that others renew."""

    collectors: Sequence[Collector] = ()
    """What is counted of them."""

    def __init__(self, config: Config) -> None:
        self.files = Files(config.certificate, config.key, config.client_ca)

    def look_again(self) -> None:
        """The node's addresses may have changed."""

    async def to_serve(self) -> None:
        """Returns when there is one to serve with."""

    async def run(self) -> None:
        """Keeps them from ending, until cancelled or if there is nothing to do.  Raises CannotGoOn."""


def held(config: Config, client: Client, node: Callable[[], Node | None], clock: Clock) -> Held:
    """`node` shows this node's object, whose addresses a serving certificate has.  Raises CannotGoOn."""
    if not (config.certificates.renews_client or config.certificates.renews_server):
        return Held(config)
    from kubelet.certificates.assembling import Asked

    return Asked(config, client, node, clock)


@asynccontextmanager
async def connected(config: Config, clock: Clock) -> AsyncIterator[Client]:
    """A client that calls as this kubelet, as soon as there is a certificate to do so.  Raises CannotGoOn."""
    settings = config.certificates
    if settings.renews_client or settings.bootstrap is not None:
        from kubelet.certificates.bootstrapping import prepare

        await prepare(config, clock)
    async with connect(config.kubeconfig, settings.client_pair) as client:
        yield client
