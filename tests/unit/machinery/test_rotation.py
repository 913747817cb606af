"""Certificates, keys and authorities are replaced while servers and clients run."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from cryptography import x509

from api import errors
from api.types import ConfigMap, ObjectMeta
from machinery import kubeconfigs
from machinery.certificates import Authority, Subject
from machinery.channels import channel
from machinery.client import connect
from machinery.https import HttpsServer, shown_by
from machinery.kubeconfigs import Access
from machinery.pairs import Pair
from machinery.rereading import Reread
from machinery.serving import Files, Server
from proto import controllers_pb2 as pb
from proto import controllers_pb2_grpc, resources_pb2_grpc
from tests.unit.machinery.resources import Resources

REFUSED = "alert|reset|^$"
HOSTS = ("localhost", "127.0.0.1")
OLD, NEW = Authority.create("old"), Authority.create("new")


def replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(content)
    partial.replace(path)


class Place:
    """A server's files and a client's kubeconfig."""

    def __init__(self, directory: Path) -> None:
        self.files = Files(directory / "tls.crt", directory / "tls.key", directory / "ca.crt")
        self.kubeconfig = directory / "kubeconfig"
        self.serial = 0

    def serve(self, authority: Authority, *trusted: Authority) -> None:
        pair = authority.issue(Subject("server", (), HOSTS))
        replace(self.files.client_ca, b"".join(each.pair.certificate for each in trusted or (authority,)))
        replace(self.files.key, pair.key)
        replace(self.files.certificate, pair.certificate)
        self.serial = serial(pair)

    def call(self, port: int, authority: Authority, *trusted: Authority) -> None:
        bundle = b"".join(each.pair.certificate for each in trusted or (authority,))
        pair = authority.issue(Subject("client"))
        access = Access(f"https://127.0.0.1:{port}", bundle, pair.certificate, pair.key)
        replace(self.kubeconfig, kubeconfigs.dump(access, "test", "client").encode())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.serve(OLD)
    return made


def serial(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


async def shown(port: int, client: Pair | None, directory: Path, *protocols: str) -> int:
    """The serial number of the certificate that the port shows.  Raises OSError if it lets the client not in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols([*protocols])
    if client is not None:
        (directory / "client.pem").write_bytes(client.certificate + client.key)
        context.load_cert_chain(directory / "client.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        told = writer.get_extra_info("ssl_object").getpeercert(True)
        # With TLS 1.3 a refusal comes after the handshake: HTTP/2 begins to talk by itself, HTTP/1.1 when it is asked.
        if not protocols:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if not await reader.read(1):
            raise ConnectionResetError
    finally:
        writer.close()
    return x509.load_der_x509_certificate(told).serial_number


@asynccontextmanager
async def serving(place: Place) -> AsyncIterator[tuple[Resources, int]]:
    resources = Resources()

    def register(server: grpc.aio.Server) -> None:
        resources_pb2_grpc.add_ResourcesServicer_to_server(resources, server)

    server = Server("127.0.0.1:0", place.files, register)
    running = asyncio.create_task(server.run())
    try:
        yield resources, await server.bound()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_grpc_port_shows_the_new_certificate_and_lets_in_whom_the_new_authority_knows(
    place: Place, tmp_path: Path
) -> None:
    old, new = OLD.issue(Subject("client")), NEW.issue(Subject("client"))
    async with serving(place) as (_, port):
        assert await shown(port, old, tmp_path, "h2") == place.serial
        place.serve(OLD)
        assert await shown(port, old, tmp_path, "h2") == place.serial
        with pytest.raises(OSError, match=REFUSED):
            await shown(port, new, tmp_path, "h2")
        place.serve(OLD, NEW, OLD)
        assert [await shown(port, who, tmp_path, "h2") for who in (old, new)] == [place.serial] * 2
        place.serve(NEW)
        assert await shown(port, new, tmp_path, "h2") == place.serial
        with pytest.raises(OSError, match=REFUSED):
            await shown(port, old, tmp_path, "h2")


async def test_an_https_port_does_so_too(place: Place, tmp_path: Path) -> None:
    old, new = OLD.issue(Subject("old")), NEW.issue(Subject("new"))
    names = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        names.append(shown_by(request)[0])
        return web.Response()

    server = HttpsServer("127.0.0.1:0", place.files, answer)
    running = asyncio.create_task(server.run())
    try:
        port = await server.bound()
        assert await shown(port, old, tmp_path) == place.serial
        place.serve(NEW, OLD, NEW)
        assert [await shown(port, who, tmp_path) for who in (old, new, None)] == [place.serial] * 3
        place.serve(NEW)
        assert await shown(port, new, tmp_path) == place.serial
        with pytest.raises(OSError, match=REFUSED):
            await shown(port, old, tmp_path)
        assert names == ["old", "old", "new", "", "new"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_https_port_without_a_certificate_yet_refuses_handshakes(place: Place, tmp_path: Path) -> None:
    pair = tmp_path / "current.pem"
    files = Files(pair, pair, place.files.client_ca, to_come=True)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server = HttpsServer("127.0.0.1:0", files, answer)
    running = asyncio.create_task(server.run())
    try:
        port = await server.bound()
        for _ in range(2):
            with pytest.raises(OSError, match=REFUSED):
                await shown(port, None, tmp_path)
            own = OLD.issue(Subject("server", (), HOSTS))
            replace(pair, own.certificate + own.key)
            assert await shown(port, None, tmp_path) == serial(own)
            pair.unlink()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_connection_that_lasts_is_nobodys_once_its_certificate_is_not_believed(
    place: Place, tmp_path: Path
) -> None:
    """At both kinds of port, and whether or not the certificate would have been asked for again."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=shown_by(request)[0])

    class Well(controllers_pb2_grpc.ControllersServicer):
        async def List(self, request: Any, context: Any) -> pb.ListControllersResponse:
            return pb.ListControllersResponse(leading=True)

    def register(server: grpc.aio.Server) -> None:
        controllers_pb2_grpc.add_ControllersServicer_to_server(Well(), server)

    https = HttpsServer("127.0.0.1:0", place.files, answer)
    rpc = Server("127.0.0.1:0", place.files, register, allowed=["client"])
    tasks = [asyncio.create_task(each.run()) for each in (https, rpc)]
    pair = OLD.issue(Subject("client"))
    (tmp_path / "client.pem").write_bytes(pair.certificate + pair.key)
    tls = ssl.create_default_context(cadata=OLD.pair.certificate.decode())
    tls.load_cert_chain(tmp_path / "client.pem")
    try:
        access = Access(f"https://127.0.0.1:{await rpc.bound()}", OLD.pair.certificate, pair.certificate, pair.key)
        url = f"https://127.0.0.1:{await https.bound()}/"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session, channel(access) as opened:
            stub: Any = controllers_pb2_grpc.ControllersStub(opened)
            assert (await stub.List(pb.ListControllersRequest())).leading
            async with session.get(url) as found:
                assert (found.status, await found.text()) == (200, "client")
            place.serve(NEW)
            async with session.get(url) as found:
                assert found.status == 401
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.List(pb.ListControllersRequest())
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_certificate_without_its_key_changes_nothing_until_that_is_there(place: Place, tmp_path: Path) -> None:
    client, before = OLD.issue(Subject("client")), place.serial
    pair = OLD.issue(Subject("server", (), HOSTS))
    async with serving(place) as (_, port):
        replace(place.files.key, pair.key)
        assert await shown(port, client, tmp_path, "h2") == before
        replace(place.files.certificate, pair.certificate)
        assert await shown(port, client, tmp_path, "h2") == serial(pair)


async def test_a_client_changes_its_certificate_and_whom_it_trusts_and_keeps_its_watch(place: Place) -> None:
    async with serving(place) as (resources, port):
        place.call(port, OLD)
        async with connect(place.kubeconfig) as client:
            begun = (await client.list(ConfigMap)).resource_version
            watch = client.watch(ConfigMap, resource_version=begun)
            await resources.put("configmaps", document("first"))
            assert await names(watch) == ["first"]
            place.serve(NEW)  # all at once: who has not changed yet is refused
            place.call(port, NEW)
            assert (await client.create(ConfigMap(metadata=ObjectMeta(name="second", namespace="default")))).metadata
            assert await names(watch) == ["second"]
            assert (await client.get(ConfigMap, "second", "default")).metadata.name == "second"
            await watch.aclose()


async def test_a_pair_beside_the_kubeconfig_counts_from_when_it_is_there(place: Place, tmp_path: Path) -> None:
    pair = tmp_path / "current.pem"
    async with serving(place) as (_, port):
        stranger, known = NEW.issue(Subject("client")), OLD.issue(Subject("client"))
        access = Access(f"https://127.0.0.1:{port}", OLD.pair.certificate, stranger.certificate, stranger.key, "token")
        place.kubeconfig.write_text(kubeconfigs.dump(access, "test", "client"))
        async with connect(place.kubeconfig, pair) as client:
            with pytest.raises(errors.Unavailable):
                await client.list(ConfigMap)
            replace(pair, known.certificate + known.key)
            assert (await client.list(ConfigMap)).items == []
            assert kubeconfigs.load(place.kubeconfig, pair).token == ""
            pair.unlink()
            with pytest.raises(errors.Unavailable):
                await client.list(ConfigMap)


async def test_a_clients_calls_under_way_are_not_broken_off(place: Place) -> None:
    async with serving(place) as (resources, port):
        place.call(port, OLD)
        async with connect(place.kubeconfig) as client:
            await client.list(ConfigMap)
            async with resources.changed:  # whoever writes waits for it
                slow = asyncio.create_task(client.create(ConfigMap(metadata=ObjectMeta(name="slow"))))
                await resources.recorded.wait()
                place.call(port, OLD)
                quick = asyncio.create_task(client.list(ConfigMap))
                await asyncio.sleep(0)
            assert (await slow).metadata.name == "slow"
            assert len((await quick).items) == 1


async def test_a_client_without_a_new_certificate_is_told_so(place: Place) -> None:
    async with serving(place) as (_, port):
        place.call(port, OLD)
        place.serve(NEW)
        async with connect(place.kubeconfig) as client:
            with pytest.raises(errors.Unavailable):
                await client.list(ConfigMap)
            place.call(port, NEW)
            assert (await client.list(ConfigMap)).items == []


def test_a_file_that_becomes_unusable_or_goes_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    number: Callable[[], int] = Reread(lambda: int(file.read_text()), file)
    assert number() == 1
    for make, value in ((lambda: replace(file, b"2"), 2), (lambda: replace(file, b"x"), 2), (file.unlink, 2)):
        make()
        assert (number(), number()) == (value, value)
    file.write_text("3")
    assert number() == 3


def document(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


async def names(watch: Any) -> list[str]:
    return [event.object.metadata.name for event in await anext(watch)]


def test_a_server_may_have_an_address_of_version_6() -> None:
    assert Access("https://[::1]:6443", b"", b"", b"").target == "[::1]:6443"
    assert Access("https://[fd00::1]", b"", b"", b"").target == "[fd00::1]:443"
    assert Access("https://api.example.com:6443", b"", b"", b"").target == "api.example.com:6443"
