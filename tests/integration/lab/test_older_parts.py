"""Parts of the last kept release take the place of today's, with real containers; see docs/development.md, "Releases".

`tests/integration/upgrade` tells more of what they say to each other; here it is what they do to nodes and pods.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.releases import sources
from tests.releases.troubles import troubles
from wherry import bringing_up
from wherry.composing import Compose

from .composing import compose

UNKNOWN = "--feature-gates="
"""How a flag begins that the lab gives its parts and the release does not know."""
OLDER, OURS = "/opt/wherry/older", "/opt/wherry/source:/opt/wherry/site"
UP = ("up", "--detach", "--no-deps", "--pull", "never")


@pytest.fixture
def older(lab, tmp_path: Path) -> Callable[..., AbstractContextManager[None]]:
    """While the block runs, services of the lab are those of the release."""
    source, override = tmp_path / "source", tmp_path / "older.yaml"
    sources.unpack(source)
    # What is started is first looked for in the directory that it is started in; the probes are in `wherry`.
    changes = {"working_dir": OLDER, "environment": {"PYTHONPATH": OURS}, "volumes": [f"{source}:{OLDER}:ro"]}

    @contextmanager
    def replaced(*names: str) -> Iterator[None]:
        services = yaml.safe_load(Compose(lab).file.read_text())["services"]
        known = {name: [f for f in services[name]["command"] if not f.startswith(UNKNOWN)] for name in names}
        document = {"services": {name: {**changes, "command": command} for name, command in known.items()}}
        override.write_text(yaml.safe_dump(document))
        try:
            compose(lab, "--file", str(override), *UP, *names)
            yield
        finally:
            compose(lab, *UP, *names)

    return replaced


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(("node3-kubelet", "node3-kube-proxy", "cluster-dns1"), id="node"),
        pytest.param(("controller-manager", "scheduler"), id="deciding", marks=pytest.mark.long),
        pytest.param(("apiserver",), id="API server", marks=pytest.mark.long),
    ],
)
def test_pods_outlive_that_a_part_becomes_older_and_younger_again(
    parts, older, lab, docker_engine, node, kubectl, everywhere, manifests, running
) -> None:
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    before = identities(running(3))
    with older(*parts):
        kubectl("scale", "deployment/test1", "--replicas=6")
        grown = running(6)
        assert before.items() <= identities(grown).items()
        assert {pod["spec"]["nodeName"] for pod in grown} == {"node1", "node2", "node3"}
        kubectl("set", "image", "deployment/test1", "test1=hewon16/image1:2")
        kubectl("rollout", "status", "deployment/test1", "--timeout=60s")
        rolled = running(6)
        address = kubectl("get", "service", "test-svc", "-o", "jsonpath={.spec.clusterIP}")
        for name in ("node1", "node3"):
            assert len(node(name).run("python3", "-c", bringing_up.ANSWERS, address, "6").splitlines()) == 6
        for pod in rolled:
            name = pod["metadata"]["name"]
            assert "test name:" in kubectl("exec", name, "--", "wget", "-qO-", "http://test-svc")
            kubectl("logs", name)
        for part in parts:
            container = docker_engine.containers.get(lab.container(part))
            assert OLDER in container.exec_run(["python3", "-c", "import api; print(api)"]).output.decode()
            assert troubles(container.logs().decode()) == []
    kubectl("scale", "deployment/test1", "--replicas=7")
    assert identities(rolled).items() <= identities(running(7)).items()
    kubectl("delete", "deployment/test1")
    kubectl("wait", "--for=delete", "pods", "--selector", "app=test1", "--timeout=60s")
    everywhere("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=30s")


def identities(pods):
    return {s["containerID"]: s["restartCount"] for pod in pods for s in pod["status"]["containerStatuses"]}
