import asyncio
import json
import struct
import zlib
from base64 import b64decode, b64encode

import aiohttp
import pytest
from aiohttp import WSCloseCode

from apiserver.rest.streaming import spdy
from apiserver.rest.streaming.inboxes import WAITING
from machinery import http_connections
from tests.unit.apiserver.rest import kubelet as fake

POD = "/api/v1/namespaces/default/pods/a"


@pytest.fixture
async def kubelet(registry, make_pod):
    """A kubelet that runs pod `a` (one container) and pod `two` (two of them)."""
    echo = fake.EchoKubelet()
    async with fake.running(echo) as port:
        registry.add("nodes", fake.node(port))
        registry.add("pods", make_pod("a", spec={"nodeName": "n1", "containers": [{"name": "c"}]}))
        several = {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}
        registry.add("pods", make_pod("two", spec=several))
        registry.add("pods", make_pod("homeless"))
        yield echo


async def message_of(response):
    return response.status, json.loads(await response.read())["message"]


async def test_logs_are_streamed_from_the_kubelet(rest, kubelet):
    async with rest.get(f"{POD}/log?follow=true&tailLines=5&sinceSeconds=9&timestamps=1&limitBytes=100") as response:
        assert (response.status, await response.read()) == (200, b"one\ntwo\n")
        assert response.headers["Content-Type"] == "text/plain"
    asked = kubelet.asked[0]
    assert (asked.container.pod, asked.container.container, asked.follow) == ("a", "c", True)
    assert (asked.tail_lines, asked.since_seconds, asked.timestamps, asked.limit_bytes) == (5, 9, True, 100)


async def test_a_kubelets_refusal_is_the_answer(rest, kubelet):
    async with rest.get(f"{POD}/log?previous=true") as response:
        assert await message_of(response) == (400, 'previous terminated container "c" in pod "a" not found')


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "two/log",
            "a container name must be specified for pod two, choose one of: [a b] or one of the init containers: [i]",
        ),
        ("two/log?container=x", "container x is not valid for pod two"),
        ("homeless/exec?command=ls&stdout=1", "pod homeless does not have a host assigned"),
        ("a/exec?command=ls&stdout=1", "Upgrade request required"),
    ],
)
async def test_what_cannot_be_streamed_is_a_bad_request(rest, kubelet, path, message):
    async with rest.get(f"/api/v1/namespaces/default/pods/{path}") as response:
        assert await message_of(response) == (400, message)


async def test_a_pod_without_a_node_has_no_log(rest, kubelet):
    async with rest.get("/api/v1/namespaces/default/pods/homeless/log") as response:
        assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        (
            "sinceSeconds=5&sinceTime=2023-01-01T00:00:00Z",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ],
)
async def test_bad_options_of_a_log_are_invalid(rest, kubelet, query, message):
    async with rest.get(f"{POD}/log?{query}") as response:
        status, text = await message_of(response)
    assert status == 422
    assert message in text


async def frames(socket):
    """(channel, payload) of each message until the end, but those that say nothing."""
    return [(message.data[0], message.data[1:]) async for message in socket if len(message.data) > 1]


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_a_command_runs_over_a_websocket(rest, kubelet, protocol):
    url = f"{POD}/exec?command=echo&command=hi+there&stdout=true&stderr=true"
    async with rest.ws_connect(url, protocols=(protocol,)) as socket:
        assert socket.protocol == protocol
        assert await frames(socket) == [(1, b"echo hi there"), (3, b'{"metadata":{},"status":"Success"}')]
    assert kubelet.asked[0].container.container == "c"


@pytest.mark.parametrize("protocols", [("channel.k8s.io",), ()])
async def test_the_oldest_protocol_says_nothing_of_a_process_that_ended_well(rest, kubelet, protocols):
    async with rest.ws_connect(f"{POD}/exec?command=echo&command=hi&stdout=1", protocols=protocols) as socket:
        assert (await socket.receive_bytes(), await frames(socket)) == (b"\x01", [(1, b"echo hi")])
    async with rest.ws_connect(f"{POD}/exec?command=fail&stderr=1", protocols=protocols) as socket:
        assert (await socket.receive_bytes(), await frames(socket)) == (b"\x02", [(3, b"no such file")])


