"""A lab in a file: saved while it runs, and made again from nothing but the file."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from wherry import cleaning, snapshots
from wherry.kubectl import Kubectl
from wherry.troubles import Trouble

WRITER = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: notes}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: swordfish}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "hewon16/image1:1", volumeMounts: [{name: notes, mountPath: /notes}]}
  volumes: [{name: notes, persistentVolumeClaim: {claimName: notes}}]
"""
KINDS = ("namespaces", "services", "deployments", "replicasets", "pods", "secrets", "persistentvolumeclaims")


def test_a_saved_lab_is_restored_with_its_pods_and_their_data(lab, kubectl, node, manifests, tmp_path):
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml", "-f", "-", stdin=WRITER)
    kubectl("rollout", "status", "deployment/test1", "--timeout=60s")
    kubectl("wait", "--for=condition=Ready", "pod/writer", "--timeout=60s")
    kubectl("exec", "writer", "--", "sh", "-c", "echo remembered > /notes/note")

    def uids():
        # Namespaces of other tests are on their way out.
        metadata = {kind: [o["metadata"] for o in kubectl.json("get", kind)["items"]] for kind in KINDS}
        return {kind: {m["uid"] for m in found if "deletionTimestamp" not in m} for kind, found in metadata.items()}

    def container():
        statuses = kubectl.json("get", "pod", "writer")["status"]["containerStatuses"]
        return statuses[0]["containerID"] if statuses[0]["ready"] else ""

    before, old = uids(), container()
    file = tmp_path / "lab.snapshot"
    assert snapshots.save_main(lab, file, volumes=True) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert container() == old  # nothing of the running lab was touched
    kubectl("create", "configmap", "later")

    with pytest.raises(Trouble, match="there is a lab of the name"):
        snapshots.restore(lab, file, force=False)
    assert uids() == before

    cleaning.down(lab, keep_data=False)
    assert snapshots.restore_main(lab, file, force=False) == 0
    assert uids() == before
    assert "later" not in kubectl("get", "configmaps", "-o", "name")
    kubectl("rollout", "status", "deployment/test1", "--timeout=60s")
    kubectl.until(lambda _: container() not in ("", old), "pods")
    assert kubectl("exec", "writer", "--", "cat", "/notes/note") == "remembered\n"
    assert kubectl("get", "secret", "word", "-o", "jsonpath={.data.word}") == "c3dvcmRmaXNo"
    address = kubectl("get", "service", "test-svc", "-o", "jsonpath={.spec.clusterIP}")
    assert node("node1").ask(f"http://{address}/")


@pytest.mark.long
def test_a_lab_is_restored_under_another_name_in_other_directories(lab, kubectl, tmp_path):
    """As on another machine: nothing of the first lab is there but its network."""
    kubectl("apply", "-f", "-", stdin=WRITER)
    kubectl("wait", "--for=condition=Ready", "pod/writer", "--timeout=60s")
    kubectl("exec", "writer", "--", "sh", "-c", "echo remembered > /notes/note")
    uid = kubectl.json("get", "pod", "writer")["metadata"]["uid"]
    file = tmp_path / "lab.snapshot"
    assert snapshots.save_main(lab, file, volumes=True) == 0
    elsewhere = replace(lab, name=f"{lab.name}-moved", state=tmp_path / "state", data=Path(f"{lab.data}-moved"))
    with pytest.raises(Trouble, match=r"the snapshot is of a lab in .*, and this one is in 10\.255\.0\.0/24"):
        snapshots.restore(replace(elsewhere, network="10.255.0"), file, force=False)
    cleaning.down(lab, keep_data=False)
    try:
        assert snapshots.restore_main(elsewhere, file, force=False) == 0
        moved = Kubectl(elsewhere, kubectl.namespace)
        moved.until(lambda pods: pods["writer"]["status"]["containerStatuses"][0]["ready"], "pods")
        assert moved.json("get", "pod", "writer")["metadata"]["uid"] == uid
        assert moved("exec", "writer", "--", "cat", "/notes/note") == "remembered\n"
    finally:
        cleaning.down(elsewhere, keep_data=False)
        assert snapshots.restore_main(lab, file, force=False) == 0
