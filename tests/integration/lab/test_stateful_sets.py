"""Stateful sets on real containers."""

import pytest

SET = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "hewon16/image1:1"}]
"""


@pytest.fixture
def three(kubectl, running):
    kubectl("apply", "-f", "-", stdin=SET)
    kubectl("rollout", "status", "statefulset/web", "--timeout=60s")
    return running(3, "app=web")


def images(pods):
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in pods}


def revisions(kubectl):
    told = kubectl("rollout", "history", "statefulset/web").splitlines()
    return [line.split()[0] for line in told if line[:1].isdigit()]


def test_pods_have_lasting_names_and_know_them(three, kubectl, node):
    assert {p["metadata"]["name"]: p["spec"]["hostname"] for p in three} == {f"web-{n}": f"web-{n}" for n in range(3)}
    old = next(p["metadata"]["uid"] for p in three if p["metadata"]["name"] == "web-1")
    kubectl("delete", "pod", "web-1", "--wait=false")
    kubectl.until(lambda pods: "web-1" in pods and pods["web-1"]["metadata"]["uid"] != old, "pods", "-l", "app=web")
    header, row = kubectl("get", "sts").splitlines()
    assert header.split() == ["NAME", "READY", "AGE"]
    assert row.split()[0] == "web"


def test_scaling_down_takes_the_highest_and_up_brings_it_back(three, kubectl, running):
    assert kubectl("scale", "statefulset/web", "--replicas=1") == "statefulset.apps/web scaled\n"
    assert list(images(running(1, "app=web"))) == ["web-0"]
    kubectl("scale", "statefulset/web", "--replicas=2")
    assert sorted(images(running(2, "app=web"))) == ["web-0", "web-1"]


def test_an_update_history_and_undo(three, kubectl, running):
    kubectl("set", "image", "statefulset/web", "main=hewon16/image1:2")
    told = kubectl("rollout", "status", "statefulset/web", "--timeout=60s")
    assert told.endswith("partitioned roll out complete: 3 new pods have been updated...\n")
    assert set(images(running(3, "app=web")).values()) == {"hewon16/image1:2"}
    assert revisions(kubectl) == ["1", "2"]
    assert kubectl("rollout", "undo", "statefulset/web") == "statefulset.apps/web rolled back\n"
    kubectl("rollout", "status", "statefulset/web", "--timeout=60s")
    assert set(images(running(3, "app=web")).values()) == {"hewon16/image1:1"}
    assert revisions(kubectl) == ["2", "3"]


def test_what_lasts_cannot_be_changed(three, kubectl):
    refused = kubectl.run("patch", "statefulset", "web", "--patch", '{"spec": {"serviceName": "other"}}')
    assert refused.returncode == 1
    assert "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template'," in refused.stderr
