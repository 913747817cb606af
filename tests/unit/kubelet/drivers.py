"""A driver of devices that does nothing but remember what it was asked, at a socket of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from kubelet.devices.drivers import SERVICES
from proto import dra_pb2 as pb
from proto import pluginregistration_pb2 as registration
from proto.pluginregistration_pb2_grpc import RegistrationServicer, add_RegistrationServicer_to_server

Devices = Callable[[pb.Claim], Iterable[pb.Device]]


def one_device(claim: pb.Claim) -> list[pb.Device]:
    return [pb.Device(pool_name="pool", device_name="lamp-0", cdi_device_ids=[f"acme.example/claim={claim.uid}"])]


class FakeDriver(RegistrationServicer):
    """`answers` gives the devices of a claim; `faults` are what it says instead, by the claim's name, with "" for all
    of a call, by an error of gRPC's."""

    def __init__(
        self, registry: Path, name: str = "lamps.example", *, versions: Iterable[str] = ("v1.DRAPlugin",),
        kind: str = "DRAPlugin", endpoint: str = "", answers: Devices = one_device,
    ) -> None:  # fmt: skip
        self.name = name
        self.socket = registry / f"{name}-reg.sock"
        self.prepared: list[list[str]] = []
        self.unprepared: list[list[str]] = []
        self.faults: dict[str, str] = {}
        self._statuses: asyncio.Queue[registration.RegistrationStatus] = asyncio.Queue()
        self.gate: asyncio.Event | None = None  # every answer waits for it
        self._info = registration.PluginInfo(type=kind, name=name, endpoint=endpoint, supported_versions=versions)
        self._answers = answers

    async def told(self) -> registration.RegistrationStatus:
        """What the kubelet says of its registration next."""
        return await asyncio.wait_for(self._statuses.get(), 10)

    @asynccontextmanager
    async def serving(self, seen: str = "") -> AsyncIterator["FakeDriver"]:
        """`seen`: where its endpoint is, if that is not what it says itself."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        server = grpc.aio.server()
        add_RegistrationServicer_to_server(self, server)
        methods = {
            "NodePrepareResources": grpc.unary_unary_rpc_method_handler(
                self._prepare, pb.NodePrepareResourcesRequest.FromString,
                pb.NodePrepareResourcesResponse.SerializeToString,
            ),
            "NodeUnprepareResources": grpc.unary_unary_rpc_method_handler(
                self._unprepare, pb.NodeUnprepareResourcesRequest.FromString,
                pb.NodeUnprepareResourcesResponse.SerializeToString,
            ),
        }  # fmt: skip
        named = [SERVICES[v] for v in self._info.supported_versions if v in SERVICES]
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(s, methods) for s in named])
        places = {str(self.socket), seen or self._info.endpoint or str(self.socket)}
        for place in places:
            server.add_insecure_port(f"unix:{place}")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)
            for place in places:
                Path(place).unlink(missing_ok=True)  # noqa: ASYNC240

    async def GetInfo(self, request: Any, context: Any) -> registration.PluginInfo:
        return self._info

    async def NotifyRegistrationStatus(self, request: registration.RegistrationStatus, context: Any) -> Any:
        self._statuses.put_nowait(request)
        await self._waited()
        return registration.RegistrationStatusResponse()

    async def _waited(self) -> None:
        if self.gate is not None:
            await self.gate.wait()

    async def _called(self, context: Any) -> None:
        await self._waited()
        if why := self.faults.get(""):
            await context.abort(grpc.StatusCode.INTERNAL, why)

    async def _prepare(self, request: pb.NodePrepareResourcesRequest, context: Any) -> pb.NodePrepareResourcesResponse:
        self.prepared.append([c.name for c in request.claims])
        await self._called(context)
        answer = pb.NodePrepareResourcesResponse()
        for claim in request.claims:
            if (why := self.faults.get(claim.name)) == "skipped":
                continue
            answer.claims[claim.uid].CopyFrom(
                pb.NodePrepareResourceResponse(error=why or "", devices=[] if why else self._answers(claim))
            )
        return answer

    async def _unprepare(
        self, request: pb.NodeUnprepareResourcesRequest, context: Any
    ) -> pb.NodeUnprepareResourcesResponse:  # fmt: skip
        self.unprepared.append([c.name for c in request.claims])
        await self._called(context)
        answer = pb.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            answer.claims[claim.uid].error = self.faults.get(claim.name, "")
        return answer
