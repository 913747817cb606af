"""Probes and hooks against servers of this process."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from api.types import GRPCAction, HTTPGetAction, HTTPHeader, Probe, TCPSocketAction
from kubelet.pods.handlers import HandlerFailed, Handlers, Warned
from kubelet.runtime.simulated import Simulated
from machinery.testing import free_port
from tests.unit.kubelet.builders import container

HERE = "127.0.0.1"


@pytest.fixture
async def handlers() -> AsyncIterator[Handlers]:
    made = Handlers(Simulated("c", "node1"))
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def grpc_port() -> AsyncIterator[int]:
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("tired", health_pb2.HealthCheckResponse.NOT_SERVING)
    port = server.add_insecure_port(f"{HERE}:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
async def bare_port() -> AsyncIterator[int]:
    server = grpc.aio.server()
    port = server.add_insecure_port(f"{HERE}:0")
    await server.start()
    yield port
    await server.stop(None)


async def ask(handlers: Handlers, timeout: float = 5, **action: Any) -> str:
    return await handlers.perform(Probe(**action), container(), "", HERE, timeout)


async def refusal(handlers: Handlers, timeout: float = 5, **action: Any) -> str:
    with pytest.raises(HandlerFailed) as caught:
        await ask(handlers, timeout, **action)
    return str(caught.value)


async def test_a_grpc_probe_asks_for_its_service(handlers: Handlers, grpc_port: int) -> None:
    assert await ask(handlers, grpc=GRPCAction(port=grpc_port)) == "service healthy"
    tired = await refusal(handlers, grpc=GRPCAction(port=grpc_port, service="tired"))
    assert tired == 'service unhealthy (responded with "NOT_SERVING")'
    unknown = await refusal(handlers, grpc=GRPCAction(port=grpc_port, service="other"))
    assert unknown.startswith("error: health rpc probe failed: rpc error: code = NotFound desc =")


async def test_a_grpc_server_without_health_is_told_apart(handlers: Handlers, bare_port: int) -> None:
    why = await refusal(handlers, grpc=GRPCAction(port=bare_port))
    assert why.startswith("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ")


async def test_nobody_at_the_port_is_a_timeout(handlers: Handlers) -> None:
    port = free_port()
    why = await refusal(handlers, 0.2, grpc=GRPCAction(port=port))
    assert why == f'timeout: failed to connect service "{HERE}:{port}" within 0s: context deadline exceeded'


@pytest.fixture
async def http_port() -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        match request.path:
            case "/broken":
                return web.Response(status=500)
            case "/inside":
                raise web.HTTPFound("/broken")
            case "/outside":
                return web.Response(status=302, headers={"Location": "http://example.com/"}, text="away")
            case "/round":
                raise web.HTTPFound("/round")
            case "/nowhere":
                return web.Response(status=302, headers={"Location": "http://[nowhere"})
        return web.Response(text=" ".join([request.raw_path, *request.headers.getall("X-Asked", [])]))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, HERE, port).start()
    yield port
    await runner.cleanup()


async def test_a_redirect_is_followed_on_the_same_host_only(handlers: Handlers, http_port: int) -> None:
    def get(path: str) -> HTTPGetAction:
        return HTTPGetAction(port=http_port, path=path)

    failed = "HTTP probe failed with statuscode: 500"
    assert await refusal(handlers, httpGet=get("/broken")) == failed
    assert await refusal(handlers, httpGet=get("/inside")) == failed
    assert (await refusal(handlers, httpGet=get("/round"))).endswith("stopped after 10 redirects")
    answer = await ask(handlers, httpGet=get("/outside"))
    assert isinstance(answer, Warned)
    assert answer == "Probe terminated redirects, Response body: away"


async def test_nobody_at_an_http_port_refuses_the_connection(handlers: Handlers) -> None:
    port = free_port()
    why = await refusal(handlers, httpGet=HTTPGetAction(port=port, path="/"))
    assert why == f'Get "http://{HERE}:{port}/": dial tcp {HERE}:{port}: connect: connection refused'


@pytest.mark.parametrize(
    "wanted",
    [
        {"path": "/nowhere"},
        {"httpHeaders": [HTTPHeader(name="X-Asked", value="two\nlines")]},
        {"host": "a..b"},
        {"host": "x" * 64},
        {"host": "[a"},
    ],
)
async def test_what_no_request_can_say_fails_the_probe_and_nothing_else(
    handlers: Handlers, http_port: int, wanted: dict[str, Any]
) -> None:  # fmt: skip
    why = await refusal(handlers, httpGet=HTTPGetAction(**{"port": http_port, "path": "/", **wanted}))
    assert why.startswith('Get "http://')


async def test_a_host_that_cannot_be_a_name_is_none(handlers: Handlers) -> None:
    said = "dial tcp: lookup a..b: no such host"
    assert await refusal(handlers, tcpSocket=TCPSocketAction(host="a..b", port=80)) == said
    got = await refusal(handlers, httpGet=HTTPGetAction(host="a..b", port=80, path="/"))
    assert got == f'Get "http://a..b:80/": {said}'


async def test_a_path_is_asked_for_as_it_is_written_but_for_what_a_request_cannot_hold(
    handlers: Handlers, http_port: int
) -> None:  # fmt: skip
    asked = await ask(handlers, httpGet=HTTPGetAction(port=http_port, path="/a b/é%2Fc?d=1&e=%20"))
    assert asked.strip() == "/a%20b/%C3%A9%2Fc?d=1&e=%20"


async def test_a_header_may_be_given_twice(handlers: Handlers, http_port: int) -> None:
    headers = [HTTPHeader(name="X-Asked", value="once"), HTTPHeader(name="X-Asked", value="twice")]
    assert await ask(handlers, httpGet=HTTPGetAction(port=http_port, path="/", httpHeaders=headers)) == "/ once twice"
