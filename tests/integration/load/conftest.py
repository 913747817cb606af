"""API servers under load: processes of their own, and what it takes to press them."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest_asyncio

from machinery.testing import ControlPlane, control_plane


@asynccontextmanager
async def session(plane: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    """The administrator's way to the REST door, over as many connections as are asked for."""
    own = plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(
        base_url=plane.rest,
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        timeout=aiohttp.ClientTimeout(30),
        max_headers=1000,
    ) as opened:
        yield opened


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def rest(plane: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    async with session(plane) as opened:
        yield opened
