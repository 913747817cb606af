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


PAGES = {
    70: b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
    b'<a href="/x">x',
    71: b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://10.0.0.9:71/login\r\n\r\n",
}


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
        if start.port in PAGES:
            await anext(requests)
            yield pb.Chunk(data=PAGES[start.port])
            return
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
        registry.add("pods", make_pod("a", spec=spec, status={"podIP": "10.0.0.9"}))
        registry.add("pods", make_pod("pending", spec=spec))
        meta = {"namespace": "default", "resourceVersion": "1"}
        service = {"ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]}
        registry.add("services", {"kind": "Service", "metadata": {"name": "s", **meta}, "spec": service})
        endpoints = [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "targetRef": {"kind": "Pod", "name": "none"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a"}},
        ]
        found = {"metadata": {"name": "s-1", **meta}, "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints}
        registry.add("endpointslices", found)
        named = {"metadata": {"name": "f", **meta}, "spec": {"ports": [{"port": 80}]}}
        registry.add("services", {"kind": "Service", **named})
        yield web


async def test_no_name_is_asked_for_that_an_endpoint_slice_says(rest, kubelet, registry):
    """Whoever may write slices could have the API server call its own machine."""
    async with talking() as port:
        registry.objects = {key: found for key, found in registry.objects.items() if key[0] != "endpointslices"}
        meta = {"name": "f-1", "namespace": "default", "resourceVersion": "1"}
        endpoints = [{"addresses": ["localhost"], "conditions": {"ready": True}}]
        found = {"metadata": meta, "addressType": "FQDN", "ports": [{"port": port}], "endpoints": endpoints}
        registry.add("endpointslices", found)
        async with rest.get(f"{HERE}/services/f:80/proxy/") as answer:
            message = json.loads(await answer.read())["message"]
    assert (answer.status, message) == (503, 'no endpoints available for service "f"')


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
        ("pods/pending", 400, "address not allowed"),
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


async def test_a_pod_is_reached_by_an_endpoint_that_does_not_name_it(rest, kubelet, registry):
    meta = {"name": "f-1", "namespace": "default", "resourceVersion": "1"}
    endpoints = [{"addresses": ["10.0.0.9"], "conditions": {}}]
    found = {"metadata": meta, "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": endpoints}
    registry.objects = {key: it for key, it in registry.objects.items() if key[0] != "endpointslices"}
    registry.add("endpointslices", found)
    async with rest.get(f"{HERE}/services/f:80/proxy/x") as answer:
        assert json.loads(await answer.read())["head"].startswith("GET /x HTTP/1.1\r\n")
    assert kubelet.asked[0].pod == "a"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_slash_is_added(rest, kubelet, method):
    async with rest.request(method, f"{HERE}/pods/a/proxy?x=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, f"{HERE}/pods/a/proxy/?x=1")


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
async def test_a_request_that_cannot_be_repeated_needs_no_slash(rest, kubelet, method):
    async with rest.request(method, f"{HERE}/pods/a/proxy?x=1", allow_redirects=False) as answer:
        assert json.loads(await answer.read())["head"].startswith(f"{method} /?x=1 HTTP/1.1\r\n")


async def test_what_a_pod_shows_leads_through_the_proxy(rest, kubelet):
    async with rest.get(f"{HERE}/pods/http:a:70/proxy/") as answer:
        assert await answer.text() == f'<a href="{HERE}/pods/http:a:70/proxy/x">x'
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with rest.get(f"{HERE}/pods/a:71/proxy/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"{HERE}/pods/a:71/proxy/login")


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


@pytest.mark.parametrize("value", ["жук".encode(), b"\xff"])
async def test_an_upgrade_keeps_its_headers_whatever_their_letters_are(rest, kubelet, value):
    async with refusing(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (port, told):
        kubelet.secure = port
        reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
        ask = f"GET {HERE}/pods/a:{port}/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n".encode()
        writer.write(ask + b"Connection: Upgrade\r\nUpgrade: shout\r\nX-Name: " + value + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
        writer.close()
    assert b"\r\nX-Name: " + value + b"\r\n" in told


@asynccontextmanager
async def refusing(answer):
    """An HTTP server that upgrades nothing and keeps its connection; its port, and all that it is ever told."""
    told, conversations = bytearray(), []

    async def serve(reader, writer):
        conversations.append(asyncio.current_task())
        told.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        while data := await reader.read(1000):
            told.extend(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], told
        await asyncio.gather(*conversations)


SMUGGLED = b"POST /admin HTTP/1.1\r\nHost: x\r\nX-Remote-User: root\r\nContent-Length: 0\r\n\r\n"


OWN = b"X-Own: yes\r\nConnection: keep-alive\r\n"
REFUSALS = {
    "200": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + OWN + b"\r\nno", b"no"),
    "403": (b"HTTP/1.1 403 Forbidden\r\n" + OWN + b"content-length:2\r\n\r\nno", b"no"),
    "404": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n" + OWN + b"\r\nno", b"no"),
    "1010": (b"HTTP/1.1 1010 Nonsense\r\nContent-Length: 2\r\n" + OWN + b"\r\nno", b"no"),
    "204": (b"HTTP/1.1 204 No Content\r\n" + OWN + b"\r\n", b""),
    "400": (b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n" + OWN + b"\r\n2;x=y\r\nno\r\n0\r\n\r\n", b"2;x=y\r\nno\r\n0\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("where", ["pods/a:{}", "/api/v1/nodes/n1:{}"])
async def test_nothing_is_smuggled_behind_an_upgrade_that_was_not_granted(rest, kubelet, where, status, at_once):
    answer, body = REFUSALS[status]
    async with refusing(answer) as (port, told):
        kubelet.secure = port
        path = where.format(port) if where.startswith("/") else f"{HERE}/{where.format(port)}"
        reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
        ask = (
            f"GET {path}/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
            "Connection: Upgrade\r\nUpgrade: shout\r\n\r\n"
        )
        writer.write(ask.encode() + (SMUGGLED if at_once else b""))
        head = await reader.readuntil(b"\r\n\r\n")
        if not at_once:
            writer.write(SMUGGLED)
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"\r\nX-Own: yes" in head
        assert b"keep-alive" not in head
        # The answer ends, and with it the connection, although the other side keeps its own.
        assert await reader.read() == body
        writer.close()
    assert told.count(b"HTTP/1.1") == 1
    assert b"admin" not in told


async def test_an_upgrade_that_nobody_answers_is_told_so(rest, kubelet):
    async with talking() as port:
        kubelet.secure = port
        reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
        writer.write(
            f"GET {HERE}/pods/a:1/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
            "Connection: Upgrade\r\nUpgrade: shout\r\n\r\n".encode()
        )
        said = await reader.read()
        writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert "error trying to reach service: " in json.loads(body)["message"]


async def test_headers_for_one_connection_or_about_who_asks_go_no_further(rest, kubelet):
    headers = {
        "Connection": "X-Mine", "X-Mine": "1", "X-Yours": "2", "X-Remote-User": "root", "X-Remote-Group": "system:masters",
        "Proxy-Authorization": "Basic x", "TE": "trailers",
    }  # fmt: skip
    async with rest.post(f"{HERE}/pods/a/proxy/", data=b"", headers=headers) as answer:
        seen = json.loads(await answer.read())["head"].lower()
    assert "x-yours: 2" in seen
    for name in ("x-mine", "x-remote", "proxy-authorization", "authorization", "te:"):
        assert f"\r\n{name}" not in seen


@pytest.mark.parametrize("address", ["169.254.169.254", "::", "fe80::1", "224.0.0.1"])
async def test_a_node_leads_to_no_address_that_is_no_nodes(rest, kubelet, registry, address):
    node = fake.node(1)
    node["status"]["addresses"] = [{"type": "InternalIP", "address": address}]
    registry.add("nodes", node)
    async with rest.get("/api/v1/nodes/n1:80/proxy/latest/meta-data") as answer:
        assert (answer.status, json.loads(await answer.read())["message"]) == (400, "address not allowed")


async def test_a_redirection_is_told_and_not_followed(rest, kubelet):
    """Whoever runs the pod would otherwise choose whom the API server asks."""
    async with talking() as inside:
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{inside}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with refusing(answer.encode()) as (port, told):
            kubelet.secure = port
            async with rest.get(f"{HERE}/pods/a:{port}/proxy/x", allow_redirects=False) as got:
                assert (got.status, got.headers["Location"]) == (302, f"http://127.0.0.1:{inside}/")
    assert told.count(b"GET /x ") == 1


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
