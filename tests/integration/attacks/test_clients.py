"""Clients that want the API server's memory: it stays bounded, and others are served meanwhile.

The attacks are those that `scripts/bench besieged` measures; without what holds them off, each of those that are told
of below took 760 MB to 2.6 GB.
"""

from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from bench.attacks import ATTACKS, MAPS, Attacker
from machinery.testing import ControlPlane

MOST = 450 << 20
"""Bytes, of which the server has a hundred to begin with."""
OBJECTS, SIZE = 500, 20_000


@pytest.mark.parametrize("name", ["heads", "bombs", "yaml", "tables", "protobuf", "messages"])
async def test_an_attack_leaves_memory_and_answers_for_others(
    plane: ControlPlane, rest: aiohttp.ClientSession, name: str
) -> None:
    if name in ("tables", "protobuf"):
        for n in range(OBJECTS):
            body = {"metadata": {"name": f"c{n}"}, "data": {"x": "x" * SIZE}}
            async with rest.post(MAPS, json=body) as answer:
                assert answer.status == 201
    attacker = Attacker(urlsplit(plane.rest), urlsplit(plane.grpc), plane.pki / "admin")
    try:
        await ATTACKS[name](attacker)
        async with rest.get("/api/v1/namespaces") as answer:
            assert answer.status == 200
        assert resident(plane.pid) < MOST
    finally:
        for writer in attacker.writers:
            writer.transport.abort()


def resident(pid: int) -> int:
    """Bytes; the most that it has ever been."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
