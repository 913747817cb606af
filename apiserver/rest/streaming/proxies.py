"""pods/proxy and services/proxy: one HTTP request, carried into a pod through its node's kubelet.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/.  Upstream dials the pod's address;
an API server need not be in the pod network here, and the kubelet's port forwarding always reaches the pod.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import grpc
import msgspec
from aiohttp import web
from yarl import URL

from api import kinds, meta
from api.errors import BadRequest, NotFound, Unavailable
from api.types import Endpoint, EndpointSlice, Pod, Service
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.places import SELF, find_node
from apiserver.requests import ListOptions, Request
from apiserver.rest.connections import Connections
from apiserver.rest.verbs import Verbs
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip
OURS = HOP_BY_HOP | {"authorization", "host", "content-length"}
"""What a pod does not get to see, or what is said anew."""
PIECE = 64 * 1024
_SEGMENTS = 8  # of /api/v1/namespaces/NAMESPACE/RESOURCE/NAME/proxy/, after which the pod's own path begins


class Place(NamedTuple):
    pod: Pod
    port: int


async def serve(
    http: web.BaseRequest, request: Request, registry: Verbs, kubelets: Kubelets, connections: Connections
) -> web.StreamResponse:
    """Raises NotFound, BadRequest, or Unavailable where nothing answers."""
    raw, _, query = http.raw_path.partition("?")
    parts = raw.split("/", _SEGMENTS)
    more = f"?{query}" if query else ""
    if len(parts) <= _SEGMENTS:
        return web.Response(status=301, headers={"Location": f"{raw}/{more}"})
    place = await _place(request, registry)
    node = await find_node(registry, place.pod)
    async with connections.lifetime(http), kubelets.stub(node) as kubelet:
        ours, theirs = socket.socketpair()
        carrier = asyncio.create_task(_carry(kubelet, place, theirs))
        try:
            return await _exchange(http, ours, f"/{parts[_SEGMENTS]}{more}")
        except aiohttp.ClientConnectionError as e:
            raise Unavailable(f"error trying to reach service: {await carrier or e}") from e
        finally:
            carrier.cancel()
            await asyncio.gather(carrier, return_exceptions=True)


async def _place(request: Request, registry: Verbs) -> Place:
    """Whom `[http:]NAME[:PORT]` means."""
    words = request.name.split(":")
    if len(words) == 3 and words[0] == "https":
        raise BadRequest("this server carries plain HTTP to pods, not https")
    if len(words) > 3 or (len(words) == 3 and words[0] not in ("", "http")):
        raise BadRequest(f'invalid {request.kind.name.lower()} request "{request.name}"')
    name, port = (words[-2], words[-1]) if len(words) > 1 else (words[0], "")
    if request.kind.plural == "services":
        return await _behind(registry, request.namespace, name, port)
    pod = await _read(registry, Pod, request.namespace, name)
    known = [(p.name, p.containerPort) for c in pod.spec.containers for p in c.ports]
    number = next((n for known_name, n in known if port in ("", known_name)), None)
    if port and not port.isdigit() and number is None:
        raise BadRequest(f'pod "{name}" has no port "{port}"')
    return Place(pod, int(port) if port.isdigit() else number or 80)


async def _behind(registry: Verbs, namespace: str, name: str, port: str) -> Place:
    """A ready pod of the service, by chance."""
    service = await _read(registry, Service, namespace, name)
    ports = service.spec.ports
    wanted = next((p for p in ports if port in (p.name, str(p.port)) or (not port and len(ports) == 1)), None)
    if wanted is None:
        raise Unavailable(f'no service port "{port}" found for service "{name}"')
    options = ListOptions(label_selector=f"kubernetes.io/service-name={name}")
    found = await registry.list(Request(SELF, "list", kinds.of(EndpointSlice), namespace), options)
    ready: list[tuple[str, int]] = []
    for item in found.items:
        its = meta.decode(item.document, EndpointSlice)
        number = next((p.port for p in its.ports if (p.name or "") == (wanted.name or "")), None)
        if number:
            ready += [(e.targetRef.name or "", number) for e in its.endpoints if e.targetRef is not None and _ready(e)]
    random.shuffle(ready)
    for pod_name, number in ready:
        try:
            return Place(await _read(registry, Pod, namespace, pod_name), number)
        except NotFound:
            continue
    raise Unavailable(f'no endpoints available for service "{name}"')


def _ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions is None or endpoint.conditions.ready is not False


async def _read(registry: Verbs, what: type[Any], namespace: str, name: str) -> Any:
    document = await registry.get(Request(SELF, "get", kinds.of(what), namespace, name))
    return msgspec.json.decode(document, type=what)


class _Through(aiohttp.BaseConnector):
    """Every connection is one socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(force_close=True)
        self._connected = connected

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        _, protocol = await self._loop.create_connection(self._factory, sock=self._connected)
        return protocol


async def _exchange(http: web.BaseRequest, connected: socket.socket, path: str) -> web.StreamResponse:
    headers = {name: value for name, value in http.headers.items() if name.lower() not in OURS}
    headers |= {"X-Forwarded-Uri": http.raw_path.partition("?")[0], "X-Forwarded-Host": http.host}
    body = await http.read() if http.body_exists else None
    session = aiohttp.ClientSession(
        connector=_Through(connected), auto_decompress=False, timeout=aiohttp.ClientTimeout(None),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
    )  # fmt: skip
    url = URL(f"http://{http.host}{path}", encoded=True)
    async with session, session.request(http.method, url, headers=headers, data=body, allow_redirects=False) as found:
        response = web.StreamResponse(status=found.status, reason=found.reason)
        for name, value in found.headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(http)
        try:
            async for piece in found.content.iter_chunked(PIECE):
                await response.write(piece)
        except aiohttp.ClientError as e:  # too late for a Status: the client sees that the answer breaks off
            raise ConnectionResetError(str(e)) from e
        await response.write_eof()
        return response


async def _carry(kubelet: NodeStub, place: Place, connected: socket.socket) -> str:
    """Move bytes between the socket and the pod until either ends; what the kubelet says if it cannot."""
    reader, writer = await asyncio.open_connection(sock=connected)
    metadata = place.pod.metadata

    async def inputs() -> AsyncIterator[pb.PortForwardInput]:
        start = pb.PortForwardStart(namespace=metadata.namespace, pod=metadata.name, port=place.port)
        yield pb.PortForwardInput(start=start)
        while piece := await reader.read(PIECE):
            yield pb.PortForwardInput(data=piece)
        yield pb.PortForwardInput(close=True)

    call: Any = kubelet.PortForward(inputs())  # type: ignore[arg-type]  # the stubs describe the synchronous API
    try:
        async for chunk in call:
            writer.write(chunk.data)
            await writer.drain()
        return ""
    except grpc.aio.AioRpcError as e:
        return from_rpc(e).message
    except ConnectionError as e:
        return str(e)
    finally:
        call.cancel()
        writer.close()
