"""pods/log: what a container wrote, as text.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

import asyncio
from typing import Any

import grpc
from aiohttp import web

from api import paths
from api.paths import Fault, Path
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.places import Place, choose_container, find_node, find_pod
from apiserver.requests import Request
from apiserver.rest import options, responses, sockets
from apiserver.rest.connections import Connections, Lifetime
from apiserver.rest.options import Query
from apiserver.rest.sockets import upgrade
from apiserver.rest.verbs import Verbs
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb


async def serve(
    http: web.BaseRequest,
    request: Request,
    query: Query,
    registry: Verbs,
    kubelets: Kubelets,
    connections: Connections,
    audit: str,
) -> web.StreamResponse:
    """Raises BadRequest, Invalid, NotFound, or what the kubelet refuses with before the first byte."""
    pod = await find_pod(registry, request)
    place = choose_container(pod, query.get("container", ""))
    wanted = message(query, place)
    if not pod.spec.nodeName:
        return responses.text("", audit)
    node = await find_node(registry, pod)
    sink = _Socket(http) if upgrade(http) == "websocket" else _Plain(http, audit)
    async with connections.lifetime(http) as life, kubelets.stub(node) as kubelet:
        call: Any = kubelet.Logs(wanted)  # the stubs describe the synchronous API
        response = None
        try:
            # What refuses the whole request comes instead of the first chunk, and must still become its status.
            chunk = await call.read()
            response = await sink.open(life)
            while chunk is not grpc.aio.EOF:
                await sink.write(chunk.data)
                chunk = await call.read()
        except grpc.aio.AioRpcError as e:
            if response is None:
                raise from_rpc(e) from e
            await sink.write(f"\nerror: the log was cut off: {from_rpc(e).message}\n".encode())
        finally:
            call.cancel()
            await sink.close()
        return response
    raise ConnectionResetError("the client has gone, or this server stops")


class _Plain:
    """The log as the body of the answer."""

    def __init__(self, http: web.BaseRequest, audit: str) -> None:
        self._http = http
        said = {"Audit-Id": audit, "Cache-Control": "no-cache, private", "Content-Type": "text/plain"}
        self._response = web.StreamResponse(headers=said)

    async def open(self, life: Lifetime) -> web.StreamResponse:
        await self._response.prepare(self._http)
        return self._response

    async def write(self, data: bytes) -> None:
        await self._response.write(data)

    async def close(self) -> None:
        return None


class _Socket:
    """The log as messages of a WebSocket, the first of which is empty."""

    def __init__(self, http: web.BaseRequest) -> None:
        self._http = http
        self._socket: web.WebSocketResponse | None = None

    async def open(self, life: Lifetime) -> web.StreamResponse:
        self._socket = await sockets.opened(self._http, *sockets.PLAIN)
        self._reader = asyncio.create_task(sockets.until_closed(self._socket))
        self._reader.add_done_callback(lambda it: None if it.cancelled() else life.end())
        await self.write(b"")
        return self._socket

    async def write(self, data: bytes) -> None:
        if self._socket is not None:
            await sockets.write(self._socket, data)

    async def close(self) -> None:
        if self._socket is not None:
            self._reader.cancel()
            await self._socket.close()


def message(query: Query, place: Place) -> pb.LogsRequest:
    """The kubelet's form of the query.  Raises BadRequest, Invalid."""
    wanted = pb.LogsRequest(
        container=place.message(),
        follow=options.truth(query, "follow"),
        previous=options.truth(query, "previous"),
        timestamps=options.truth(query, "timestamps"),
        since_time=query.get("sinceTime", ""),
        stream=query.get("stream", ""),
    )
    faults: list[Fault] = []
    for name, field, least, why in (
        ("tailLines", "tail_lines", 0, "must be greater than or equal to 0"),
        ("limitBytes", "limit_bytes", 1, "must be greater than 0"),
        ("sinceSeconds", "since_seconds", 1, "must be greater than 0"),
    ):
        if name in query:
            value = options.integer(query, name)
            setattr(wanted, field, value)
            if value < least:
                faults.append(paths.invalid(Path(name), value, why))
    if "sinceSeconds" in query and wanted.since_time:
        why = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        faults.append(paths.forbidden(Path(""), why))
    if wanted.stream not in ("", "All", "Stdout", "Stderr"):
        faults.append(paths.not_supported(Path("stream"), wanted.stream, ["All", "Stdout", "Stderr"]))
    if wanted.stream not in ("", "All") and "tailLines" in query:
        why = "`tailLines` and specific `stream` are mutually exclusive for now"
        faults.append(paths.forbidden(Path(""), why))
    if faults:
        raise paths.refusal("", "PodLogOptions", place.pod.metadata.name, faults)
    return wanted
