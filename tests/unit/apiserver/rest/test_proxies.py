"""An HTTP request through the API server into a pod."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager

import pytest

from machinery.certificates import Authority, Subject
from proto import node_pb2 as pb
from tests.unit.apiserver.rest import kubelet as fake

HERE = "/api/v1/namespaces/default"


class WebKubelet(fake.EchoKubelet):
    """In its pods somebody answers every request with what was asked, in two chunks."""

    secure = 0
    """The port of a pod where TLS is spoken."""

    async def PortForward(self, requests, context):
        start = (await anext(requests)).start
        self.asked.append(start)
        if start.port == 1:
            return
        await context.send_initial_metadata(())
        if start.port == self.secure:
            async for chunk in self._relayed(requests):
                yield chunk
            return
        received = b""
        async for message in requests:
            received += message.data
            head, end, body = received.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                break
        answer = json.dumps({"head": head.decode(), "body": body.decode()}).encode()
        status = b"HTTP/1.1 201 Created\r\nX-Own: yes\r\nTransfer-Encoding: chunked\r\n\r\n"
        yield pb.Chunk(data=status + b"%x\r\n%s\r\n" % (len(answer[:9]), answer[:9]))
        yield pb.Chunk(data=b"%x\r\n%s\r\n0\r\n\r\n" % (len(answer[9:]), answer[9:]))

    async def _relayed(self, requests):
        """What a TLS server says that listens at that port of the loopback address."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.secure)

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


def _length(head: bytes) -> int:
    found = [line for line in head.decode().split("\r\n") if line.lower().startswith("content-length:")]
    return int(found[0].partition(":")[2]) if found else 0


@pytest.fixture
async def kubelet(registry, make_pod):
    web = WebKubelet()
    async with fake.running(web) as port:
        registry.add("nodes", fake.node(port))
        ports = [{"name": "web", "containerPort": 8080}]
        spec = {"nodeName": "n1", "containers": [{"name": "c", "ports": ports}]}
        registry.add("pods", make_pod("a", spec=spec))
        meta = {"namespace": "default", "resourceVersion": "1"}
        service = {"ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]}
        registry.add("services", {"kind": "Service", "metadata": {"name": "s", **meta}, "spec": service})
        endpoints = [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "targetRef": {"kind": "Pod", "name": "none"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a"}},
        ]
        found = {"metadata": {"name": "s-1", **meta}, "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints}
        registry.add("endpointslices", found)
        yield web


@pytest.mark.parametrize(
    ("target", "port"),
    [
        ("pods/a", 8080), ("pods/a:9", 9), ("pods/http:a:web", 8080), ("pods/a:web", 8080), ("services/s:http", 8080),
        ("services/http:s:80", 8080), ("services/s:80", 8080),
    ],
)  # fmt: skip
async def test_a_request_reaches_the_pod(rest, kubelet, target, port):
    async with rest.post(
        f"{HERE}/{target}/proxy/some/path%20x/?q=1&r", data=b"hello", headers={"X-Mine": "1"}
    ) as answer:
        assert (answer.status, answer.headers["X-Own"]) == (201, "yes")
        seen = json.loads(await answer.read())
    assert seen["head"].startswith("POST /some/path%20x/?q=1&r HTTP/1.1\r\n")
    assert seen["body"] == "hello"
    assert "X-Mine: 1" in seen["head"]
    assert "Authorization" not in seen["head"]
    assert (kubelet.asked[0].pod, kubelet.asked[0].port) == ("a", port)


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("pods/none", 404, 'pods "none" not found'),
        ("pods/a:1", 503, "error trying to reach service: "),
        ("pods/ftp:a:1", 400, 'invalid pod request "ftp:a:1"'),
        ("pods/a:nope", 400, 'pod "a" has no port "nope"'),
        ("services/s:nope", 503, 'no service port "nope" found for service "s"'),
        ("services/s", 503, 'no service port "" found for service "s"'),
        ("services/s:81", 503, 'no endpoints available for service "s"'),
    ],
)
async def test_where_nobody_answers(rest, kubelet, target, code, message):
    async with rest.get(f"{HERE}/{target}/proxy/") as answer:
        found = json.loads(await answer.read())
    assert (answer.status, found["message"][: len(message)]) == (code, message)


async def test_the_slash_is_added(rest, kubelet):
    async with rest.get(f"{HERE}/pods/a/proxy?x=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, f"{HERE}/pods/a/proxy/?x=1")


async def test_a_pod_that_speaks_tls_is_reached(rest, kubelet, tmp_path):
    pair = Authority.create("pod").issue(Subject("anybody", (), ("elsewhere",)))
    (tmp_path / "crt").write_bytes(pair.certificate)
    (tmp_path / "key").write_bytes(pair.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        kubelet.secure = server.sockets[0].getsockname()[1]
        async with rest.get(f"{HERE}/pods/https:a:{kubelet.secure}/proxy/") as got:
            assert (got.status, await got.read()) == (200, b"secret")


@asynccontextmanager
async def talking():
    """An HTTP server that turns a connection into one that answers in capitals; its port."""
    conversations = []

    async def answer(reader, writer):
        conversations.append(asyncio.current_task())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if "Upgrade: shout" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n" + head[4:8].encode())
        else:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
            while data := await reader.read(100):
                writer.write(data.upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*conversations)


async def shouted(base, path):
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
        "Connection: Upgrade\r\nUpgrade: shout\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"hello")
    said = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return head.partition(b"\r\n")[0], said


async def test_an_upgraded_connection_goes_through_to_a_pod(rest, kubelet):
    async with talking() as port:
        kubelet.secure = port
        found = await shouted(rest._base_url, f"{HERE}/pods/a:{port}/proxy/x")
    assert found == (b"HTTP/1.1 101 Switching Protocols", b"HELLO")


async def test_a_port_of_a_node_is_reached_at_its_address(rest, kubelet):
    async with talking() as port:
        async with rest.get(f"/api/v1/nodes/n1:{port}/proxy/abc") as answer:
            assert (answer.status, await answer.read()) == (200, b"/abc")
        found = await shouted(rest._base_url, f"/api/v1/nodes/n1:{port}/proxy/x")
    assert found == (b"HTTP/1.1 101 Switching Protocols", b"HELLO")
    async with rest.get(f"/api/v1/nodes/n1:{port}/proxy/") as answer:
        message = json.loads(await answer.read())["message"]
    assert (answer.status, message) == (
        503, f"error trying to reach service: dial tcp 127.0.0.1:{port}: connect: connection refused",
    )  # fmt: skip
