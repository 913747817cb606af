"""What kubelets may, and what only another node's may."""

from typing import Any

import pytest

from api import kinds
from api.errors import Forbidden
from api.types import (
    ConfigMap,
    Container,
    Deployment,
    EnvFromSource,
    Lease,
    Node,
    ObjectMeta,
    Pod,
    PodSpec,
    Secret,
    SecretEnvSource,
    SecretVolumeSource,
    Service,
    ServiceAccount,
    Volume,
)
from apiserver.authorization.escalation import NodeRestriction
from apiserver.authorization.nodes import Nodes
from apiserver.requests import Request, User

KUBELET = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
CLOSED = "no relationship found between node 'n1' and this object"


def pod(name: str, node: str = "n1", **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="ns", uid=f"uid-{name}"),
        spec=PodSpec(nodeName=node, serviceAccountName="robot", **spec),
    )


OWN = pod(
    "own",
    volumes=[Volume(name="v", secret=SecretVolumeSource(secretName="mounted"))],
    containers=[Container(name="c", envFrom=[EnvFromSource(secretRef=SecretEnvSource(name="env"))])],
)
OTHER = pod("other", "n2", volumes=[Volume(name="v", secret=SecretVolumeSource(secretName="elsewhere"))])


def asked(verb: str, what: type[Any], name: str = "", namespace: str = "", **more: Any) -> Request:
    return Request(KUBELET, verb, kinds.of(what), namespace, name, **more)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asked("get", Secret, "mounted", "ns"), None),
        (asked("get", Secret, "env", "ns"), None),
        (asked("get", Secret, "elsewhere", "ns"), CLOSED),
        (asked("get", Secret, "mounted", "other"), CLOSED),
        (asked("list", Secret, "", "ns"), "No Object name found"),
        (asked("get", ConfigMap, "x", "ns"), CLOSED),
        (asked("create", ServiceAccount, "robot", "ns", subresource="token"), None),
        (asked("create", ServiceAccount, "else", "ns", subresource="token"), CLOSED),
        (asked("list", Pod, field_selector="spec.nodeName=n1"), None),
        (asked("watch", Pod, field_selector="spec.nodeName=n2"), "can only list/watch pods with spec.nodeName field selector"),
        (asked("get", Pod, "own", "ns"), None),
        (asked("get", Pod, "other", "ns"), CLOSED),
        (asked("patch", Pod, "own", "ns", subresource="status"), None),
        (asked("delete", Pod, "own", "ns"), None),
        (asked("patch", Node, "n1", subresource="status"), None),
        (asked("list", Node), None),
        (asked("list", Service), None),
        (asked("patch", Lease, "n1", "kube-node-lease"), None),
        (asked("patch", Lease, "n2", "kube-node-lease"), "can only access node lease with the same name as the requesting node"),
        (asked("get", Lease, "n1", "kube-system"), 'can only access leases in the "kube-node-lease" system namespace'),
        (asked("list", Deployment), ""),
        (asked("delete", Node, "n1"), ""),
    ],
)  # fmt: skip
def test_a_kubelet_may_what_its_own_pods_need(request_: Request, why: str | None) -> None:
    nodes = Nodes(lambda node: [p for p in (OWN, OTHER) if p.spec.nodeName == node])
    decision = nodes.decide(request_)
    assert (decision.allowed, decision.reason) == (why is None, why or "")


def test_nobody_else_is_a_kubelet() -> None:
    nodes = Nodes(lambda node: [])
    for user in (User("system:node:n1"), User("n1", groups=("system:nodes",))):
        assert not nodes.decide(Request(user, "list", kinds.of(Service))).allowed


@pytest.mark.parametrize(
    ("verb", "obj", "message"),
    [
        ("update", Node(metadata=ObjectMeta(name="n2")), 'node "n1" is not allowed to modify node "n2"'),
        ("create", Lease(metadata=ObjectMeta(name="n2")), "can only access node lease with the same name"),
        ("update", OTHER, 'node "n1" can only update pod status for pods with spec.nodeName set to itself'),
        ("delete", OTHER, 'node "n1" can only delete pods with spec.nodeName set to itself'),
        ("create", OTHER, 'node "n1" can only create pods with spec.nodeName set to itself'),
    ],
)
async def test_a_kubelet_changes_its_own_node_and_pods_only(verb: str, obj: Any, message: str) -> None:
    old = None if verb == "create" else obj
    with pytest.raises(Forbidden, match=message):
        await NodeRestriction().admit(asked(verb, type(obj), obj.metadata.name), obj if verb != "delete" else None, old)
    await NodeRestriction().admit(asked("update", Pod, "own", "ns", subresource="status"), OWN, OWN)
