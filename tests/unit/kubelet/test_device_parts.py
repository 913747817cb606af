"""The parts about devices together, without an API server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from api import errors
from api.types import PodResourceClaim
from kubelet.config import parse
from kubelet.devices.assembling import Assembled
from kubelet.devices.claims import ClaimFault
from machinery.testing import FakeClock, settle
from tests.unit.kubelet.builders import pod
from tests.unit.kubelet.drivers import FakeDriver


@pytest.fixture
def place() -> Iterator[Path]:
    """The path of a socket has 107 characters at most, which those of pytest's directories may exceed."""
    with TemporaryDirectory(prefix="wherry-") as made:
        yield Path(made)


class Server:
    """A client that knows no claims."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    async def get(self, what: Any, name: str, namespace: str) -> Any:
        raise errors.NotFound(name)

    async def delete_collection(self, what: Any, *, field_selector: str) -> None:
        self.removed.append(field_selector)


def inside(directory: Path) -> set[str]:
    return {p.name for p in directory.iterdir()}


async def known() -> None:
    return


@asynccontextmanager
async def running(
    root: Path, server: Server, *flags: str, simulated: bool, told: Callable[[], None] = lambda: None
) -> AsyncIterator[Assembled]:
    config = parse(
        ["--kubeconfig", "/k", "--hostname-override", "node1", "--node-ip", "10.0.0.1", "--root-dir", str(root), *flags]
    )
    made = Assembled(config, server, FakeClock(), Path("/"), simulated=simulated)  # type: ignore[arg-type]
    made.on_change = told
    task = asyncio.create_task(made.run(known, set))
    await settle()
    yield made
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_node_makes_what_drivers_mount_and_removes_what_they_had_published(place: Path) -> None:
    server, cdi = Server(), place / "own-cdi"
    async with running(place, server, f"--host-path-map=/var/run/cdi={cdi}", simulated=False):
        assert server.removed == ["spec.nodeName=node1"]
        assert inside(place) == {"plugins", "plugins_registry", "own-cdi"}


async def test_a_simulated_node_does_nothing_before_its_first_pod_with_claims(place: Path) -> None:
    server = Server()
    async with running(place, server, simulated=True) as devices:
        assert inside(place) == set()
        with pytest.raises(ClaimFault):
            await devices.prepared.prepare(pod(resourceClaims=[PodResourceClaim(name="a", resourceClaimName="a")]))
        await settle()
        assert (place / "plugins_registry").is_dir()
        # Slices of simulated nodes may be somebody's who needs no driver.
        assert server.removed == []


async def test_a_simulated_node_that_has_had_drivers_looks_for_them_at_once(place: Path) -> None:
    server, came = Server(), asyncio.Event()
    driver = FakeDriver(place / "plugins_registry")
    async with driver.serving(), running(place, server, simulated=True, told=came.set):
        await asyncio.wait_for(came.wait(), 10)
        assert server.removed == ["spec.nodeName=node1"]
