"""The kubelet's HTTPS port: who asks, what they must be allowed to, and what they are told if they are not."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from api import errors
from api.types import SubjectAccessReview, TokenReview, UserInfo
from kubelet.metrics import Metrics
from kubelet.web.askers import Askers
from kubelet.web.door import Door, answering
from kubelet.web.rights import Rights, right
from machinery.certificates import Authority, Subject
from machinery.https import HttpsServer
from machinery.running import together
from machinery.serving import Files
from machinery.testing import FakeClock

ROBOT = UserInfo(username="system:serviceaccount:ns:robot", uid="u1", groups=["system:serviceaccounts"])


class Reviewer:
    """The API server's part: it knows one token and lets people do what `allowed` says."""

    def __init__(self) -> None:
        self.allowed: set[tuple[str, str, str]] = set()  # (user, verb, subresource)
        self.asked: list[Any] = []
        self.is_away = False

    async def create(self, review: Any) -> Any:
        if self.is_away:
            raise errors.Unavailable("nobody answers")
        self.asked.append(review)
        if isinstance(review, TokenReview):
            review.status.authenticated = review.spec.token == "good"
            review.status.user = ROBOT if review.status.authenticated else None
        elif isinstance(review, SubjectAccessReview):
            wanted = review.spec.resourceAttributes
            assert wanted is not None
            assert (wanted.resource, wanted.name, wanted.group or "", wanted.namespace or "") == ("nodes", "n1", "", "")
            review.status.allowed = (review.spec.user, wanted.verb, wanted.subresource) in self.allowed
        return review


