"""pods/proxy, services/proxy and nodes/proxy: an HTTP request, carried into a pod through its node's kubelet, or to a
node.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/.  Upstream dials the pod's address;
an API server need not be in the pod network here, and the kubelet's port forwarding always reaches the pod.
"""

import asyncio
import ipaddress
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

import aiohttp
import msgspec
from aiohttp import web

from api import kinds, meta
from api.errors import BadRequest, NotFound, Unavailable
from api.nodes import kubelet_port
from api.types import EndpointSlice, Node, Pod, Service
from apiserver import connects, trust
from apiserver.nodes.kubelets import Kubelets, address_of
from apiserver.nodes.places import SELF, find_node
from apiserver.nodes.services import none_available, port_of, spots
from apiserver.nodes.tunnels import carry
from apiserver.requests import ListOptions, Request
from apiserver.rest import carrying
from apiserver.rest.connections import Connections
from apiserver.rest.rewriting import Links
from apiserver.rest.verbs import Verbs
from apiserver.webhooks import words

P = TypeVar("P", bound=asyncio.BaseProtocol)
_SEGMENTS = 8  # of /api/v1/namespaces/NAMESPACE/RESOURCE/NAME/proxy/, after which the pod's own path begins
_SEGMENTS_OF_NODES = 6


class Place(NamedTuple):
    """A pod's port; without a pod, a node's."""

    pod: Pod | None
    port: int
    tls: ssl.SSLContext | None = None
    address: str = ""

    @property
    def names(self) -> list[str]:
        """The hosts that a link from there to itself may name."""
        address = self.pod.status.podIP if self.pod is not None else self.address
        host = f"[{address}]" if ":" in address else address
        return [f"{host}:{self.port}"]


async def serve(
    http: web.BaseRequest, request: Request, registry: Verbs, kubelets: Kubelets, connections: Connections
) -> web.StreamResponse:
    """Raises NotFound, BadRequest, or Unavailable where nothing answers."""
    raw, _, query = http.raw_path.partition("?")
    segments = _SEGMENTS_OF_NODES if request.kind.plural == "nodes" else _SEGMENTS
    parts = raw.split("/", segments)
    more = f"?{query}" if query else ""
    path = parts[segments] if len(parts) > segments else ""
    await registry.connect(request, connects.proxying(request.kind.name, path))
    place = await _place(request, registry, kubelets)
    if len(parts) <= segments and http.method in ("GET", "HEAD") and not carrying.is_upgrade(http):
        return web.Response(status=301, headers={"Location": f"{raw}/{more}"})
    links = Links(unquote("/".join(parts[:segments])), http.host, place.names)
    async with connections.lifetime(http), _connected(place, registry, kubelets) as link:
        try:
            return await _carry_on(http, link, f"/{path}{more}", links)
        except (aiohttp.ClientConnectionError, OSError) as e:
            if isinstance(e, ConnectionResetError) and not isinstance(e, aiohttp.ClientError):
                raise
            raise Unavailable(f"error trying to reach service: {await link.reason() or e}") from e
    raise ConnectionResetError("the client has gone, or this server stops")


async def _carry_on(http: web.BaseRequest, link: "_Link", path: str, links: Links) -> web.StreamResponse:
    forwarded = [("X-Forwarded-Uri", http.raw_path.partition("?")[0]), ("X-Forwarded-Host", http.host)]
    forwarded += [("X-Forwarded-For", http.remote)] if http.remote else []
    headers = carrying.headers_for(http, forwarded)
    if carrying.is_upgrade(http):
        return await carrying.splice(http, link.connect, path, http.host, headers)
    scheme = "https" if link.tls is not None else "http"
    async with carrying.session(_Through(link)) as client:
        return await carrying.exchange(http, client, f"{scheme}://{http.host}{path}", headers, links=links)


