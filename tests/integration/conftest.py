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

LAB = Lab(
    name="wherry-test",
    state=PROJECT / "build" / "test-lab",
    data=Path("/var/lib/wherry-test"),
    network="10.124.0",
    api_port=16443,
    grpc_port=16444,
    scheduler_port=16459,
    controllers_port=16457,
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
