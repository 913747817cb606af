"""An operator on kopf: https://kopf.readthedocs.io"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clusters import Cluster

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.kopf.example.com}
spec:
  group: kopf.example.com
  names: {kind: Boat, plural: boats, singular: boat, shortNames: [bt]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Sails, type: integer, jsonPath: .spec.sails}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {sails: {type: integer, minimum: 0}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
PEERING = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kopfpeerings.kopf.dev}
spec:
  group: kopf.dev
  names: {kind: KopfPeering, plural: kopfpeerings, singular: kopfpeering}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
ARK = "boats.kopf.example.com/ark"
BOAT = "{apiVersion: kopf.example.com/v1, kind: Boat, metadata: {name: ark}, spec: {sails: 2}}"


@pytest.fixture(scope="module")
def boats(running: Cluster) -> Iterator[None]:
    running.kubectl("apply", "-f", "-", stdin=CRD)
    running.kubectl("wait", "--for=condition=Established", "crd/boats.kopf.example.com", "--timeout=30s")
    yield
    running.kubectl("delete", "crd", "boats.kopf.example.com", "--wait=false")


@contextlib.contextmanager
def operator(running: Cluster, namespace: str, *flags: str) -> Iterator[Path]:
    """`kopf run` for as long as the block runs; its log."""
    log = running.directory / f"{namespace}.kopf.log"
    command = [sys.executable, "-m", "kopf", "run", "-n", namespace, *flags]
    with log.open("ab") as out:
        child = subprocess.Popen(
            [*command, str(Path(__file__).parent / "operator_of_boats.py")],
            env=running.environment(),
            stdout=out,
            stderr=out,
        )
    try:
        yield log
        assert child.poll() is None, log.read_text()
    finally:
        child.terminate()
        child.wait(20)


def wait(running: Cluster, namespace: str, what: str, path: str) -> None:
    running.kubectl("wait", "-n", namespace, what, f"--for=jsonpath={path}", "--timeout=20s")


def test_an_object_from_creation_to_deletion(running: Cluster, boats: None, namespace: str) -> None:
    with operator(running, namespace, "--standalone") as log:
        running.kubectl("apply", "-n", namespace, "-f", "-", stdin=BOAT)
        running.kubectl("wait", "-n", namespace, "--for=create", "configmap/ark-crew", "--timeout=20s")
        wait(running, namespace, ARK, "{.status.build.sails}=2")
        ark = json.loads(running.kubectl("get", "-n", namespace, ARK, "-o", "json"))
        assert ark["metadata"]["finalizers"] == ["kopf.example.com/finalizer"]
        crew = json.loads(running.kubectl("get", "-n", namespace, "cm", "ark-crew", "-o", "json"))
        assert crew["metadata"]["ownerReferences"][0]["uid"] == ark["metadata"]["uid"]
        wait(running, namespace, ARK, "{.status.ticks}=2")
        running.kubectl("patch", "-n", namespace, ARK, "--type=merge", "-p", '{"spec":{"sails":3}}')
        wait(running, namespace, ARK, "{.status.before}=2")
        wait(running, namespace, "configmap/ark-crew", "{.data.sails}=3")
        assert "ready to sail" in running.kubectl("events", "-n", namespace, "--for", ARK)
        running.kubectl("delete", "-n", namespace, ARK, "--timeout=20s")
        running.kubectl("wait", "-n", namespace, "--for=create", "configmap/ark-sunk", "--timeout=20s")
        running.kubectl("wait", "-n", namespace, "--for=delete", "configmap/ark-crew", "--timeout=20s")
        assert "Traceback" not in log.read_text()


def test_an_operator_that_comes_back_resumes(running: Cluster, boats: None, namespace: str) -> None:
    running.kubectl("apply", "-n", namespace, "-f", "-", stdin=BOAT)
    with operator(running, namespace, "--standalone"):
        wait(running, namespace, ARK, "{.status.build.sails}=2")
    with operator(running, namespace, "--standalone"):
        wait(running, namespace, ARK, "{.status.resumed}=true")
        running.kubectl("delete", "-n", namespace, ARK, "--timeout=20s")


def test_operators_know_of_each_other_where_peering_is_there(running: Cluster, boats: None, namespace: str) -> None:
    running.kubectl("apply", "-f", "-", stdin=PEERING)
    running.kubectl("wait", "--for=condition=Established", "crd/kopfpeerings.kopf.dev", "--timeout=30s")
    peering = "{apiVersion: kopf.dev/v1, kind: KopfPeering, metadata: {name: default}}"
    running.kubectl("apply", "-n", namespace, "-f", "-", stdin=peering)
    with operator(running, namespace, "--peering=default") as log:
        wait(running, namespace, "kopfpeering/default", "{.status}")
        running.kubectl("apply", "-n", namespace, "-f", "-", stdin=BOAT)
        wait(running, namespace, ARK, "{.status.build.sails}=2")
        running.kubectl("delete", "-n", namespace, ARK, "--timeout=20s")
        assert "Traceback" not in log.read_text()
    running.kubectl("delete", "crd", "kopfpeerings.kopf.dev", "--wait=false")
