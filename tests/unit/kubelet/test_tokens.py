"""The tokens that pods mount: asked for once, and renewed in good time."""

from typing import Any

import pytest

from api import meta, times
from api.errors import Forbidden
from api.types import (
    Pod,
    ProjectedVolumeSource,
    ServiceAccount,
    ServiceAccountTokenProjection,
    TokenRequest,
    TokenRequestStatus,
    Volume,
    VolumeProjection,
)
from kubelet.pods.tokens import Tokens
from machinery.testing import FakeClock
from tests.unit.kubelet.builders import container, pod


class Server:
    """Grants a token for every request, and remembers it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[TokenRequest] = []
        self.closed = False

    async def create_subresource(
        self, what: type[Any], name: str, namespace: str, subresource: str, obj: TokenRequest
    ) -> bytes:
        assert (what, subresource) == (ServiceAccount, "token")
        if self.closed:
            raise Forbidden("no")
        self.asked.append(obj)
        ends = times.format(self.clock.now() + (obj.spec.expirationSeconds or 0))
        obj.status = TokenRequestStatus(token=f"{namespace}/{name}/{len(self.asked)}", expirationTimestamp=ends)
        return meta.encode(obj)


def mounting(*projections: ServiceAccountTokenProjection) -> Pod:
    sources = [VolumeProjection(serviceAccountToken=p) for p in projections]
    found = pod(container(), volumes=[Volume(name="v", projected=ProjectedVolumeSource(sources=sources))])
    found.spec.serviceAccountName = "robot"
    return found


PLAIN = ServiceAccountTokenProjection(path="token", expirationSeconds=1000)
VAULT = ServiceAccountTokenProjection(path="vault", audience="vault")


@pytest.fixture
def server() -> Server:
    return Server(FakeClock())


async def test_a_token_is_bound_to_its_pod_and_asked_for_once(server: Server) -> None:
    tokens, of = Tokens(server, server.clock), mounting(PLAIN, VAULT)
    granted = await tokens.of(of)
    assert set(granted) == {("", 1000), ("vault", 3600)}
    assert await tokens.of(of) == granted
    assert len(server.asked) == 2
    for request in server.asked:
        ref = request.spec.boundObjectRef
        assert ref is not None
        assert (ref.kind, ref.name, ref.uid) == ("Pod", of.metadata.name, of.metadata.uid)
    assert sorted(a for r in server.asked for a in r.spec.audiences) == ["vault"]


async def test_it_is_renewed_when_four_fifths_of_its_time_are_over(server: Server) -> None:
    tokens, of = Tokens(server, server.clock), mounting(PLAIN)
    first = await tokens.of(of)
    await server.clock.advance(799)
    assert await tokens.of(of) == first
    await server.clock.advance(2)
    assert await tokens.of(of) != first


async def test_one_that_cannot_be_renewed_serves_until_its_end(server: Server) -> None:
    tokens, of = Tokens(server, server.clock), mounting(PLAIN)
    first = await tokens.of(of)
    server.closed = True
    await server.clock.advance(999)
    assert await tokens.of(of) == first
    await server.clock.advance(1)
    with pytest.raises(Forbidden):
        await tokens.of(of)


async def test_a_long_lived_one_is_renewed_every_day(server: Server) -> None:
    of = mounting(ServiceAccountTokenProjection(path="t", expirationSeconds=10 * 86400))
    tokens = Tokens(server, server.clock)
    first = await tokens.of(of)
    await server.clock.advance(86401)
    assert await tokens.of(of) != first


async def test_a_refusal_is_the_callers_to_tell_and_a_pod_without_tokens_asks_nothing(server: Server) -> None:
    server.closed = True
    tokens = Tokens(server, server.clock)
    with pytest.raises(Forbidden):
        await tokens.of(mounting(PLAIN))
    assert await tokens.of(pod(container())) == {}
