"""Logs, exec, attach and port-forward through the gRPC door: what the client says goes on to the pod's kubelet.

The messages are the kubelet's own (proto/node.proto); here the pod is found, its container chosen, and the caller's
right to it established.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from api import kinds
from api.errors import ApiError, BadRequest, Conflict
from api.types import Pod
from apiserver import connects
from apiserver.auditing import Auditor, Caller, calls
from apiserver.authorization import Authorizer
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.places import Place, choose_container, find_node, find_pod
from apiserver.nodes.sessions import into_pods
from apiserver.registry import Registry
from apiserver.requests import Request
from apiserver.rest.streaming import execs
from machinery.grpc_errors import abort, from_rpc
from proto import node_pb2 as pb

PODS = kinds.of(Pod)
Context = grpc.aio.ServicerContext[Any, Any]
Who = Callable[[Context], Awaitable[Caller]]
MUST_START = "the first message must be `start`"


class Streams:
    """`who` tells the user of a call.  `kubelets` is closed by whoever made it."""

    def __init__(
        self, registry: Registry, authorizer: Authorizer, who: Who, kubelets: Kubelets, auditor: Auditor | None = None
    ) -> None:  # fmt: skip
        self._auditor = auditor
        self._registry = registry
        self._authorizer = authorizer
        self._who = who
        self._kubelets = kubelets
        self._sessions = into_pods()

    def register(self, server: grpc.aio.Server, service: str) -> None:
        """Put the methods beside the others of `service`."""

        def streaming(behaviour: Any, message: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(
                behaviour, request_deserializer=message.FromString, response_serializer=_serialized
            )

        logs = grpc.unary_stream_rpc_method_handler(
            self.Logs, request_deserializer=pb.LogsRequest.FromString, response_serializer=_serialized
        )
        handlers = {
            "Logs": logs,
            "Exec": streaming(self.Exec, pb.ExecInput),
            "Attach": streaming(self.Attach, pb.ExecInput),
            "PortForward": streaming(self.PortForward, pb.PortForwardInput),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    async def Logs(self, wanted: pb.LogsRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        try:
            request = await self._permitted(context, wanted.container, "get", "log")
            with self._sessions.one_of(request.user.name):
                place = await self._place(request, wanted.container)
                wanted.container.CopyFrom(place.message())
                async for chunk in self._carried(place.pod, "Logs", wanted):
                    yield chunk
        except ApiError as e:
            await abort(context, e)

    async def Exec(self, incoming: AsyncIterator[pb.ExecInput], context: Context) -> AsyncIterator[pb.ExecOutput]:
        async for output in self._terminal("Exec", "exec", incoming, context):
            yield output

    async def Attach(self, incoming: AsyncIterator[pb.ExecInput], context: Context) -> AsyncIterator[pb.ExecOutput]:
        async for output in self._terminal("Attach", "attach", incoming, context):
            yield output

    async def PortForward(
        self, incoming: AsyncIterator[pb.PortForwardInput], context: Context
    ) -> AsyncIterator[pb.Chunk]:
        try:
            first = await anext(incoming, None)
            if first is None or first.WhichOneof("message") != "start":
                raise BadRequest(MUST_START)
            request = await self._permitted(context, first.start, "create", "portforward")
            with self._sessions.one_of(request.user.name):
                pod = await find_pod(self._registry, request)
                await self._registry.connect(request, connects.PodPortForwardOptions(ports=[first.start.port]))
                async for chunk in self._carried(pod, "PortForward", _with(first, incoming)):
                    yield chunk
        except ApiError as e:
            await abort(context, e)

    async def _terminal(
        self, method: str, subresource: str, incoming: AsyncIterator[pb.ExecInput], context: Context
    ) -> AsyncIterator[pb.ExecOutput]:
        try:
            first = await anext(incoming, None)
            if first is None or first.WhichOneof("message") != "start":
                raise BadRequest(MUST_START)
            request = await self._permitted(context, first.start.container, "create", subresource)
            with self._sessions.one_of(request.user.name):
                place = await self._place(request, first.start.container)
                if place.pod.status.phase in ("Succeeded", "Failed"):
                    phase = place.pod.status.phase
                    raise BadRequest(f"cannot exec into a container in a completed pod; current phase is {phase}")
                first.start.container.CopyFrom(place.message())
                await self._registry.connect(request, execs.shown(first.start, subresource))
                async for output in self._carried(place.pod, method, _with(first, incoming)):
                    yield output
        except ApiError as e:
            await abort(context, e)

    async def _place(self, request: Request, wanted: pb.Container) -> Place:
        pod = await find_pod(self._registry, request)
        if wanted.pod_uid and wanted.pod_uid != pod.metadata.uid:
            raise Conflict(f'pod "{wanted.pod}" has another uid: {pod.metadata.uid}')
        return choose_container(pod, wanted.container)

    async def _permitted(
        self, context: Context, about: pb.Container | pb.PortForwardStart, verb: str, subresource: str
    ) -> Request:
        caller = await self._who(context)
        request = Request(caller.user, verb, PODS, about.namespace, about.pod, subresource)
        if self._auditor is None:
            self._authorizer.authorize(request)
        else:
            calls.permitted(self._auditor, caller, request, self._authorizer)
        return request

    async def _carried(self, pod: Pod, method: str, wanted: Any) -> AsyncIterator[Any]:
        """What the kubelet answers.  Raises what it refuses."""
        node = await find_node(self._registry, pod)
        async with self._kubelets.stub(node) as kubelet:
            call: Any = getattr(kubelet, method)(wanted)
            try:
                async for message in call:
                    yield message
            except grpc.aio.AioRpcError as e:
                raise from_rpc(e) from e
            finally:
                call.cancel()


async def _with(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for message in rest:
        yield message


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()  # type: ignore[no-any-return]
