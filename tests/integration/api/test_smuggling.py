"""Requests that one reader takes for another than the next: ambiguous lengths, odd lines, paths with two readings.

The API server stands behind proxies, and is one: whoever reads a request differently from it would let another one in.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from machinery.testing import ControlPlane, control_plane

from .people import person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "/api/v1/namespaces/default"
GOLD = "a-canary-in-a-secret"


class Scene(NamedTuple):
    plane: ControlPlane
    token: str
    """Of an account that may see the pages below /healthz, and proxy to pods."""

    async def say(self, raw: bytes, component: str = "") -> bytes:
        """All that is answered until the server closes, or says nothing more to a connection that is half closed."""
        context = ssl.create_default_context(cafile=str(self.plane.pki / "admin" / "ca.crt"))
        if component:
            own = self.plane.pki / component
            context.load_cert_chain(own / "tls.crt", own / "tls.key")
        host, _, port = self.plane.rest.removeprefix("https://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(raw)
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with control_plane(tmp_path_factory.mktemp("smuggling")) as plane, person(plane, "admin") as admin:
        for path, body in (
            (f"{HERE}/serviceaccounts", {"metadata": {"name": "default"}}),
            (f"{HERE}/secrets", {"metadata": {"name": "treasure"}, "stringData": {"x": "y"}, "type": GOLD}),
            ("/apis/rbac.authorization.k8s.io/v1/clusterroles", {
                "metadata": {"name": "prober"}, "rules": [
                    {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/healthz/*", "/api/*"]},
                    {"verbs": ["get", "create"], "apiGroups": [""], "resources": ["pods/proxy", "services/proxy"]},
                ]}),
            ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
                "metadata": {"name": "prober"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "prober"},
                "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "default"}]}),
        ):  # fmt: skip
            made = await admin("POST", path, body)
            assert made.code == 201, made.body
        issued = await admin("POST", f"{HERE}/serviceaccounts/default/token", {"spec": {}})
        yield Scene(plane, issued.body["status"]["token"])


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


BEHIND = b"GET /version HTTP/1.1\r\nHost: x\r\nX-Smuggled: yes\r\nConnection: close\r\n\r\n"
AMBIGUOUS = {
    "two lengths": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "two lengths, the other way round": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "different lengths": b"Content-Length: 0\r\nContent-Length: 70\r\n",
    "lengths in a list": b"Content-Length: 0, 70\r\n",
    "a signed length": b"Content-Length: +70\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a length in hexadecimal": b"Content-Length: 0x46\r\n",
    "a length with an underscore": b"Content-Length: 7_0\r\n",
    "a coding that is not known": b"Transfer-Encoding: xchunked\r\n",
    "chunked, and then something else": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a name after a line feed": b"X: y\nTransfer-Encoding: chunked\r\n",
    "a name after a carriage return": b"X: y\rTransfer-Encoding: chunked\r\n",
    "a folded line": b"Transfer-Encoding:\r\n chunked\r\n",
    "a null in a value": b"X: y\x00z\r\n",
    "a null in a name": b"Transfer-Encoding\x00: chunked\r\n",
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "a line without a colon": b"Transfer-Encoding\r\n",
    "a second host": b"Host: y\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_that_can_be_read_in_two_ways_is_refused_with_its_connection(scene: Scene, name: str) -> None:
    head = b"POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    fair = await scene.say(head + b"Content-Length: 2\r\n\r\n{}" + BEHIND, "admin")
    assert statuses(fair) == [201, 200]  # who says it right may say the next one on the same connection
    said = await scene.say(head + AMBIGUOUS[name] + b"\r\n0\r\n\r\n" + BEHIND, "admin")
    assert statuses(said) in ([400], []), said


PATHS = [
    "//api/v1/namespaces/default/secrets/treasure", "/healthz/../api/v1/namespaces/default/secrets/treasure",
    "/healthz/%2e%2e/api/v1/namespaces/default/secrets/treasure", "/healthz/..%2fapi%2fv1%2fsecrets",
    "/healthz%2f..%2fapi%2fv1%2fsecrets", "/healthz;/../../api/v1/secrets", "/healthz/..;/api/v1/secrets",
    "/api/v1/namespaces/default/pods/x/proxy/../../../secrets/treasure",
    "/api/v1/namespaces/default/pods/x/proxy%2f..%2f..%2f..%2fsecrets/treasure",
    "/api/v1/namespaces/default/services/..%2fsecrets%2ftreasure/proxy/", "/api/../api/v1/secrets",
    "/api/%2e%2e/api/v1/secrets", "/api/v1/secrets?x=/healthz", "/api/v1/secrets#/healthz", "/api/v1/%73ecrets",
    "/api/v1/secrets%00/healthz", "/api/v1/secrets%0d%0aX-Remote-User:%20root", "/%61pi/v1/secrets", "/API/v1/secrets",
    "/api/v1/namespaces/default/secrets/treasure/", "/api/v1/namespaces/./default/secrets/treasure",
    "/api/v1/namespaces/default/secrets/treasure%20", "\\api\\v1\\secrets", "/api/v1/watch/secrets",
    "http://x/api/v1/namespaces/default/secrets/treasure", "https://kubernetes/healthz/../api/v1/secrets",
    "*", "", "api/v1/secrets", "/api/v1/namespaces/default/secrets%2ftreasure", "/healthz/x/../../metrics", "//metrics",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_no_way_of_writing_a_path_leads_around_the_rights_to_it(scene: Scene, path: str) -> None:
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\nConnection: close\r\n\r\n"
    said = await scene.say(asked.encode())
    assert (statuses(said) or [400])[0] in (301, 400, 401, 403, 404, 503), said
    assert GOLD.encode() not in said
    assert b"apiserver_request" not in said


async def test_who_may_read_it_reads_it(scene: Scene) -> None:
    said = await scene.say(
        f"GET {HERE}/secrets/treasure HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(), "admin"
    )
    assert GOLD.encode() in said


HEADERS: dict[str, dict[str, str]] = {
    "another method": {"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "X-Method-Override": "DELETE"},
    "another path": {"X-Original-URL": f"{HERE}/secrets/treasure", "X-Rewrite-URL": f"{HERE}/secrets/treasure"},
    "another host": {"X-Forwarded-Host": "kubernetes", "Forwarded": "for=127.0.0.1;host=kubernetes"},
    "from this machine": {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    "a certificate": {"X-Client-Cert": "x", "X-SSL-Client-S-DN": "CN=kubernetes-admin,O=system:masters"},
    "somebody else": {"X-Remote-User": "kubernetes-admin", "X-Remote-Group": "system:masters"},
    "HTTP/2": {"Connection": "Upgrade, HTTP2-Settings, close", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
    "a websocket": {"Connection": "Upgrade, close", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "eA=="},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
async def test_no_header_makes_another_request_of_it(scene: Scene, name: str) -> None:
    lines = "".join(f"{key}: {value}\r\n" for key, value in HEADERS[name].items())
    for path, code in ((f"{HERE}/secrets/treasure", 403), ("/healthz", 200)):
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\n{lines}"
        close = "" if "Connection:" in lines else "Connection: close\r\n"
        said = await scene.say(f"{head}{close}\r\n".encode())
        assert statuses(said) == [code], said
        assert GOLD.encode() not in said
    async with person(scene.plane, "admin") as admin:
        assert (await admin("GET", f"{HERE}/secrets/treasure")).code == 200


@pytest.mark.parametrize(
    "query",
    [
        "container=a&command=id", "container=..%2f..&command=id", "container=c%00&command=id", "command=",
        "container=c%0aX&command=id", "container=%2e%2e&command=id&stdin=true", "container=c&container=a&command=",
    ],
)  # fmt: skip
async def test_what_names_no_container_and_no_command_is_refused_before_anybody_is_called(
    scene: Scene, query: str
) -> None:
    async with person(scene.plane, "admin") as admin:
        body: dict[str, Any] = {"metadata": {"name": "idle"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        await admin("POST", f"{HERE}/pods", body)
        for method in ("GET", "POST"):
            answer = await admin(method, f"{HERE}/pods/idle/exec?{query}")
            assert answer.code in (400, 422), answer
            assert answer.body["reason"] in ("BadRequest", "Invalid")
