import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from machinery.channels import channel
from machinery.kubeconfigs import Access
from machinery.serving import Files, Server
from machinery.testing import write_certificates
from proto import controllers_pb2 as pb
from proto import controllers_pb2_grpc


class Controllers(controllers_pb2_grpc.ControllersServicer):
    async def List(self, request, context):
        return pb.ListControllersResponse(leading=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    write_certificates(directory)
    return directory


@asynccontextmanager
async def serving(pki):
    own = pki / "controller-manager"
    server = Server(
        "127.0.0.1:0", Files(own / "tls.crt", own / "tls.key", own / "ca.crt"),
        lambda s: controllers_pb2_grpc.add_ControllersServicer_to_server(Controllers(), s),
        ("wherry.v1.Controllers",), allowed=("kubernetes-admin",),
    )  # fmt: skip
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.run())
        yield server, await server.bound()
        running.cancel()


def access(pki, port, component):
    directory = pki / component
    return Access(
        f"https://127.0.0.1:{port}", *((directory / f).read_bytes() for f in ("ca.crt", "tls.crt", "tls.key"))
    )


async def test_who_is_allowed_is_served_and_others_are_not(pki):
    async with serving(pki) as (_, port):
        async with channel(access(pki, port, "admin")) as admin:
            answer = await controllers_pb2_grpc.ControllersStub(admin).List(pb.ListControllersRequest())
            assert answer.leading
        async with channel(access(pki, port, "scheduler")) as other:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await controllers_pb2_grpc.ControllersStub(other).List(pb.ListControllersRequest())
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_health_is_told_to_every_component(pki):
    async with serving(pki) as (server, port), channel(access(pki, port, "scheduler")) as other:
        health = health_pb2_grpc.HealthStub(other)
        request = health_pb2.HealthCheckRequest(service="wherry.v1.Controllers")
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.ready()
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING


async def test_nobody_gets_in_without_a_certificate(pki):
    async with serving(pki) as (_, port):
        anonymous = grpc.ssl_channel_credentials((pki / "admin" / "ca.crt").read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", anonymous) as nobody:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await health_pb2_grpc.HealthStub(nobody).Check(health_pb2.HealthCheckRequest())
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
