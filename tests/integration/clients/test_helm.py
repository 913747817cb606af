"""Helm, the last major version and the one before it, with a chart that has hooks, a test and a custom kind."""

import json
from pathlib import Path
from typing import Any

import pytest

from .clusters import Cluster
from .tools import LATEST, OLD, program

CHART = str(Path(__file__).parent / "chart")


class Helm:
    def __init__(self, running: Cluster, namespace: str, package: str) -> None:
        self._running, self._namespace, self._program = running, namespace, program(package, "helm")

    def __call__(self, *arguments: str) -> str:
        ran = self._running.run(self._program, "-n", self._namespace, *arguments)
        assert ran.returncode == 0, f"helm {' '.join(arguments)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def refused(self, *arguments: str) -> str:
        ran = self._running.run(self._program, "-n", self._namespace, *arguments)
        assert ran.returncode != 0
        return ran.stderr


@pytest.fixture(params=[LATEST, OLD], ids=["4", "3"])
def helm(request: pytest.FixtureRequest, running: Cluster, namespace: str) -> Helm:
    return Helm(running, namespace, request.param)


def test_a_release_from_installation_to_removal(helm: Helm, running: Cluster, namespace: str) -> None:
    def stored(what: str, path: str) -> str:
        return running.kubectl("get", "-n", namespace, what, "-o", f"jsonpath={path}")

    wait = ("--wait", "--timeout", "30s")
    assert "It is shop, on v1.37" in helm("install", "shop", CHART, *wait)
    assert stored("deployment/shop", "{.status.readyReplicas}") == "1"
    assert stored("shelf/shop", "{.spec.books}") == "1"
    assert stored("job/shop-prepare", "{.status.succeeded}") == "1"
    assert [r["status"] for r in helm.json("list")] == ["deployed"]
    assert "helm.sh/release.v1" in stored("secrets", "{.items[*].type}")
    helm("upgrade", "shop", CHART, "--set", "words=other,replicas=2", *wait)
    assert stored("deployment/shop", "{.status.readyReplicas}") == "2"
    assert stored("configmap/shop-words", "{.data.words}") == "other"
    assert helm.json("get", "values", "shop") == {"words": "other", "replicas": 2}
    assert "Succeeded" in helm("test", "shop")
    helm("rollback", "shop", "1", *wait)
    assert stored("configmap/shop-words", "{.data.words}") == "hello"
    assert [r["status"] for r in helm.json("history", "shop")] == ["superseded", "superseded", "deployed"]
    assert helm.json("status", "shop")["version"] == 3
    assert "a name that is still in use" in helm.refused("install", "shop", CHART)
    assert "replicas: 7" in helm("upgrade", "shop", CHART, "--set", "replicas=7", "--dry-run=server")
    helm("uninstall", "shop", *wait)
    assert helm.json("list") == []
    assert running.kubectl("get", "-n", namespace, "deployments,services,shelves", "-o", "name") == ""


def test_an_upgrade_that_never_becomes_ready_is_taken_back(helm: Helm, running: Cluster, namespace: str) -> None:
    helm("upgrade", "--install", "shop", CHART, "--wait", "--timeout", "30s")
    bad = ("--set", "replicas=-1", "--wait", "--timeout", "10s")
    assert "must be greater than or equal to 0" in helm.refused("upgrade", "shop", CHART, *bad)
    assert running.kubectl("get", "-n", namespace, "deployment/shop", "-o", "jsonpath={.spec.replicas}") == "1"
    assert [r["status"] for r in helm.json("history", "shop")] == ["deployed", "failed"]
    helm("rollback", "shop", "1")
    helm("uninstall", "shop", "--no-hooks")
