"""Webhooks behind addresses and behind pods, and what is said where they do not answer."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiohttp import web

from api import kinds, meta
from api.errors import NotFound
from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Node,
    ObjectMeta,
    ObjectReference,
    Pod,
    PodSpec,
    Service,
    ServicePort,
    ServiceReference,
    ServiceSpec,
    WebhookClientConfig,
)  # fmt: skip
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.services import Backend, Services
from apiserver.nodes.tunnels import Tunnels
from apiserver.webhooks import Caller, CallFault
from machinery.certificates import Authority, Subject
from machinery.testing import free_port
from proto import node_pb2 as pb
from tests.unit.apiserver.admission.worlds import Memory
from tests.unit.apiserver.rest import kubelet as fake

NAME = "hook.default.svc"


@dataclass
class Server:
    port: int
    ca: str


@asynccontextmanager
async def serving(
    directory: Path, answer: Callable[[dict[str, Any]], web.Response], *hosts: str
) -> AsyncIterator[Server]:
    authority = Authority.create("hooks")
    pair = authority.issue(Subject("hook", (), hosts or (NAME, "127.0.0.1")))
    (directory / "crt").write_bytes(pair.certificate)
    (directory / "key").write_bytes(pair.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "crt", directory / "key")

    async def handle(http: web.Request) -> web.Response:
        found = answer({"path": http.path_qs, "body": await http.json()})
        return await found if asyncio.iscoroutine(found) else found

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield Server(port, base64.b64encode(authority.pair.certificate).decode())
    finally:
        await runner.cleanup()


class Fixed:
    """Backends that are all the same."""

    def __init__(self, port: int) -> None:
        self.port = port

    def find(self, namespace: str, name: str, port: int) -> Backend:
        if name == "absent":
            raise NotFound(f'service "{name}" not found')
        return Backend("127.0.0.1", self.port)


@asynccontextmanager
async def calling(backends: Any) -> AsyncIterator[Caller]:
    kubelets = Kubelets(None, None, None)
    tunnels = Tunnels(kubelets)
    async with Caller(backends, tunnels) as caller:
        yield caller
    await tunnels.close()
    await kubelets.close()


def config(ca: str, name: str = "hook", path: str = "/validate") -> WebhookClientConfig:
    where = ServiceReference(name=name, namespace="default", path=path, port=443)
    return WebhookClientConfig(service=where, caBundle=ca)


def echo(asked: dict[str, Any]) -> web.Response:
    return web.json_response(asked)


async def fault(caller: Caller, where: WebhookClientConfig, timeout: float = 10.0) -> str:
    with pytest.raises(CallFault) as raised:
        await caller.call(where, {}, timeout)
    return str(raised.value)


async def test_a_document_goes_there_and_one_comes_back(tmp_path: Path) -> None:
    async with serving(tmp_path, echo) as server, calling(Fixed(server.port)) as caller:
        assert await caller.call(config(server.ca), {"a": 1}, 3) == {"path": "/validate?timeout=3s", "body": {"a": 1}}
        by_url = WebhookClientConfig(url=f"https://127.0.0.1:{server.port}/x", caBundle=server.ca)
        assert (await caller.call(by_url, {}, 10))["path"] == "/x?timeout=10s"


async def test_a_kept_connection_that_ended_is_made_anew(tmp_path: Path) -> None:
    async with calling(backends := Fixed(0)) as caller:
        async with serving(tmp_path, echo) as first:
            backends.port = first.port
            await caller.call(config(first.ca), {}, 10)
        async with serving(tmp_path, echo) as second:
            backends.port = second.port
            assert (await caller.call(config(second.ca), {"b": 2}, 10))["body"] == {"b": 2}


@pytest.mark.parametrize(
    ("hosts", "trusted", "why"),
    [
        ((NAME,), False, "certificate signed by unknown authority"),
        (("elsewhere",), True, f"certificate is not valid for any names, but wanted to match {NAME}"),
    ],
)
async def test_whom_nobody_vouches_for_is_not_asked(
    tmp_path: Path, hosts: tuple[str, ...], trusted: bool, why: str
) -> None:
    other = base64.b64encode(Authority.create("other").pair.certificate).decode()
    async with serving(tmp_path, echo, *hosts) as server, calling(Fixed(server.port)) as caller:
        message = await fault(caller, config(server.ca if trusted else other))
    assert message == f'Post "https://{NAME}:443/validate?timeout=10s": tls: failed to verify certificate: x509: {why}'


async def test_where_nobody_listens() -> None:
    port = free_port()
    async with calling(Fixed(port)) as caller:
        assert (await fault(caller, config(""))).endswith(f"dial tcp 127.0.0.1:{port}: connect: connection refused")
        assert (await fault(caller, config("", "absent"))).endswith(': service "absent" not found')
        assert "unable to parse bytes as PEM block" in await fault(caller, config(base64.b64encode(b"x").decode()))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (web.Response(status=404), "the server could not find the requested resource"),
        (
            web.Response(status=500, text="boom"),
            'an error on the server ("boom") has prevented the request from succeeding',
        ),
        (web.Response(text="[]"), "couldn't get version/kind; json parse error: the answer is not an object"),
    ],
)
async def test_answers_that_are_none(tmp_path: Path, answer: web.Response, why: str) -> None:
    async with serving(tmp_path, lambda _: answer) as server, calling(Fixed(server.port)) as caller:
        assert await fault(caller, config(server.ca)) == why


async def test_nobody_waits_longer_than_the_timeout(tmp_path: Path) -> None:
    async def never(_: Any) -> web.Response:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async with serving(tmp_path, never) as server, calling(Fixed(server.port)) as caller:
        assert (await fault(caller, config(server.ca), 0.05)).endswith(": context deadline exceeded")


class Relay(fake.EchoKubelet):
    """In its pods listens what listens on this machine; at port 1 nobody does."""

    async def PortForward(self, requests, context):
        start = (await anext(requests)).start
        self.asked.append(start)
        if start.port == 1:
            from api.errors import InternalError
            from machinery.grpc_errors import abort

            await abort(context, InternalError("connection refused"))
        reader, writer = await asyncio.open_connection("127.0.0.1", start.port)
        await context.send_initial_metadata(())

        async def send():
            async for message in requests:
                writer.write(message.data)

        sending = asyncio.create_task(send())
        try:
            while data := await reader.read(65536):
                yield pb.Chunk(data=data)
        finally:
            sending.cancel()
            writer.close()


def cluster(kubelet_port: int, port: int, *, ready: bool = True, target: str = "p") -> Services:
    place = {"namespace": "default"}
    where = Endpoint(
        addresses=["10.244.1.5"], conditions=EndpointConditions(ready=ready),
        targetRef=ObjectReference(kind="Pod", name=target) if target else None,
    )  # fmt: skip
    return Services(
        Memory(
            Service(metadata=ObjectMeta(name="hook", **place), spec=ServiceSpec(ports=[ServicePort(name="h", port=443)])),
            EndpointSlice(
                metadata=ObjectMeta(name="hook-1", labels={"kubernetes.io/service-name": "hook"}, **place),
                ports=[DiscoveryV1EndpointPort(name="h", port=port)], endpoints=[where],
            ),
            Pod(metadata=ObjectMeta(name="p", **place), spec=PodSpec(nodeName="n1")),
            meta.decode(json.dumps(fake.node(kubelet_port)).encode(), Node),
        )
    )  # fmt: skip


async def test_a_pod_is_reached_through_its_node(tmp_path: Path) -> None:
    relay = Relay()
    async with (
        serving(tmp_path, echo) as server,
        fake.running(relay) as kubelet,
        calling(cluster(kubelet, server.port)) as caller,
    ):
        for _ in range(2):
            assert (await caller.call(config(server.ca), {"a": 1}, 10))["body"] == {"a": 1}
    assert [(start.pod, start.port) for start in relay.asked] == [("p", server.port)]


async def test_a_pod_that_is_not_reached_is_named_by_its_address() -> None:
    async with fake.running(Relay()) as kubelet, calling(cluster(kubelet, 1)) as caller:
        assert '": dial tcp 10.244.1.5:1: ' in await fault(caller, config(""))


async def test_a_service_without_ready_endpoints_has_none() -> None:
    async with calling(cluster(1, 8443, ready=False)) as caller:
        assert (await fault(caller, config(""))).endswith('no endpoints available for service "hook"')
        where = config("")
        where.service.port = 444
        assert (await fault(caller, where)).endswith('no service port 444 found for service "hook"')


def test_what_is_no_pod_is_reached_at_its_address() -> None:
    assert cluster(1, 8443, target="").find("default", "hook", 443) == Backend("10.244.1.5", 8443)


def test_services_of_other_namespaces_are_not_looked_through() -> None:
    class Within(Memory):
        def list_cached(self, kind: kinds.Kind) -> NoReturn:
            raise AssertionError("there may be thousands")

        def list_within(self, kind: kinds.Kind, namespace: str) -> Sequence[Any]:
            return [o for o in self.objects if meta.kind_of(o) is kind and o.metadata.namespace == namespace]

    objects = cluster(1, 8443, target="")._reader.objects  # type: ignore[attr-defined]
    assert Services(Within(*objects)).find("default", "hook", 443) == Backend("10.244.1.5", 8443)


async def test_a_bundle_that_is_no_base64_is_a_fault_like_others() -> None:
    async with calling(cluster(1, 8443)) as caller:
        for bundle in ("ä", "a", "////"):
            assert "unable to load root certificates" in await fault(caller, config(bundle))
