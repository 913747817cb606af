"""Subresources that are streams, carried on to the kubelet of the pod's node.

logs, execs, port_forwards, proxies   what is carried
channels, channelled_forwards   streams as channels of a WebSocket
spdy, links, sessions, terminals   streams of SPDY/3.1, plain or tunnelled in a WebSocket
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from urllib.parse import parse_qsl

from aiohttp import web

from api.errors import ApiError, BadRequest, no_such_resource
from api.types import Node, Pod
from apiserver import connects
from apiserver.authorization import Authorizer
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.places import choose_container, find_node, find_pod
from apiserver.nodes.sessions import into_pods
from apiserver.requests import Request
from apiserver.rest.connections import Connections
from apiserver.rest.options import Query
from apiserver.rest.sockets import offered, opened, upgrade
from apiserver.rest.streaming import channelled_forwards, execs, logs, port_forwards, proxies, terminals
from apiserver.rest.streaming.channels import PROTOCOLS, V4, Channels
from apiserver.rest.streaming.links import SPDY, TUNNEL, SocketLink, take_over
from apiserver.rest.streaming.port_forwards import PortForward
from apiserver.rest.streaming.sessions import Session
from apiserver.rest.streaming.terminals import SpdyTerminal
from apiserver.rest.verbs import Verbs
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub


class Streams:
    """`kubelets` is closed by whoever made it."""

    def __init__(self, registry: Verbs, authorizer: Authorizer, kubelets: Kubelets, connections: Connections) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._kubelets = kubelets
        self._connections = connections
        self._sessions = into_pods()

    async def serve(self, http: web.BaseRequest, request: Request, query: Query, audit: str) -> web.StreamResponse:
        """Raises Forbidden, NotFound, BadRequest, Invalid, TooManyRequests."""
        if request.verb == "connect":
            request.verb = "create"  # what upstream asks its authorizer about
        self._authorizer.authorize(request)
        with self._sessions.one_of(request.user.name):
            return await self._serve(http, request, query, audit)

    async def _serve(self, http: web.BaseRequest, request: Request, query: Query, audit: str) -> web.StreamResponse:
        match request.subresource:
            case "log":
                return await logs.serve(http, request, query, self._registry, self._kubelets, self._connections, audit)
            case "exec" | "attach":
                return await self._exec(http, request, query)
            case "portforward":
                return await self._port_forward(http, request)
            case "proxy":
                return await proxies.serve(http, request, self._registry, self._kubelets, self._connections)
        raise no_such_resource()

    async def _exec(self, http: web.BaseRequest, request: Request, query: Query) -> web.StreamResponse:
        pod = await find_pod(self._registry, request)
        if pod.status.phase in ("Succeeded", "Failed"):
            why = f"cannot exec into a container in a completed pod; current phase is {pod.status.phase}"
            raise BadRequest(why)
        place = choose_container(pod, query.get("container", ""))
        commands = [value for name, value in parse_qsl(http.query_string, True) if name == "command"]
        first = execs.start(query, commands, place, request.subresource)
        await self._registry.connect(request, execs.shown(first, request.subresource))
        node = await find_node(self._registry, pod)
        if upgrade(http) == "websocket":
            socket = await opened(http, *PROTOCOLS)
            async with self._connected(http, node) as kubelet:
                channels = Channels(socket)
                await channels.greet(first)
                await execs.run(kubelet, request.subresource, first, channels)
            return socket
        link, response = await take_over(http, _spdy(http, terminals.PROTOCOL))
        async with self._connected(http, node) as kubelet:
            await _run_terminal(kubelet, request.subresource, first, SpdyTerminal(Session(link), first))
        return response

    async def _port_forward(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        pod = await find_pod(self._registry, request)
        await self._registry.connect(request, connects.forwarding(http.query_string))
        one_more = partial(self._sessions.one_of, request.user.name)
        node = await find_node(self._registry, pod)
        if upgrade(http) == "websocket" and TUNNEL not in offered(http):
            ports = channelled_forwards.ports(parse_qsl(http.query_string))
            socket = await opened(http, V4, "")
            async with self._connected(http, node) as kubelet:
                await channelled_forwards.run(PortForward(kubelet, pod, one_more), socket, ports)
            return socket
        if upgrade(http) == "websocket":
            socket = await opened(http, TUNNEL)
            await self._forward(http, pod, node, Session(SocketLink(socket)), one_more)
            return socket
        link, response = await take_over(http, _spdy(http, port_forwards.PROTOCOL))
        await self._forward(http, pod, node, Session(link), one_more)
        return response

    async def _forward(
        self, http: web.BaseRequest, pod: Pod, node: Node, session: Session,
        one_more: Callable[[], AbstractContextManager[None]],
    ) -> None:  # fmt: skip
        async with self._connected(http, node) as kubelet:
            await PortForward(kubelet, pod, one_more).run(session)

    @asynccontextmanager
    async def _connected(self, http: web.BaseRequest, node: Node) -> AsyncIterator[NodeStub]:
        async with self._connections.lifetime(http), self._kubelets.stub(node) as kubelet:
            yield kubelet


def _spdy(http: web.BaseRequest, protocol: str) -> dict[str, str]:
    """The headers of an answer that agrees to SPDY and to a protocol of its streams.  Raises BadRequest."""
    if upgrade(http) != SPDY.lower():
        raise BadRequest("Upgrade request required")
    offered = {p.strip() for line in http.headers.getall("X-Stream-Protocol-Version", []) for p in line.split(",")}
    if protocol not in offered:
        raise BadRequest(f"unable to upgrade: stream protocols {sorted(offered)} requested, {protocol} spoken")
    return {"X-Stream-Protocol-Version": protocol}


async def _run_terminal(kubelet: NodeStub, subresource: str, first: pb.ExecStart, terminal: SpdyTerminal) -> None:
    async with asyncio.TaskGroup() as tasks:
        receiver = tasks.create_task(terminal.receive())
        try:
            await terminal.opened()
            await execs.run(kubelet, subresource, first, terminal)
        except ApiError as e:
            await terminal.finish(e.to_status())
        finally:
            receiver.cancel()
