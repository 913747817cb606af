"""How this API server knows who asks, for API servers behind it: the ConfigMap extension-apiserver-authentication.

https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#authentication-flow
"""

import logging
from contextlib import suppress
from pathlib import Path

import msgspec

from api import kinds, meta
from api.errors import AlreadyExists, ApiError, Conflict, NotFound
from api.types import ConfigMap, ObjectMeta
from apiserver.authentication import ProxySettings
from apiserver.registry.bootstrapping import USER
from apiserver.registry.registries import Registry
from apiserver.requests import Request
from machinery.clocks import Clock

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
PAUSE = 10.0
"""Seconds between two looks at the files."""
log = logging.getLogger(__name__)


async def publish(registry: Registry, client_ca: Path | None, proxies: ProxySettings | None) -> None:
    """Safe to call from several API servers at once.  Raises OSError for an authority that cannot be read."""
    data = _data(client_ca, proxies)
    request = Request(USER, "create", kinds.of(ConfigMap), NAMESPACE, field_manager="apiserver")
    with suppress(AlreadyExists, Conflict):  # another API server says so at this moment
        try:
            document = await registry.get(request.at(verb="get", name=NAME))
        except NotFound:
            made = ConfigMap(metadata=ObjectMeta(name=NAME, namespace=NAMESPACE), data=data)
            await registry.create(request, meta.encode(made))
            return
        present = meta.decode(document, ConfigMap)
        if not data.items() <= present.data.items():
            present.data |= data
            await registry.update(request.at(verb="update", name=NAME), meta.encode(present))


async def keep(registry: Registry, clock: Clock, client_ca: Path | None, proxies: ProxySettings | None) -> None:
    """What is published follows the files, until cancelled."""
    while True:
        await clock.sleep(PAUSE)
        try:
            await publish(registry, client_ca, proxies)
        except (ApiError, OSError) as e:
            log.warning("cannot tell by which authorities this server knows who asks: %s", e)


def _data(client_ca: Path | None, proxies: ProxySettings | None) -> dict[str, str]:
    data = {"client-ca-file": client_ca.read_text()} if client_ca is not None else {}
    if proxies is None:
        return data
    lists = {
        "allowed-names": proxies.allowed, "username-headers": proxies.users, "uid-headers": proxies.uids,
        "group-headers": proxies.groups, "extra-headers-prefix": proxies.extra,
    }  # fmt: skip
    data["requestheader-client-ca-file"] = proxies.ca.read_text()
    return data | {f"requestheader-{key}": msgspec.json.encode(value).decode() for key, value in lists.items()}
