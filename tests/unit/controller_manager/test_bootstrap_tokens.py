"""Bootstrap tokens and their end."""

import base64

import pytest

from api import times
from api.meta import Key
from api.types import ObjectMeta, Secret
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import NOW
from tests.unit.controller_manager.worlds import World, controllers, rest

TYPE = "bootstrap.kubernetes.io/token"


def token(name: str, expiration: str | None, *, namespace: str = "kube-system", type_: str = TYPE) -> Secret:
    data = {} if expiration is None else {"expiration": base64.b64encode(expiration.encode()).decode()}
    return Secret(metadata=ObjectMeta(name=name, namespace=namespace), type=type_, data=data)


@pytest.mark.parametrize(
    "stays",
    [
        token("t", times.format(NOW + 60)),
        token("t", None),
        token("t", times.format(NOW - 1), namespace="default"),
        token("t", times.format(NOW - 1), type_="Opaque"),
    ],
    ids=["with time left", "without an end", "elsewhere", "of another type"],
)
async def test_what_is_no_expired_token_stays(world: World, stays: Secret) -> None:
    await world.create(stays)
    async with controllers(world, "token-cleaner-controller"):
        await rest()
        assert len(world.all(Secret)) == 1


async def test_expired_tokens_and_those_that_nobody_can_read_go(world: World) -> None:
    await world.create(token("old", times.format(NOW - 1)))
    await world.create(token("nonsense", "tomorrow"))
    async with controllers(world, "token-cleaner-controller"):
        await rest()
        assert world.all(Secret) == []


async def test_a_token_goes_when_its_time_is_over(world: World, clock: FakeClock) -> None:
    await world.create(token("t", times.format(NOW + 60)))
    async with controllers(world, "token-cleaner-controller") as term:
        await rest()
        await clock.advance(61)
        await term.controllers[0].reconcile_now(Key("kube-system", "t"))
        assert world.all(Secret) == []