@pytest.mark.parametrize("protocol", ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"])
async def test_a_client_that_sends_text_only_is_understood(rest, kubelet, protocol):
    async with rest.ws_connect(f"{POD}/exec?command=cat&stdin=1&stdout=1", protocols=(protocol,)) as socket:
        assert await socket.receive_str() == "1"
        await socket.send_str("0" + b64encode(b"hello").decode())
        assert await socket.receive_str() == "1" + b64encode(b"hello").decode()
        await socket.send_str("not base64")
        await socket.receive()


@pytest.mark.parametrize("protocols", [("binary.k8s.io",), ()])
async def test_logs_are_streamed_over_a_websocket(rest, kubelet, protocols):
    async with rest.ws_connect(f"{POD}/log?container=c", protocols=protocols) as socket:
        assert socket.protocol == next(iter(protocols), None)
        assert b"".join([message.data async for message in socket]) == b"one\ntwo\n"
        assert socket.close_code == WSCloseCode.OK
    async with rest.ws_connect(f"{POD}/log", protocols=("base64.binary.k8s.io",)) as socket:
        assert b"".join([b64decode(message.data) async for message in socket]) == b"one\ntwo\n"


async def test_the_exit_code_comes_on_the_error_channel(rest, kubelet):
    async with rest.ws_connect(
        f"{POD}/exec?command=exit&command=3&stdout=1", protocols=("v5.channel.k8s.io",)
    ) as socket:
        (_, oops), (channel, status) = await frames(socket)
    assert (oops, channel) == (b"oops", 3)
    assert json.loads(status) == {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: exit status 3",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
    }


async def test_whoever_attaches_is_not_told_the_exit_code(rest, kubelet):
    url = f"{POD}/attach?command=exit&command=3&stdout=1&stderr=1"
    async with rest.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        assert await frames(socket) == [(2, b"oops"), (3, b'{"metadata":{},"status":"Success"}')]


async def test_what_cannot_run_says_so(rest, kubelet):
    async with rest.ws_connect(f"{POD}/exec?command=fail&stdout=1", protocols=("v5.channel.k8s.io",)) as socket:
        [(_, status)] = await frames(socket)
    assert json.loads(status)["message"] == "no such file"


async def test_input_sizes_and_its_end_reach_the_process(rest, kubelet):
    url = f"{POD}/exec?command=cat&stdin=1&stdout=1&tty=1"
    async with rest.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\x04" + b'{"Width":80,"Height":24}')
        await socket.send_bytes(b"\x04not a size")
        await socket.send_bytes(b"\x00hello")
        assert await socket.receive_bytes() == b"\x01hello"
        await socket.send_bytes(b"\xff\x00")
        assert [channel for channel, _ in await frames(socket)] == [3]
    assert kubelet.resized == [(80, 24)]


async def test_a_command_may_be_quiet_for_longer_than_a_first_request_may_take(rest, kubelet, monkeypatch):
    monkeypatch.setattr(http_connections, "SILENCE", 0.05)
    url = f"{POD}/exec?command=cat&stdin=1&stdout=1"
    async with rest.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        await asyncio.sleep(0.1)
        await socket.send_bytes(b"\x00hello")
        assert await socket.receive_bytes() == b"\x01hello"


async def test_exec_needs_a_command_and_a_stream(rest, kubelet):
    async with rest.get(f"{POD}/exec?stdout=1") as response:
        assert "command: Required value" in (await message_of(response))[1]
    async with rest.get(f"{POD}/exec?command=ls") as response:
        assert "you must specify at least one of stdin, stdout, stderr" in (await message_of(response))[1]


# --- SPDY


class Client:
    """The client's side of SPDY: enough to open streams and to collect what comes back."""

    def __init__(self, write) -> None:
        self._pack = zlib.compressobj(zdict=spdy.DICTIONARY)
        self._framing = spdy.Framing()
        self._write = write
        self._next = 1
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def open(self, end=False, **headers):
        number, self._next = self._next, self._next + 2
        words = [w.encode() for pair in headers.items() for w in pair]
        block = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(w)) + w for w in words)
        packed = self._pack.compress(block) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        payload = struct.pack(">IIBB", number, 0, 0, 0) + packed
        await self._write(struct.pack(">HHI", 0x8003, 1, (1 << 24 if end else 0) | len(payload)) + payload)
        return number

    async def send(self, number, data, end=False):
        await self._write(self._framing.data(number, data, end=end))

    def take(self, data):
        for happening in self._framing.feed(data):
            if isinstance(happening, spdy.Received):
                self.received[happening.stream] = self.received.get(happening.stream, b"") + happening.data
                if happening.ended:
                    self.ended.add(happening.stream)