class Port:
    """One kubelet's, with a page at /pods and the metrics below /metrics/."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.reviewer = Reviewer()
        self.metrics = Metrics(self.clock)
        self.authority, self.stranger = Authority.create("ours"), Authority.create("theirs")
        pair = self.authority.issue(Subject("n1", (), ("127.0.0.1",)))
        for name, data in (("ca", self.authority.pair.certificate), ("crt", pair.certificate), ("key", pair.key)):
            (directory / name).write_bytes(data)
        self.directory = directory
        self.number = 0

    def files(self) -> Files:
        return Files(self.directory / "crt", self.directory / "key", self.directory / "ca")

    def context(self, user: str = "", authority: Authority | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca"))
        if user:
            pair = (authority or self.authority).issue(Subject(user, ("people",)))
            (self.directory / "mine").write_bytes(pair.certificate + pair.key)
            context.load_cert_chain(self.directory / "mine")
        return context

    async def get(
        self, path: str, user: str = "", *, authority: Authority | None = None, token: str = "", method: str = "GET"
    ) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        where = f"https://127.0.0.1:{self.number}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, where, headers=headers, ssl=self.context(user, authority)) as answer,
        ):
            return answer.status, await answer.text()


@asynccontextmanager
async def serving(port: Port, *, anonymous: bool = False) -> AsyncIterator[Port]:
    here = {
        ("GET", "/pods"): answering(lambda request: web.Response(text="pods")),
        ("GET", "/metrics"): answering(lambda request: web.Response(text="metrics")),
        ("GET", "/containerLogs/"): answering(lambda request: web.Response(text=request.path)),
    }
    askers = Askers(port.reviewer, port.clock, anonymous=anonymous)  # type: ignore[arg-type]
    door = Door(askers, Rights(port.reviewer, "n1", port.clock), here, port.metrics)  # type: ignore[arg-type]
    server = HttpsServer("127.0.0.1:0", port.files(), door.answer)

    running = asyncio.create_task(together(server.run()))
    try:
        port.number = await server.bound()
        yield port
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    async with serving(Port(tmp_path)) as port:
        yield port


async def test_whoever_shows_nothing_or_a_token_of_nobody_is_not_let_in(port: Port) -> None:
    assert await port.get("/pods") == (401, "Unauthorized")
    assert await port.get("/pods", token="bad") == (401, "Unauthorized")


async def test_a_token_of_bytes_that_are_no_text_is_nobodys(port: Port) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number, ssl=port.context())
    writer.write(b"GET /pods HTTP/1.1\r\nHost: n1\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    assert port.reviewer.asked == []


async def test_a_certificate_of_another_authority_ends_the_connection(port: Port) -> None:
    with pytest.raises(aiohttp.ClientError):
        await port.get("/pods", "admin", authority=port.stranger)


async def test_whoever_lacks_the_right_is_told_which(port: Port) -> None:
    assert await port.get("/pods", "eve") == (
        403, "Forbidden (user=eve, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
    )  # fmt: skip
    assert await port.get("/metrics", token="good", method="POST") == (
        403, f"Forbidden (user={ROBOT.username}, verb=create, resource=nodes, subresource(s)=[metrics])\n",
    )  # fmt: skip


@pytest.mark.parametrize("subresource", ["pods", "proxy"])
async def test_the_narrow_right_does_and_the_broad_one_too(port: Port, subresource: str) -> None:
    port.reviewer.allowed = {("eve", "get", subresource)}
    assert await port.get("/pods", "eve") == (200, "pods")
    assert await port.get("/pods/", "eve") == (200, "pods")
    [review, *_] = port.reviewer.asked
    assert review.spec.groups == ["people", "system:authenticated"]


async def test_the_broad_right_is_none_to_metrics(port: Port) -> None:
    port.reviewer.allowed = {("eve", "get", "proxy")}
    assert (await port.get("/metrics", "eve"))[0] == 403
    assert await port.get("/containerLogs/ns/pod/c", "eve") == (200, "/containerLogs/ns/pod/c")


async def test_the_owner_of_a_token_is_asked_for_once_in_two_minutes(port: Port) -> None:
    port.reviewer.allowed = {(str(ROBOT.username), "get", "metrics")}
    for _ in range(3):
        assert (await port.get("/metrics", token="good"))[0] == 200
    assert len(port.reviewer.asked) == 2  # one review of the token, one of the right
    await port.clock.advance(121)
    assert (await port.get("/metrics", token="good"))[0] == 200
    assert [type(review) for review in port.reviewer.asked[2:]] == [TokenReview]


async def test_a_refusal_holds_for_half_a_minute_and_a_permission_for_five(port: Port) -> None:
    assert (await port.get("/metrics", "eve"))[0] == 403
    port.reviewer.allowed = {("eve", "get", "metrics")}
    assert (await port.get("/metrics", "eve"))[0] == 403
    await port.clock.advance(31)
    assert (await port.get("/metrics", "eve"))[0] == 200
    port.reviewer.allowed = set()
    await port.clock.advance(290)
    assert (await port.get("/metrics", "eve"))[0] == 200
    await port.clock.advance(11)
    assert (await port.get("/metrics", "eve"))[0] == 403


async def test_without_the_api_server_nobody_is_let_in_and_nothing_is_remembered(port: Port) -> None:
    port.reviewer.is_away = True
    assert await port.get("/metrics", token="good") == (401, "Unauthorized")
    assert await port.get("/metrics", "eve") == (
        500, "Authorization error (user=eve, verb=get, resource=nodes, subresource=metrics)",
    )  # fmt: skip
    port.reviewer.is_away = False
    port.reviewer.allowed = {(str(ROBOT.username), "get", "metrics")}
    assert (await port.get("/metrics", token="good"))[0] == 200


async def test_where_there_is_no_page_nobody_is_asked_who_they_are(port: Port) -> None:
    assert await port.get("/nothing") == (404, "404 page not found\n")
    port.reviewer.allowed = {("eve", "create", "proxy")}
    assert await port.get("/pods", "eve", method="POST") == (405, "405: Method Not Allowed")


async def test_with_anonymous_access_nobody_is_somebody_too(tmp_path: Path) -> None:
    async with serving(Port(tmp_path), anonymous=True) as port:
        assert (await port.get("/pods"))[1].startswith("Forbidden (user=system:anonymous, verb=get,")


@pytest.mark.parametrize(
    ("path", "subresources"),
    [
        ("/stats/summary", "stats"),
        ("/metrics/cadvisor", "metrics"),
        ("/logs/", "log"),
        ("/logs/a/b", "log"),
        ("/pods", "pods proxy"),
        ("/runningpods/", "pods proxy"),
        ("/healthz/ping", "healthz proxy"),
        ("/configz", "configz proxy"),
        ("/statusz", "statusz proxy"),
        ("/checkpoint/a/b/c", "checkpoint"),
        ("/run/ns/pod/c", "proxy"),
        ("/metricsandmore", "proxy"),
        ("/", "proxy"),
    ],
)
def test_each_path_has_its_right(path: str, subresources: str) -> None:
    assert right("GET", path) == ("get", tuple(subresources.split()))
    assert [right(m, path).verb for m in ("POST", "PUT", "PATCH", "DELETE", "HEAD")] == [
        "create", "update", "patch", "delete", "",
    ]  # fmt: skip


async def test_requests_are_counted_by_page_and_those_for_none_together(port: Port) -> None:
    await port.get("/pods/", "eve")
    await port.get("/metrics", "eve")
    await port.get("/nothing/at/all")
    counted = {labels[:2]: count for labels, count in port.metrics.requests.values.items()}
    assert counted == {("GET", "pods"): 1, ("GET", "metrics"): 1, ("GET", "other"): 1}
    assert set(port.metrics.requests_in_flight.values()) == {0}
