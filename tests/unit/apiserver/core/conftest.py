"""A real etcd for every test of the storage and the registry: one process, emptied before each test."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from apiserver.storage.etcd import Endpoints, Etcd
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.clocks import Clock
from machinery.testing import FakeClock, free_port
from proto import etcd_pb2 as pb


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = shutil.which("etcd")
    assert binary, "etcd is needed (Debian's package etcd-server)"
    directory: Path = tmp_path_factory.mktemp("etcd")
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "--data-dir", str(directory / "data"), "--name", "test", "--unsafe-no-fsync",
             "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
             "--initial-advertise-peer-urls", peer, "--initial-cluster", f"test={peer}"],
            stdout=log, stderr=log,
        )  # fmt: skip
    yield client
    process.send_signal(signal.SIGTERM)
    process.wait(10)


@pytest_asyncio.fixture
async def etcd(etcd_url: str) -> AsyncIterator[Etcd]:
    """A client of the real etcd, which is empty."""
    async with Etcd(Endpoints((etcd_url,))) as client:
        everything = pb.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        await client.transact([], [pb.RequestOp(request_delete_range=everything)])
        yield client


@pytest.fixture
def store(etcd: Etcd) -> Store:
    return Store(etcd)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def following(etcd: Etcd, clock: Clock) -> AsyncIterator[World]:
    """A world that follows etcd while the block runs."""
    world = World(etcd, clock)
    task = asyncio.create_task(world.run())
    try:
        await world.loaded.wait()
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest_asyncio.fixture
async def world(etcd: Etcd, clock: FakeClock) -> AsyncIterator[World]:
    async with following(etcd, clock) as found:
        yield found
