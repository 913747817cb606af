"""Daemon sets on real containers."""

import pytest

SET = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "hewon16/image1:1"}]
"""
NODES = {"node1", "node2", "node3"}


@pytest.fixture
def deployed(kubectl, running):
    kubectl("apply", "-f", "-", stdin=SET)
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    return running(3, "app=agent")


def places(pods):
    return sorted(p["spec"]["nodeName"] for p in pods)


def test_every_node_gets_a_pod_also_one_that_is_cordoned(kubectl, running):
    kubectl("cordon", "node2")
    try:
        kubectl("apply", "-f", "-", stdin=SET)
        assert places(running(3, "app=agent")) == sorted(NODES)
    finally:
        kubectl("uncordon", "node2")
    kubectl("wait", "ds/agent", "--for=jsonpath={.status.numberAvailable}=3", "--timeout=30s")
    header, row = kubectl("get", "ds").splitlines()
    assert header.split()[:6] == ["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE"]
    assert row.split()[:7] == ["agent", "3", "3", "3", "3", "3", "<none>"]


def test_an_update_history_and_undo(deployed, kubectl, running):
    kubectl("set", "image", "daemonset/agent", "main=hewon16/image1:2")
    told = kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert told.endswith('daemon set "agent" successfully rolled out\n')
    pods = running(3, "app=agent")
    assert {p["spec"]["containers"][0]["image"] for p in pods} == {"hewon16/image1:2"}
    assert places(pods) == sorted(NODES)
    assert kubectl("rollout", "undo", "daemonset/agent") == "daemonset.apps/agent rolled back\n"
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert {p["spec"]["containers"][0]["image"] for p in running(3, "app=agent")} == {"hewon16/image1:1"}
    told = kubectl("rollout", "history", "daemonset/agent").splitlines()
    assert [line.split()[0] for line in told if line[:1].isdigit()] == ["2", "3"]


def test_a_node_that_is_not_selected_any_more_loses_its_pod(deployed, kubectl, running):
    kubectl("label", "nodes", "node1", "node3", "agent=yes")
    try:
        kubectl(
            "patch", "ds", "agent", "--patch", '{"spec": {"template": {"spec": {"nodeSelector": {"agent": "yes"}}}}}'
        )
        assert places(running(2, "app=agent")) == ["node1", "node3"]
        kubectl("label", "node", "node3", "agent-")
        assert places(running(1, "app=agent")) == ["node1"]
    finally:
        kubectl("label", "nodes", "node1", "node3", "agent-")
