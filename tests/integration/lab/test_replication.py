"""Rows 3, 4 and 5 of the walk: controllers that keep a number of pods."""

import re

MATCHING = """
apiVersion: v1
kind: Pod
metadata: {name: orphan, labels: {app: test1}}
spec: {containers: [{name: test1, image: "hewon16/image1:1"}]}
"""


def controller_of(pod):
    owners = [o for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")]
    return (owners[0]["kind"], owners[0]["name"]) if owners else None


def names(pods):
    return {pod["metadata"]["name"] for pod in pods}


def test_a_replication_controller_makes_its_pods_and_scales(kubectl, manifests, running):
    assert kubectl("apply", "-f", f"{manifests}/rc.yaml") == "replicationcontroller/test1 created\n"
    pods = running(3)
    assert all(re.fullmatch(r"test1-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names(pods))
    kubectl("wait", "rc/test1", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=30s")
    header, row = kubectl("get", "rc").splitlines()
    assert header.split() == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert row.split()[:4] == ["test1", "3", "3", "3"]
    assert kubectl("scale", "rc", "test1", "--replicas=5") == "replicationcontroller/test1 scaled\n"
    assert names(pods) < names(running(5))
    kubectl("scale", "rc", "test1", "--replicas=2")
    running(2)


def test_a_deleted_pod_is_replaced_under_a_new_name(kubectl, manifests, running):
    kubectl("apply", "-f", f"{manifests}/rc.yaml")
    before = names(running(3))
    gone = min(before)
    kubectl("delete", "pod", gone)
    after = names(running(3))
    assert gone not in after
    assert len(after & before) == 2


def test_a_matching_orphan_is_adopted(kubectl, manifests, running):
    kubectl("apply", "-f", "-", stdin=MATCHING)
    kubectl("apply", "-f", f"{manifests}/rc.yaml")
    pods = running(3)
    assert "orphan" in names(pods)
    assert {controller_of(pod) for pod in pods} == {("ReplicationController", "test1")}


def test_a_relabelled_pod_is_released_and_replaced(kubectl, manifests, running):
    kubectl("apply", "-f", f"{manifests}/rc.yaml")
    freed = min(names(running(3)))
    kubectl("label", "pod", freed, "app=own", "--overwrite")
    assert freed not in names(running(3))
    [pod] = running(1, "app=own")
    assert controller_of(pod) is None


def test_orphaned_pods_are_adopted_by_a_replica_set_untouched(kubectl, manifests, running):
    kubectl("apply", "-f", f"{manifests}/rc.yaml")

    def containers(pods):
        return {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["containerID"] for p in pods}

    before = containers(running(3))
    kubectl("delete", "rc", "test1", "--cascade=orphan")
    assert {controller_of(pod) for pod in running(3)} == {None}
    assert kubectl("apply", "-f", f"{manifests}/rs.yaml") == "replicaset.apps/test1 created\n"
    owner = ("ReplicaSet", "test1")
    pods = kubectl.until(lambda pods: len(pods) == 3 and all(controller_of(p) == owner for p in pods.values()), "pods")
    assert containers(pods.values()) == before
    assert {p["status"]["containerStatuses"][0]["restartCount"] for p in pods.values()} == {0}


CANDIDATE = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec: {{containers: [{{name: test1, image: "hewon16/image1:1"}}]}}
---
"""
CANDIDATES = {
    "fits": "env: a, tier: web, zone: w",
    "no-zone": "env: b, tier: db",
    "other-env": "env: c, tier: web",
    "no-tier": "env: a",
    "legacy": 'env: a, tier: web, legacy: "1"',
    "zone-x": "env: a, tier: web, zone: x",
}


def test_set_based_selectors_choose_the_pods_they_should(kubectl, manifests):
    stdin = "".join(CANDIDATE.format(name=name, labels=labels) for name, labels in CANDIDATES.items())
    kubectl("apply", "-f", "-", stdin=stdin)
    kubectl("apply", "-f", f"{manifests}/rs-expressions.yaml")
    kubectl("wait", "rs/by-expression", "--for=jsonpath={.status.replicas}=2", "--timeout=30s")
    kubectl("wait", "rs/by-expression", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    pods = kubectl.json("get", "pods")["items"]
    assert {p["metadata"]["name"] for p in pods if controller_of(p)} == {"fits", "no-zone"}
    assert names(pods) == set(CANDIDATES)
    chosen = kubectl("get", "pods", "-o", "name", "-l", "env in (a,b),tier,!legacy,zone notin (x)")
    assert set(chosen.split()) == {"pod/fits", "pod/no-zone"}


def test_a_replication_controller_cannot_express_sets(kubectl):
    rc = """{apiVersion: v1, kind: ReplicationController, metadata: {name: by-expression}, spec: {
        selector: {matchExpressions: [{key: env, operator: Exists}]},
        template: {metadata: {labels: {env: a}}, spec: {containers: [{name: c, image: "busybox:1.35"}]}}}}"""
    ran = kubectl.run("apply", "-f", "-", stdin=rc)
    assert ran.returncode == 1
    assert "BadRequest" in ran.stderr
    assert kubectl.json("get", "rc")["items"] == []