class _Link:
    """One connection, that is to be made at the first use."""

    def __init__(self, ours: socket.socket | None, carrier: "asyncio.Task[str] | None", place: Place) -> None:
        self._ours = ours
        self._carrier = carrier
        self._place = place
        self.tls = place.tls

    async def connect(self, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        loop, tls = asyncio.get_running_loop(), self.tls
        if self._ours is not None:
            name = "" if tls is not None else None  # nobody asks for one, but a socket that is given must have it said
            return await loop.create_connection(factory, sock=self._ours, ssl=tls, server_hostname=name)
        try:
            return await loop.create_connection(factory, self._place.address, self._place.port, ssl=tls)
        except ssl.SSLError:
            raise
        except OSError as e:
            why = words.of_socket(e, f"{self._place.address}:{self._place.port}")
            raise Unavailable(f"error trying to reach service: {why}") from e

    async def reason(self) -> str:
        """Why the connection broke, as the kubelet says it."""
        return await self._carrier if self._carrier is not None else ""


@asynccontextmanager
async def _connected(place: Place, registry: Verbs, kubelets: Kubelets) -> AsyncIterator[_Link]:
    if place.pod is None:
        yield _Link(None, None, place)
        return
    async with kubelets.stub(await find_node(registry, place.pod)) as kubelet:
        ours, theirs = socket.socketpair()
        carrier = asyncio.create_task(carry(kubelet, place.pod, place.port, theirs))
        try:
            yield _Link(ours, carrier, place)
        finally:
            carrier.cancel()
            await asyncio.gather(carrier, return_exceptions=True)
            ours.close()


async def _place(request: Request, registry: Verbs, kubelets: Kubelets) -> Place:
    """Whom `[SCHEME:]NAME[:PORT]` means."""
    words_ = request.name.split(":")
    if len(words_) > 3 or (len(words_) == 3 and words_[0] not in ("", "http", "https")):
        raise BadRequest(f'invalid {request.kind.name.lower()} request "{request.name}"')
    secure = len(words_) == 3 and words_[0] == "https"
    name, port = (words_[-2], words_[-1]) if len(words_) > 1 else (words_[0], "")
    # Whose certificate a pod has, or what else listens on a node, nobody asks, as with upstream.
    tls = trust.context("", verify=False) if secure else None
    if request.kind.plural == "services":
        return (await _behind(registry, request.namespace, name, port))._replace(tls=tls)
    if request.kind.plural == "nodes":
        node = await _read(registry, Node, "", name)
        own = kubelet_port(node)
        number = int(port) if port.isdigit() else own
        return Place(None, number, kubelets.tls() if number == own else tls, _proxyable(address_of(node)))
    pod = await _read(registry, Pod, request.namespace, name)
    if not pod.status.podIP:
        raise BadRequest("address not allowed")
    known = [(p.name, p.containerPort) for c in pod.spec.containers for p in c.ports]
    number = next((n for known_name, n in known if port in ("", known_name)), 0)
    if port and not port.isdigit() and not number:
        raise BadRequest(f'pod "{name}" has no port "{port}"')
    return Place(pod, int(port) if port.isdigit() else number or 80, tls)


def _proxyable(address: str) -> str:
    """A node says itself where it is, and what is local to a link is no node: clouds tell their machines' credentials
    there.  Raises BadRequest."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        raise BadRequest("address not allowed")
    return address


async def _behind(registry: Verbs, namespace: str, name: str, port: str) -> Place:
    """A ready endpoint of the service, by chance."""
    wanted = port_of(await _read(registry, Service, namespace, name), port)
    options = ListOptions(label_selector=f"kubernetes.io/service-name={name}")
    found = await registry.list(Request(SELF, "list", kinds.of(EndpointSlice), namespace), options)
    ready = spots([meta.decode(item.document, EndpointSlice) for item in found.items], wanted)
    random.shuffle(ready)
    for spot in ready:
        if not spot.pod:
            return Place(await _pod_at(registry, spot.address), spot.port, address=spot.address)
        try:
            return Place(await _read(registry, Pod, namespace, spot.pod), spot.port)
        except NotFound:
            continue
    raise none_available(name)


async def _pod_at(registry: Verbs, address: str) -> Pod | None:
    """The pod that has the address, though no slice says so: only through its node is it sure to be reached."""
    ended = "status.phase!=Succeeded,status.phase!=Failed"
    options = ListOptions(field_selector=f"status.podIP={address},spec.hostNetwork=false,{ended}")
    found = await registry.list(Request(SELF, "list", kinds.of(Pod)), options)
    pods = (meta.decode(item.document, Pod) for item in found.items)
    return next((p for p in pods if p.status.podIP == address and p.spec.nodeName and not p.spec.hostNetwork), None)


async def _read(registry: Verbs, what: type[Any], namespace: str, name: str) -> Any:
    document = await registry.get(Request(SELF, "get", kinds.of(what), namespace, name))
    return msgspec.json.decode(document, type=what)


class _Through(aiohttp.BaseConnector):
    """Every connection is the one link."""

    def __init__(self, link: _Link) -> None:
        super().__init__(force_close=True)
        self._link = link

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        _, protocol = await self._link.connect(self._factory)
        return protocol
