"""One cluster of processes for every client, and a namespace of its own for each test."""

import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from .clusters import Cluster, cluster
from .echoes import echo


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started
    said = (started.directory / "apiserver.log").read_text().splitlines()
    assert [line for line in said if " E apiserver " in line] == []


@pytest.fixture(scope="module", autouse=True)
def what_clients_leave_open() -> Iterator[None]:
    """Theirs, too: it must not be found in the middle of another test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def namespace(running: Cluster) -> Iterator[str]:
    """A namespace whose service account is there; it goes with the test."""
    name = f"test-{uuid4().hex[:8]}"
    running.kubectl("create", "namespace", name)
    running.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=20s")
    yield name
    running.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def pod(running: Cluster, namespace: str) -> str:
    """The name of a pod that runs in the test's namespace and has said a word."""
    running.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(POD))
    running.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/p", "--timeout=20s")
    return "p"


@pytest.fixture
def echo_port() -> Iterator[int]:
    """Where every pod answers each line with `echo LINE`."""
    with echo() as port:
        yield port


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"app": "p"}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "echo hello; sleep 10000"]}],
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of other people's clients are theirs."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
