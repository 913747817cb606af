"""Claims on real containers: data that outlives pods, and goes with its claim."""

import time

import pytest

SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: "hewon16/image1:1"
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""
EPHEMERAL = """
apiVersion: v1
kind: Pod
metadata: {name: scratch}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "hewon16/image1:1"
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    ephemeral:
      volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}
"""


def volume_of(kubectl, claim):
    bound = kubectl.until(lambda c: c.get(claim, {}).get("status", {}).get("phase") == "Bound", "pvc")
    return bound[claim]["spec"]["volumeName"]


@pytest.fixture
def data(lab):
    """Where the data of a volume is, on whichever node."""
    return lambda volume: list(lab.data.glob(f"kubelet/*/volumes/{volume}"))


def gone(kubectl, data, volume):
    """The volume's object goes first, then its data; nobody tells when a directory has gone."""
    kubectl("wait", "--for=delete", f"pv/{volume}", "--timeout=30s")
    deadline = time.monotonic() + 5
    while data(volume) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not data(volume)


def test_a_stateful_sets_next_pod_finds_what_the_last_one_wrote(kubectl, running, data):
    kubectl("apply", "-f", "-", stdin=SET)
    (pod,) = running(1, "app=db")
    kubectl("exec", "db-0", "--", "sh", "-c", "echo kept > /data/file")
    kubectl("delete", "pod", "db-0")
    (again,) = running(1, "app=db")
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]
    assert again["spec"]["nodeName"] == pod["spec"]["nodeName"]
    assert kubectl("exec", "db-0", "--", "cat", "/data/file") == "kept\n"
    volume = volume_of(kubectl, "data-db-0")
    (path,) = data(volume)
    assert (path / "file").read_text() == "kept\n"
    kubectl("delete", "statefulset", "db")
    kubectl("wait", "--for=delete", "pod/db-0", "--timeout=30s")
    assert kubectl("get", "pvc", "-o", "name") == "persistentvolumeclaim/data-db-0\n"
    kubectl("delete", "pvc", "data-db-0", "--timeout=30s")
    assert gone(kubectl, data, volume)


def test_a_claim_in_use_stays_until_its_pod_has_gone(kubectl, running):
    kubectl("apply", "-f", "-", stdin=SET)
    running(1, "app=db")
    kubectl("delete", "pvc", "data-db-0", "--wait=false")
    claims = kubectl.until(lambda c: "deletionTimestamp" in c["data-db-0"]["metadata"], "pvc")
    assert claims["data-db-0"]["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert running(1, "app=db")
    kubectl("delete", "statefulset", "db")
    kubectl("wait", "--for=delete", "pvc/data-db-0", "--timeout=30s")


def test_an_ephemeral_volume_goes_with_its_pod(kubectl, data):
    kubectl("apply", "-f", "-", stdin=EPHEMERAL)
    kubectl("wait", "--for=condition=Ready", "pod/scratch", "--timeout=60s")
    volume = volume_of(kubectl, "scratch-data")
    assert data(volume)
    kubectl("delete", "pod", "scratch", "--timeout=30s")
    kubectl("wait", "--for=delete", "pvc/scratch-data", "--timeout=30s")
    assert gone(kubectl, data, volume)
