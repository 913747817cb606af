"""A Go program on client-go's defaults: protobuf, informers, SPDY. What it does stands in go/main.go.

client-go is the one of Debian's Kubernetes, which is old; today's is inside the kubectl and the Helm of the other tests.
"""

import shutil
from pathlib import Path

import pytest

from .clusters import Cluster
from .tools import go_program

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.go.example.com}
spec:
  group: go.example.com
  names: {kind: Boat, plural: boats, singular: boat}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
CHECKS = (
    "objects", "informers", "metadata", "election", "dynamic", "mapper", "exec", "forward", "events", "pages",
)  # fmt: skip


@pytest.fixture(scope="module")
def program(running: Cluster) -> str:
    if shutil.which("apt-get") is None:
        pytest.skip("client-go comes from Debian's sources")
    running.kubectl("apply", "-f", "-", stdin=CRD)
    running.kubectl("wait", "--for=condition=Established", "crd/boats.go.example.com", "--timeout=30s")
    return go_program(Path(__file__).parent / "go")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.long
def test_a_program_on_client_go(
    running: Cluster, program: str, namespace: str, pod: str, echo_port: int, check: str
) -> None:
    ran = running.run(program, str(running.kubeconfig), namespace, check, str(echo_port))
    assert (ran.returncode, ran.stdout) == (0, "ok\n"), ran.stderr
