"""A gRPC port for whoever comes: real servers and clients, and heads that do not end."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import grpc
import pytest

from apiserver.storage.frames import CONTINUATION, DATA, HEADERS, SETTINGS, frame
from machinery import grpc_front
from machinery.grpc_front import LARGEST_HEAD, PREFACE, Front, Heads, peer
from machinery.testing import settle, write_certificates
from proto import controllers_pb2 as pb
from proto import controllers_pb2_grpc


class Controllers(controllers_pb2_grpc.ControllersServicer):
    """Answers with who the caller is."""

    async def List(self, request, context):
        return pb.ListControllersResponse(controllers=[pb.Controller(name=peer(context.peer()))])


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    write_certificates(directory)
    return directory / "controller-manager"


@asynccontextmanager
async def fronted(pki, place):
    server = grpc.aio.server()
    controllers_pb2_grpc.add_ControllersServicer_to_server(Controllers(), server)
    server.add_insecure_port(f"unix:{place / 'socket'}")
    front = Front("127.0.0.1", 0, pki / "tls.crt", pki / "tls.key", place / "socket")
    await server.start()
    running = asyncio.create_task(front.run())
    try:
        yield front
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.stop(0)
        await front.close()


async def raw(front, pki, first=PREFACE):
    context = ssl.create_default_context(cafile=pki / "ca.crt")
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.write(first)
    return reader, writer


def client(front, pki):
    credentials = grpc.ssl_channel_credentials((pki / "ca.crt").read_bytes())
    return grpc.aio.secure_channel(f"127.0.0.1:{front.port}", credentials)


async def ended(reader, writer):
    """What came before the end of the connection."""
    found = b""
    try:
        while data := await reader.read(65536):
            found += data
    except ConnectionError:
        pass  # aborted
    writer.transport.abort()
    return found


async def test_calls_go_through_and_the_server_knows_who_asks(pki, tmp_path):
    async with fronted(pki, tmp_path) as front, client(front, pki) as channel:
        stub = controllers_pb2_grpc.ControllersStub(channel)
        answers = await asyncio.gather(*(stub.List(pb.ListControllersRequest()) for _ in range(20)))
        names = {answer.controllers[0].name for answer in answers}
        assert len(names) == 1
        assert names.pop().startswith("ipv4:127.0.0.1:")


async def test_what_is_large_is_led_through_in_pieces(pki, tmp_path):
    async with fronted(pki, tmp_path) as front, client(front, pki) as channel:
        call = channel.unary_unary("/wherry.v1.Controllers/Nobody")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"x" * (3 << 20))
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [0, 1, 16000])
async def test_a_head_without_an_end_ends_its_connection(pki, tmp_path, size):
    async with fronted(pki, tmp_path) as front:
        reader, writer = await raw(front, pki)
        writer.write(frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, b"\x83"))
        try:
            for _ in range(2 * LARGEST_HEAD // (size + 9)):
                writer.write(frame(CONTINUATION, 0, 1, bytes(size)))
            await writer.drain()
        except ConnectionError:
            pass  # it has ended already
        await ended(reader, writer)
        async with client(front, pki) as channel:
            await controllers_pb2_grpc.ControllersStub(channel).List(pb.ListControllersRequest())


async def test_who_does_not_speak_http_2_is_not_led_on(pki, tmp_path):
    async with fronted(pki, tmp_path) as front:
        assert await ended(*await raw(front, pki, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == b""


async def test_who_asks_nothing_has_to_go(pki, tmp_path, monkeypatch):
    monkeypatch.setattr(grpc_front, "SILENCE", 0.05)
    async with fronted(pki, tmp_path) as front:
        await ended(*await raw(front, pki))
        await ended(*await raw(front, pki, b""))


async def test_connections_end_with_the_server_and_are_counted_no_longer(pki, tmp_path):
    async with fronted(pki, tmp_path) as front:
        reader, writer = await raw(front, pki)
        assert await reader.read(9)  # the server's own settings
    await ended(reader, writer)
    await settle()
    assert len(front._listener.visits) == 0


async def test_a_client_ends_when_there_is_no_server(pki, tmp_path):
    front = Front("127.0.0.1", 0, pki / "tls.crt", pki / "tls.key", tmp_path / "nothing")
    running = asyncio.create_task(front.run())
    assert await ended(*await raw(front, pki)) == b""
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await front.close()


@pytest.mark.parametrize("piece", [1, 5, 9, 4096])
def test_heads_are_counted_whatever_the_pieces(piece):
    said = PREFACE + frame(SETTINGS, 0, 0, b"")
    for stream in range(1, 40, 2):
        said += frame(HEADERS, 0, stream, bytes(8000)) + frame(CONTINUATION, 4, stream, bytes(8000))
        said += frame(DATA, 1, stream, bytes(16384))
    heads = Heads()
    assert all(heads.read(said[at : at + piece]) for at in range(0, len(said), piece))
    assert heads.complete == 20
    assert heads.read(frame(HEADERS, 0, 41, bytes(LARGEST_HEAD - 18)))
    assert not heads.read(frame(CONTINUATION, 4, 41, b"x"))


def test_a_frame_that_is_said_to_be_too_large_is_refused_before_it_has_come():
    heads = Heads()
    assert heads.read(PREFACE)
    assert not heads.read((2 * LARGEST_HEAD).to_bytes(3) + bytes((HEADERS, 4)) + (1).to_bytes(4))


def test_peers_without_a_front_are_who_they_are():
    assert peer("ipv4:10.0.0.1:123") == "ipv4:10.0.0.1:123"
    assert peer("unix-abstract:wherry-7-1/ipv6:[::1]:123") == "ipv6:[::1]:123"
    assert peer("unix-abstract:other/ipv6:[::1]:123") == "unix-abstract:other/ipv6:[::1]:123"
