"""Whether the servers behind APIServices answer, and what they say that they serve."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import aiohttp
import msgspec
from yarl import URL

from api import meta
from api.errors import ApiError
from api.types import APIService, APIServiceSpec, Service
from apiserver import trust
from apiserver.admission.reading import Reader
from apiserver.aggregation import registering
from apiserver.aggregation.routes import Routes
from apiserver.nodes.services import SERVICES, slices_of, spots
from apiserver.outgoing import Outgoing
from apiserver.registry import Registry
from apiserver.rest.carrying import session
from apiserver.webhooks import words
from apiserver.webhooks.connecting import Connector, Unreachable
from machinery.clocks import Clock

SOON, LATER = 1.0, 5.0
"""Seconds between looks at a server that does not answer, and at one that does."""
PATIENCE = 5.0
LARGEST = 16 * 2**20
log = logging.getLogger(__name__)

AS_SELF = {
    "X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters", "Accept": "application/json",
}  # fmt: skip
Document = dict[str, Any]


class _Resource(msgspec.Struct):
    name: str
    kind: str = ""
    group: str | None = None
    version: str | None = None
    singularName: str | None = None
    namespaced: bool = False
    verbs: list[str] | None = None
    shortNames: list[str] | None = None
    categories: list[str] | None = None


class _ResourceList(msgspec.Struct):
    """What of an APIResourceList is read here: it stands in the discovery documents of all groups, which must not fail
    for what one server says."""

    resources: list[_Resource] | None = None


class Servers:
    """How API servers behind this one are talked to: a pool of connections, and the certificate that this one shows."""

    def __init__(self, out: Outgoing, certificate: Path | None, key: Path | None) -> None:
        self._out = out
        self._files = (certificate, key)
        self._session: aiohttp.ClientSession | None = None

    @property
    def outgoing(self) -> Outgoing:
        return self._out

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = session(Connector(self._out.backends, self._out.tunnels))
        return self._session

    def tls(self, service: APIService) -> Any:
        """Raises trust.Unreadable, OSError."""
        spec = service.spec
        return trust.context(spec.caBundle or "", *self._files, verify=not spec.insecureSkipTLSVerify)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, service: APIService, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """(status, body).  Raises Fault."""
        url = f"{origin(service)}{path}"
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self.session().get(URL(url, encoded=True), headers=headers, ssl=self.tls(service)) as answer,
            ):
                body = await answer.content.read(LARGEST)
                while len(body) < LARGEST and (piece := await answer.content.read(LARGEST - len(body))):
                    body += piece
                return answer.status, body
        except TimeoutError as e:
            raise Fault(words.about("Get", url, words.DEADLINE)) from e
        except (Unreachable, aiohttp.ClientError, OSError, ValueError) as e:
            raise Fault(words.about("Get", url, str(e) or "EOF")) from e


class _Look(NamedTuple):
    at: float
    about: tuple[str, APIServiceSpec]


def _identity(service: APIService) -> tuple[str, APIServiceSpec]:
    """Another one must be looked at anew, although it has the same name."""
    return service.metadata.uid, service.spec


class Fault(Exception):
    """A server that could not be asked."""


def host(service: APIService) -> str:
    reference = service.spec.service
    assert reference is not None
    return f"{reference.name}.{reference.namespace}.svc"


def port(service: APIService) -> int:
    reference = service.spec.service
    return (reference.port if reference is not None else None) or 443


def origin(service: APIService) -> str:
    return f"https://{host(service)}:{port(service)}"


class Checker:
    """`resources` is what each server said last that it serves in a (group, version): an APIResourceList."""

    def __init__(self, routes: Routes, servers: Servers, reader: Reader, registry: Registry, clock: Clock) -> None:
        self._routes = routes
        self._servers = servers
        self._reader = reader
        self._registry = registry
        self._clock = clock
        self._checked: dict[tuple[str, str], _Look] = {}
        self._bad: set[tuple[str, str]] = set()
        self.resources: dict[tuple[str, str], Document] = {}
        self.openapi: dict[tuple[str, str], str] = {}
        """Where each has its OpenAPI document of version 3, if it has one."""
        self.version = 0
        """Grows with every change of `resources` and of who answers."""

    def answers(self, about: tuple[str, str]) -> bool:
        return about in self._checked and about not in self._bad

    async def run(self) -> NoReturn:
        try:
            while True:
                await self.look()
                await self._clock.sleep(SOON)
        finally:
            await self._servers.close()

    async def look(self) -> None:
        """Check those whose time has come."""
        now, remote = self._clock.monotonic(), self._routes.remote()
        for gone in self._checked.keys() - remote.keys():
            self._forget(gone)
        due = [gv for gv, service in remote.items() if gv in self._bad or self._is_due(gv, service, now)]
        await asyncio.gather(*(self._check(gv, remote[gv]) for gv in due))

    def _is_due(self, about: tuple[str, str], service: APIService, now: float) -> bool:
        last = self._checked.get(about)
        return last is None or now - last.at >= LATER or last.about != _identity(service)

    def _forget(self, about: tuple[str, str]) -> None:
        del self._checked[about]
        self._bad.discard(about)
        self.resources.pop(about, None)
        self.openapi.pop(about, None)
        self.version += 1

    async def _check(self, about: tuple[str, str], service: APIService) -> None:
        status, reason, message = await self._condition(about, service)
        if (status == "True") == (about in self._bad) or about not in self._checked:
            self.version += 1
        self._checked[about] = _Look(self._clock.monotonic(), _identity(service))
        (self._bad.discard if status == "True" else self._bad.add)(about)
        known = meta.condition(service, "Available")
        if known is None or (known.status, known.reason, known.message) != (status, reason, message):
            condition = registering.available(status, reason, message, self._clock)
            try:
                await registering.tell(self._registry, service.metadata.name, condition)
            except ApiError as e:
                log.warning("status of API service %s: %s", service.metadata.name, e)

    async def _condition(self, about: tuple[str, str], service: APIService) -> tuple[str, str, str]:
        reference = service.spec.service
        assert reference is not None
        name, namespace = reference.name, reference.namespace
        behind: Service | None = self._reader.get_cached(SERVICES, namespace, name)
        if behind is None:
            return "False", "ServiceNotFound", f'service/{name} in "{namespace}" is not present'
        if behind.spec.type != "ExternalName" and (refused := self._endpoints(behind, port(service))):
            return refused
        path = f"/apis/{about[0]}/{about[1]}"
        try:
            code, body = await self._servers.get(service, path, AS_SELF)
        except Fault as e:
            return "False", "FailedDiscoveryCheck", f"failing or missing response from {origin(service)}{path}: {e}"
        if not 200 <= code < 300:
            return "False", "FailedDiscoveryCheck", f"bad status from {origin(service)}{path}: {code}"
        self._learn(about, body)
        await self._learn_openapi(about, service)
        return "True", "Passed", "all checks passed"

    def _endpoints(self, behind: Service, number: int) -> tuple[str, str, str] | None:
        name, namespace = behind.metadata.name, behind.metadata.namespace
        wanted = next((p for p in behind.spec.ports if p.port == number), None)
        if wanted is None:
            return "False", "ServicePortError", f'service/{name} in "{namespace}" is not listening on port {number}'
        slices = slices_of(self._reader, namespace, name)
        if not slices:
            message = f'cannot find endpointslices for service/{name} in "{namespace}"'
            return "False", "EndpointsNotFound", message
        if not spots(slices, wanted):
            what = f'endpointslices for service/{name} in "{namespace}" have no addresses'
            return "False", "MissingEndpoints", f'{what} with port name "{wanted.name or ""}"'
        return None

    def _learn(self, about: tuple[str, str], body: bytes) -> None:
        try:
            msgspec.json.decode(body, type=_ResourceList)
            found = msgspec.json.decode(body)
        except (ValueError, RecursionError) as e:
            log.info("what the API service for %s/%s serves cannot be read: %s", *about, e)
            return
        if found != self.resources.get(about):
            self.resources[about] = found
            self.version += 1

    async def _learn_openapi(self, about: tuple[str, str], service: APIService) -> None:
        """Not every server has these documents, and none is refused for that."""
        try:
            code, body = await self._servers.get(service, "/openapi/v3", AS_SELF)
            entry = msgspec.json.decode(body)["paths"][f"apis/{about[0]}/{about[1]}"] if code == 200 else {}
            where = str(entry.get("serverRelativeURL", ""))
        except (Fault, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            where = ""
        if where != self.openapi.get(about, ""):
            self.version += 1
            self.openapi.pop(about, None)
            if where:
                self.openapi[about] = where
