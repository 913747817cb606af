"""What is kept of a release: what its components say to each other, their source, and a cluster as it has left it.

    python -m tests.releases.keeping DIRECTORY      from a checkout of the release; see docs/development.md

The cluster is one of processes with a simulated node. It has objects of every kind that is stored, made up ones that
do nothing and workloads that run, custom objects in two versions, encrypted Secrets, and tokens. Kept are etcd's data,
the certificates and keys, and what the release itself answered when it was asked for everything it serves.
"""

import asyncio
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from machinery.testing import apiserver, etcd, write_certificates
from tests.integration.conformance.conftest import client_of
from tests.integration.processes import workers
from tests.releases import contracts, sources, world

CONTRACTS, CLUSTER = "contracts.binpb", "cluster.tar.xz"
ENCRYPTION, SAID = "encryption.yaml", "said.json"


def encryption(place: Path) -> str:
    """The flag of an API server that keeps Secrets as the kept ones are."""
    return f"--encryption-provider-config={place / ENCRYPTION}"


async def make(place: Path) -> None:
    """Leaves in `place` what is to be kept of the cluster, among other things."""
    pki = place / "pki"
    write_certificates(pki)
    (place / ENCRYPTION).write_text(world.ENCRYPTION)
    async with (
        etcd(place, pki) as url,
        apiserver(place, pki, url, encryption(place)) as plane,
        client_of(plane) as api,
    ):
        async with workers(plane, place):
            await world.make(api)
            token = await world.token(api)
        said = {"commit": _commit(), "token": token, "lists": await world.everything(api)}
    (place / SAID).write_text(json.dumps(said))


def keep(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONTRACTS).write_bytes(contracts.current().SerializeToString(deterministic=True))
    sources.keep(directory, _commit())
    with tempfile.TemporaryDirectory(prefix="wherry-") as scratch:
        place = Path(scratch)
        asyncio.run(make(place))
        with tarfile.open(directory / CLUSTER, "w:xz") as tar:
            for name in ("etcd", "pki", ENCRYPTION, SAID):
                tar.add(place / name, name)


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
