from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Client]:
    async with connect(plane.access()) as connected:
        yield connected
