import json
from typing import Any

import msgspec
import pytest

from api import kinds, meta
from api.pod_defaults import pull_policy
from api.types import Pod
from apiserver.rules import decode, default
from tests.unit.apiserver.rules.manifests import DROP, MANIFESTS, changed


def defaulted(name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    manifest = changed(MANIFESTS[name], changes or {})
    kind = kinds.by_name(manifest["apiVersion"], manifest["kind"])
    obj, _ = decode(kind, json.dumps(manifest).encode())
    default(kind, obj)
    return msgspec.json.decode(meta.encode(obj))


CONTAINER = {
    "name": "c", "image": "i:1", "imagePullPolicy": "IfNotPresent", "resources": {},
    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
}  # fmt: skip
SPEC = {
    "containers": [CONTAINER], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
    "securityContext": {}, "terminationGracePeriodSeconds": 30,
}  # fmt: skip


def test_a_pod():
    found = defaulted("Pod")
    assert found["spec"] == SPEC | {"enableServiceLinks": True}
    assert found["status"]["phase"] == "Pending"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("i", "Always"), ("i:latest", "Always"), ("i:1", "IfNotPresent"), ("h:5000/i", "Always"), ("h:5000/i:2", "IfNotPresent"),
        ("i@sha256:" + "0" * 64, "IfNotPresent"), ("i:1@sha256:" + "0" * 64, "IfNotPresent"), ("", "Always"),
    ],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(image, policy):
    assert pull_policy(image) == policy


def test_what_is_limited_is_requested_in_pods_and_not_in_templates():
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    pod = defaulted("Pod", {"spec/containers/0/resources": limits})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    template = defaulted("ReplicaSet", {"spec/template/spec/containers/0/resources": limits})
    assert template["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m"}


def test_less_than_no_grace_is_a_second_in_pods_and_kept_in_templates():
    assert defaulted("Pod", {"spec/terminationGracePeriodSeconds": -1})["spec"]["terminationGracePeriodSeconds"] == 1
    changes = {"spec/template/spec/terminationGracePeriodSeconds": -1}
    assert defaulted("Deployment", changes)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == -1


def test_ports_of_the_hosts_network_are_the_hosts():
    ports = {"spec/hostNetwork": True, "spec/containers/0/ports": [{"containerPort": 80}]}
    assert defaulted("Pod", ports)["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "hostPort": 80, "protocol": "TCP"}
    ]


def test_probes_and_hooks():
    parts = {"livenessProbe": {"httpGet": {"port": 80}}, "lifecycle": {"preStop": {"httpGet": {"port": 80}}}}
    found = defaulted("Pod", {f"spec/containers/0/{k}": v for k, v in parts.items()})["spec"]["containers"][0]
    http = {"path": "/", "port": 80, "scheme": "HTTP"}
    assert found["livenessProbe"] == {
        "failureThreshold": 3,
        "httpGet": http,
        "periodSeconds": 10,
        "successThreshold": 1,
        "timeoutSeconds": 1,
    }
    assert found["lifecycle"] == {"preStop": {"httpGet": http}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"name": "s", "defaultMode": 0}}, {"configMap": {"name": "s", "defaultMode": 0}}),
        ({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {"projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"expirationSeconds": 3600, "path": "t"}}]}}),
        ({"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}, {"downwardAPI": {"defaultMode": 420, "items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}, "path": "p"}]}}),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
    ],
)  # fmt: skip
def test_volumes(source, expected):
    assert defaulted("Pod", {"spec/volumes": [{"name": "v"} | source]})["spec"]["volumes"] == [{"name": "v"} | expected]


def test_the_old_name_of_the_service_account_follows_the_new_one():
    assert {
        defaulted("Pod", {f"spec/{n}": "a"})["spec"][m]
        for n in ("serviceAccount", "serviceAccountName")
        for m in ("serviceAccount", "serviceAccountName")
    } == {"a"}


def test_a_deployment():
    spec = defaulted("Deployment")["spec"]
    assert spec.pop("template")["spec"] == SPEC
    assert spec == {
        "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10, "selector": {"matchLabels": {"app": "x"}},
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
    }  # fmt: skip


def test_zero_is_not_nothing():
    spec = defaulted(
        "Deployment",
        {"spec/replicas": 0, "spec/revisionHistoryLimit": 0, "spec/strategy/rollingUpdate": {"maxSurge": 0}},
    )["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["strategy"]["rollingUpdate"]) == (
        0,
        0,
        {"maxSurge": 0, "maxUnavailable": "25%"},
    )


def test_a_replication_controller_takes_labels_and_selector_from_its_template():
    found = defaulted("ReplicationController", {"spec/selector": DROP})
    assert (found["spec"]["selector"], found["metadata"]["labels"]) == ({"app": "x"}, {"app": "x"})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}),
        ({"spec/type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}),
        ({"spec/type": "LoadBalancer"}, {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True}),
        ({"spec/sessionAffinity": "ClientIP"}, {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
        ({"spec/ports": [{"port": 1, "targetPort": "web", "protocol": "UDP"}]}, {"ports": [{"port": 1, "targetPort": "web", "protocol": "UDP"}]}),
    ],
)  # fmt: skip
def test_services(changes, expected):
    spec = defaulted("Service", changes)["spec"]
    assert {k: spec[k] for k in expected} == expected


def test_small_kinds():
    assert defaulted("Namespace")["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert defaulted("Namespace")["status"] == {"phase": "Active"}
    assert defaulted("Node", {"status": {"capacity": {"cpu": "2"}}})["status"]["allocatable"] == {"cpu": "2"}
    secret = defaulted("Secret", {"stringData": {"a": "é"}, "data": {"b": "eA=="}})
    assert (secret["type"], secret["data"], "stringData" in secret) == ("Opaque", {"a": "w6k=", "b": "eA=="}, False)
    assert defaulted("Endpoints")["subsets"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert defaulted("EndpointSlice")["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert defaulted("RoleBinding")["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    assert defaulted("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]
    assert defaulted("NetworkPolicy", {"spec/egress": [{}]})["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert defaulted("PriorityClass")["preemptionPolicy"] == "PreemptLowerPriority"
    assert defaulted("StorageClass")["volumeBindingMode"] == "Immediate"
    assert defaulted("CronJob")["spec"]["successfulJobsHistoryLimit"] == 3
    assert defaulted("Job")["spec"]["backoffLimit"] == 6
    assert defaulted("DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert defaulted("StatefulSet")["spec"]["podManagementPolicy"] == "OrderedReady"


@pytest.mark.parametrize("name", MANIFESTS)
def test_defaults_given_twice_are_the_same(name):
    once = defaulted(name)
    kind = kinds.by_name(once["apiVersion"], once["kind"])
    obj, _ = decode(kind, json.dumps(once).encode(), validation="Strict")
    default(kind, obj)
    assert msgspec.json.decode(meta.encode(obj)) == once


def test_a_struct_that_was_never_decoded_can_be_defaulted():
    pod = Pod()
    default(kinds.of(Pod), pod)
    assert pod.spec.restartPolicy == "Always"
