import pytest

from machinery.testing import FakeClock
from tests.unit.controller_manager.making import NOW
from tests.unit.controller_manager.worlds import World


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture(autouse=True)
def immediate_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-offs are in the event loop's own time, which no fake clock turns; tests do not wait for it."""
    monkeypatch.setattr("machinery.queues.FIRST_RETRY", 0.0)


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock)
