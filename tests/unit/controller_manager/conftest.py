import pytest

from machinery.testing import FakeClock
from tests.unit.controller_manager.making import NOW
from tests.unit.controller_manager.worlds import World


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock)
