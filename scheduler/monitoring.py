"""What the scheduler tells those who watch it by HTTPS: upstream's secure port, at an address of its own."""

from collections.abc import Callable, Iterable

from machinery.client import Client
from machinery.measuring import leadership, requests
from machinery.metrics import Exposition
from machinery.monitoring import Monitor
from scheduler.configs import Config
from scheduler.configurations import Configuration


def monitor(
    config: Config, configuration: Configuration, exposition: Exposition, client: Client, server: str, *,
    is_leading: Callable[[], bool], synced: Iterable[Callable[[], bool]],
) -> Monitor:  # fmt: skip
    """`server` is the API server's address; `synced` must all hold before the scheduler is ready."""
    exposition.add(requests(client, server), leadership(configuration.lease or config.lease, is_leading))
    known = [*synced]
    return Monitor(
        config.metrics_address, config.files, exposition, allowed=config.allowed,
        readiness={"informer-sync": lambda: all(has() for has in known)}, configuration=configuration.described(),
    )  # fmt: skip
