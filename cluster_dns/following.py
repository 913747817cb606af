"""What informers tell → names → answers."""

import asyncio
import logging
from typing import Any

from api.meta import Key, PartialObject, key
from api.types import EndpointSlice, Service
from cluster_dns.answers import Answers
from cluster_dns.names import Names
from cluster_dns.records import of_namespace, of_service
from machinery.informers import Informer

SERVICE_NAME = "kubernetes.io/service-name"
# In the place of a namespace, which has no slash: a namespace may be called as anything else.
NAMESPACES = "namespaces/"

log = logging.getLogger(__name__)


class Follower:
    """Keeps names and answers as the objects are. Must be made before the informers run."""

    def __init__(
        self, services: Informer[Service], slices: Informer[EndpointSlice], namespaces: Informer[PartialObject],
        names: Names, answers: Answers,
    ) -> None:  # fmt: skip
        self._services, self._slices = services, slices
        self._names, self._answers = names, answers
        self._dirty: set[Key] = set()
        slices.add_index("service", lambda s: [str(k) for k in _service_of(s)])
        services.on_change(lambda old, new: self._mark(key(new or old)))
        slices.on_change(lambda old, new: self._mark(*_service_of(old), *_service_of(new)))
        namespaces.on_change(self._on_namespace)

    def _mark(self, *services: Key) -> None:
        if services and not self._dirty:
            # At the end of this batch of events: a rollout moves several slices of one service at once.
            asyncio.get_running_loop().call_soon(self.sync)
        self._dirty.update(services)

    def sync(self) -> None:
        """Brings the names of changed services up to date."""
        dirty, self._dirty = self._dirty, set()
        for each in dirty:
            try:
                self._follow(each)
            except Exception:  # one service's defect must not leave the others, at the start all, without names
                log.exception("the names of %s cannot be told", each)

    def _follow(self, each: Key) -> None:
        service = self._services.get(*each)
        slices = self._slices.by_index("service", str(each))
        records = of_service(service, slices, self._names.layout.domain) if service is not None else {}
        self._answers.changed(self._names.put(each, records))

    def _on_namespace(self, old: PartialObject | None, new: PartialObject | None) -> None:
        name = key(new or old).name
        records = of_namespace(name, self._names.layout.domain) if new is not None else {}
        self._answers.changed(self._names.put(Key(NAMESPACES, name), records))


def _service_of(each: Any) -> list[Key]:
    name = each.metadata.labels.get(SERVICE_NAME) if each is not None else None
    return [Key(each.metadata.namespace, name)] if name else []
