"""Rows 13 and 14 of the walk: nodes described, and one of them lost for a while."""

import re
from contextlib import suppress

import docker
import pytest

from .composing import compose


def test_nodes_tell_what_they_are(everywhere, lab):
    everywhere("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=30s")
    header, *rows = everywhere("get", "nodes", "-o", "wide").splitlines()
    columns = "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME"
    assert " ".join(header.split()) == columns
    fields = [re.split(r"\s{2,}", row.strip()) for row in rows]
    assert [row[0] for row in fields] == ["node1", "node2", "node3"]
    assert {row[1] for row in fields} == {"Ready"}
    assert [row[5] for row in fields] == [f"{lab.network}.{100 + n}" for n in (1, 2, 3)]
    assert all(row[-1].startswith("docker://") for row in fields)


def test_describe_tells_conditions_capacity_and_pods(everywhere, kubectl):
    pod = """{apiVersion: v1, kind: Pod, metadata: {name: asks}, spec: {nodeName: node1, containers: [
        {name: c, image: "hewon16/image1:1", resources: {requests: {cpu: 100m, memory: 64Mi}}}]}}"""
    kubectl("apply", "-f", "-", stdin=pod)
    kubectl("wait", "--for=condition=Ready", "pod/asks", "--timeout=30s")
    told = everywhere("describe", "node", "node1")
    for section in ("Conditions:", "Addresses:", "Capacity:", "Allocatable:", "System Info:", "Non-terminated Pods:"):
        assert section in told
    for line in ("Ready +True +", "MemoryPressure +False", "Hostname: +node1", "Container Runtime Version: +docker://"):
        assert re.search(line, told), line
    row = re.search(rf"{kubectl.namespace} +asks +(.*)", told)
    assert row
    assert row[1].split()[0] == "100m"
    assert "64Mi" in row[1]


@pytest.fixture
def node3_returns(lab):
    yield
    compose(lab, "up", "--detach", "--pull", "never", "node3", "node3-kubelet", "node3-kube-proxy")


@pytest.mark.usefixtures("node3_returns")
def test_a_lost_node_is_noticed_and_cleans_up_when_it_returns(everywhere, kubectl, manifests, running, lab, containers):
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    pods = {pod["spec"]["nodeName"]: pod for pod in running(3)}
    lost = pods["node3"]
    compose(lab, "stop", "node3-kubelet", "node3-kube-proxy", "node3")
    everywhere("wait", "node/node3", "--for=condition=Ready=Unknown", "--timeout=50s")
    assert "NotReady" in everywhere("get", "node", "node3")

    def without_the_lost(slices):
        endpoints = [e for s in slices.values() for e in s.get("endpoints") or []]
        return lost["status"]["podIP"] not in {
            a for e in endpoints if e["conditions"].get("ready") for a in e["addresses"]
        }

    kubectl.until(without_the_lost, "endpointslices", "-l", "kubernetes.io/service-name=test-svc")
    kubectl("delete", "pod", lost["metadata"]["name"], "--force", "--grace-period=0")
    replaced = running(3)
    assert {pod["spec"]["nodeName"] for pod in replaced} == {"node1", "node2"}
    compose(lab, "start", "node3", "node3-kubelet", "node3-kube-proxy")
    everywhere("wait", "node/node3", "--for=condition=Ready", "--timeout=60s")
    for container in containers(io__kubernetes__pod__uid=lost["metadata"]["uid"]):
        with suppress(docker.errors.NotFound):
            container.wait(condition="removed", timeout=60)
    assert containers(io__kubernetes__pod__uid=lost["metadata"]["uid"]) == []
