"""API servers behind this one that do not answer as they should."""

from collections.abc import Iterable
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from api import kinds
from api.errors import Unavailable
from api.kinds import Kind
from api.types import (
    ApiregistrationV1ServiceReference,
    APIService,
    APIServiceCondition,
    APIServiceSpec,
    APIServiceStatus,
    ObjectMeta,
    Service,
    ServiceSpec,
)
from apiserver.aggregation.checking import LATER, Checker
from apiserver.aggregation.merging import Merger
from apiserver.aggregation.proxying import identity, question
from apiserver.aggregation.routes import Routes
from apiserver.requests import User
from apiserver.rest.carrying import headers_for
from machinery.testing import FakeClock

AVAILABLE = APIServiceCondition(type="Available", status="True", reason="Passed", message="all checks passed")
THERE = APIService(
    metadata=ObjectMeta(name="v1.example.org", uid="u"),
    spec=APIServiceSpec(
        group="example.org", version="v1", groupPriorityMinimum=1, versionPriority=1,
        service=ApiregistrationV1ServiceReference(name="s", namespace="n"),
    ),
    status=APIServiceStatus(conditions=[AVAILABLE]),
)  # fmt: skip
BEHIND = Service(metadata=ObjectMeta(name="s", namespace="n"), spec=ServiceSpec(type="ExternalName", externalName="x"))
ABOUT = ("example.org", "v1")


class Source:
    def version(self, kind: Kind) -> int:
        return 1

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        return [THERE] if kind is kinds.of(APIService) else []

    def list_within(self, kind: Kind, namespace: str) -> Iterable[Any]:
        return []

    def get_cached(self, kind: Kind, namespace: str, name: str) -> Any:
        return BEHIND


class Saying:
    """Stands for the other server: what it answers to everything."""

    def __init__(self) -> None:
        self.body = b""

    async def get(self, service: APIService, path: str, headers: object) -> tuple[int, bytes]:
        return 200, self.body


def checking(clock: FakeClock) -> tuple[Saying, Checker, Merger]:
    routes, server = Routes(Source()), Saying()  # type: ignore[arg-type]
    checker = Checker(routes, server, Source(), None, clock)  # type: ignore[arg-type]
    return server, checker, Merger(routes, checker)


@pytest.mark.parametrize(
    "body",
    [
        b'{"resources": [{"name": "\xff"}]}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"resources": 5}',
        b'{"resources": ["things"]}',
        b'{"resources": [{"name": 5}]}',
        b'{"resources": [{"name": "things", "verbs": {"get": 1}}]}',
        b"[]",
    ],
)
async def test_a_server_that_says_nonsense_of_itself_harms_nobody(body: bytes) -> None:
    server, checker, merger = checking(FakeClock())
    server.body = body
    await checker.look()
    assert checker.answers(ABOUT)
    [group] = merger.aggregated([])
    assert [v["resources"] for v in group["versions"]] == [[]]


async def test_what_a_server_said_last_stands_while_it_says_nonsense() -> None:
    clock = FakeClock()
    server, checker, merger = checking(clock)
    server.body = b'{"resources": [{"name": "things", "kind": "Thing", "verbs": ["get"], "namespaced": true}]}'
    await checker.look()
    server.body = b"nonsense"
    await clock.advance(LATER)
    await checker.look()
    [group] = merger.aggregated([])
    assert [r["resource"] for r in group["versions"][0]["resources"]] == ["things"]


@pytest.mark.parametrize(
    "user",
    [
        User("jane\r\nX-Remote-Group: system:masters"),
        User("jane", groups=("a\nX-Remote-Group: system:masters",)),
        User("jane", extra={"claims": ("a\rb",)}),
        User("jane", uid="\0"),
    ],
)
def test_nobody_says_more_of_themselves_behind_the_end_of_a_line(user: User) -> None:
    http = make_mocked_request("GET", "/apis/example.org/v1/things")
    with pytest.raises(Unavailable, match="invalid header field value"):
        headers_for(http, identity(user, http))


def test_a_name_may_have_any_letters() -> None:
    http = make_mocked_request("GET", "/apis/example.org/v1/things")
    assert headers_for(http, identity(User("Жанна"), http))["X-Remote-User"] == "Жанна"


@pytest.mark.parametrize(
    ("method", "path", "query", "verb"),
    [
        ("GET", "things", {}, "list"),
        ("GET", "things", {"watch": "true"}, "watch"),
        ("GET", "things", {"watch": "TRUE"}, "watch"),
        ("GET", "things", {"watch": "t"}, "watch"),
        ("GET", "things", {"watch": ""}, "watch"),
        ("GET", "namespaces/n/things", {"watch": "0"}, "list"),
        ("GET", "things/a", {"watch": "true"}, "get"),
        ("GET", "watch/things/a", {}, "watch"),
        ("DELETE", "things", {"watch": "true"}, "deletecollection"),
    ],
)
def test_the_same_is_a_watch_for_another_servers_objects_as_for_ours(
    method: str, path: str, query: dict[str, str], verb: str
) -> None:
    assert question(User("jane"), THERE, method, f"/apis/example.org/v1/{path}", query).verb == verb
