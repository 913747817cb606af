"""One lab for the whole session, beside any that the user has: own name, ports, network and directories."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import docker
import pytest

from wherry import bringing_up, cleaning
from wherry.kubectl import Kubectl
from wherry.labs import NODES, PROJECT, Lab, node_names
from wherry.progress import Progress

NUMBER = int(os.environ.get("WHERRY_TEST_LAB") or 1)
"""Tests of several checkouts may run at once, each in a lab of its own number."""
LAB = Lab(
    name="wherry-test" if NUMBER == 1 else f"wherry-test{NUMBER}",
    state=PROJECT / "build" / "test-lab",
    data=Path("/var/lib/wherry-test" if NUMBER == 1 else f"/var/lib/wherry-test{NUMBER}"),
    network=f"10.{123 + NUMBER}.0",
    api_port=16343 + 100 * NUMBER,
    grpc_port=16344 + 100 * NUMBER,
    scheduler_port=16359 + 100 * NUMBER,
    controllers_port=16357 + 100 * NUMBER,
)
NAMESPACE = "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"
KEEP = bool(os.environ.get("WHERRY_KEEP_TEST_LAB"))
"""For work on the tests: an existing test lab is used as it is, and stays."""


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    with Progress() as progress:
        client = bringing_up.prepare(progress)
    yield client
    client.close()


@pytest.fixture(scope="session")
def lab(docker_engine: docker.DockerClient) -> Iterator[Lab]:
    if not KEEP:
        cleaning.down(LAB, keep_data=False)  # what an interrupted session has left
    with Progress() as progress:
        bringing_up.start(LAB, node_names(NODES), docker_engine, progress)
    yield LAB
    if not KEEP:
        cleaning.down(LAB, keep_data=False)


@pytest.fixture
def kubectl(lab: Lab) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own, which goes with it."""
    name = f"test-{uuid4().hex[:8]}"
    Kubectl(lab)("apply", "-f", "-", stdin=NAMESPACE.format(name=name))
    own = Kubectl(lab, name)
    own("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    yield own
    Kubectl(lab)("delete", "namespace", name, "--wait=false")


@pytest.fixture
def everywhere(lab: Lab) -> Kubectl:
    """kubectl in the namespace `default`; whoever makes something there removes it."""
    return Kubectl(lab)


@pytest.fixture(scope="session")
def manifests() -> Path:
    """What a newcomer types first, unmodified."""
    return PROJECT / "tests" / "acceptance"