async def forward(client, receive, port):
    """One connection to a port; what came on the data stream and on the error stream."""
    error = await client.open(end=True, streamtype="error", port=str(port), requestid="0")
    data = await client.open(streamtype="data", port=str(port), requestid="0")
    await client.send(data, b"hello")
    while client.received.get(data) != b"HELLO" and error not in client.ended:
        client.take(await receive())
    await client.send(data, b"", end=True)
    while not {data, error} <= client.ended:
        client.take(await receive())
    return client.received.get(data, b""), client.received.get(error, b"")


@pytest.mark.parametrize(("port", "answer"), [(80, b"HELLO"), (1, b"")])
async def test_a_port_is_forwarded_through_a_websocket_tunnel(rest, kubelet, port, answer):
    protocols = ("SPDY/3.1+portforward.k8s.io",)
    async with rest.ws_connect(f"{POD}/portforward", protocols=protocols) as socket:
        data, error = await forward(Client(socket.send_bytes), socket.receive_bytes, port)
    assert data == answer
    assert (error == b"error forwarding port 1 to pod a, uid : connection refused") is (port == 1)
    assert kubelet.asked[0].port == port


async def test_what_a_pod_does_not_read_keeps_no_other_connection_waiting(rest, kubelet):
    protocols = ("SPDY/3.1+portforward.k8s.io",)
    async with rest.ws_connect(f"{POD}/portforward", protocols=protocols) as socket:
        client = Client(socket.send_bytes)
        error = await client.open(end=True, streamtype="error", port="2", requestid="1")
        data = await client.open(streamtype="data", port="2", requestid="1")
        for _ in range(3 * WAITING):
            await client.send(data, b"unread")
        assert await forward(client, socket.receive_bytes, 80) == (b"HELLO", b"")
    assert {data, error} <= client.ended


async def upgraded(rest, method, path, protocol):
    url = rest._base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\n"
        f"Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert f"X-Stream-Protocol-Version: {protocol}".encode() in head

    async def write(data):
        writer.write(data)
        await writer.drain()

    return Client(write), lambda: reader.read(65536), writer


async def test_a_port_is_forwarded_over_plain_spdy(rest, kubelet):
    client, receive, writer = await upgraded(rest, "POST", f"{POD}/portforward", "portforward.k8s.io")
    assert await forward(client, receive, 80) == (b"HELLO", b"")
    writer.close()


async def test_a_command_runs_over_plain_spdy(rest, kubelet):
    path = f"{POD}/exec?command=cat&stdin=1&stdout=1&stderr=1"
    client, receive, writer = await upgraded(rest, "POST", path, "v4.channel.k8s.io")
    error, stdin, stdout, stderr = [await client.open(streamtype=t) for t in ("error", "stdin", "stdout", "stderr")]
    await client.send(stdin, b"hello")
    await client.send(stdin, b"", end=True)
    while data := await receive():
        client.take(data)
    assert client.received[stdout] == b"hello"
    assert json.loads(client.received[error])["status"] == "Success"
    assert {error, stdout, stderr} <= client.ended
    writer.close()


async def test_a_client_that_does_not_speak_spdy_is_cut_off(rest, kubelet):
    _, receive, writer = await upgraded(rest, "POST", f"{POD}/portforward", "portforward.k8s.io")
    writer.write(b"\x80\x02" + bytes(20))
    assert await receive() == b""
    writer.close()


async def test_an_unknown_stream_protocol_is_refused(rest, kubelet):
    headers = {"Upgrade": "SPDY/3.1", "Connection": "Upgrade", "X-Stream-Protocol-Version": "v9"}
    async with rest.post(f"{POD}/portforward", headers=headers) as response:
        assert response.status == 400
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await rest.ws_connect(f"{POD}/exec?command=ls&stdout=1", protocols=("v9.channel.k8s.io",))


def test_frames_survive_being_cut_anywhere():
    whole = spdy.Framing()
    frames = whole.data(1, b"abc") + whole.pong(7) + whole.data(1, b"", end=True)
    cut = spdy.Framing()
    happened = [h for at in range(len(frames)) for h in cut.feed(frames[at : at + 1])]
    assert happened == [spdy.Received(1, b"abc", False), spdy.Pinged(7), spdy.Received(1, b"", True)]


def test_the_dictionary_is_the_one_that_everybody_has():
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2
