"""An HTTP request through the API server into a pod."""

import json

import pytest

from proto import node_pb2 as pb
from tests.unit.apiserver.rest import kubelet as fake

HERE = "/api/v1/namespaces/default"


class WebKubelet(fake.EchoKubelet):
    """In its pods somebody answers every request with what was asked, in two chunks."""

    async def PortForward(self, requests, context):
        start = (await anext(requests)).start
        self.asked.append(start)
        if start.port == 1:
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
        ("pods/https:a:1", 400, "this server carries plain HTTP to pods, not https"),
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
