"""The gRPC service wherry.v1.Controllers: what the controller manager can be asked."""

from collections.abc import Callable, Sequence

import grpc

from api.meta import Key
from machinery.controllers import Controller
from proto import controllers_pb2 as pb
from proto.controllers_pb2_grpc import ControllersServicer, add_ControllersServicer_to_server

SERVICE = "wherry.v1.Controllers"
Context = grpc.aio.ServicerContext[object, object]


class Introspection(ControllersServicer):
    """`controllers` answers with those of the present term of leadership; none while another one leads."""

    def __init__(self, controllers: Callable[[], Sequence[Controller]]) -> None:
        self._controllers = controllers

    def register(self, server: grpc.aio.Server) -> None:
        add_ControllersServicer_to_server(self, server)

    async def List(self, request: pb.ListControllersRequest, context: Context) -> pb.ListControllersResponse:
        controllers = self._controllers()
        return pb.ListControllersResponse(leading=bool(controllers), controllers=[_describe(c) for c in controllers])

    async def Reconcile(self, request: pb.ReconcileRequest, context: Context) -> pb.ReconcileResponse:
        controllers = self._controllers()
        if not controllers:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another controller manager leads")
        found = next((c for c in controllers if c.name == request.controller), None)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'there is no controller "{request.controller}"')
        return pb.ReconcileResponse(error=await found.reconcile_now(Key(request.namespace, request.name)))


def _describe(controller: Controller) -> pb.Controller:
    return pb.Controller(
        name=controller.name, queued=len(controller.queue), running=controller.queue.working,
        reconciled=controller.reconciled, failed=controller.failed, last_error=controller.last_error,
    )  # fmt: skip
