"""What kubelets may, and what only another node's may."""

from typing import Any

import pytest

from api import kinds, meta
from api.errors import Forbidden
from api.types import (
    BoundObjectReference,
    ConfigMap,
    Container,
    CSINode,
    CSIPersistentVolumeSource,
    Deployment,
    EnvFromSource,
    EphemeralVolumeSource,
    Lease,
    Node,
    NodeSpec,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodExtendedResourceClaimStatus,
    PodResourceClaim,
    PodResourceClaimStatus,
    PodSpec,
    ResourceSlice,
    ResourceSliceSpec,
    ResourceV1ResourceClaim,
    Secret,
    SecretEnvSource,
    SecretReference,
    SecretVolumeSource,
    Service,
    ServiceAccount,
    Taint,
    TokenRequest,
    TokenRequestSpec,
    Volume,
    VolumeAttachment,
    VolumeAttachmentSpec,
)
from apiserver.authorization.nodes import UNSELECTED, Nodes
from apiserver.authorization.restriction import NodeRestriction
from apiserver.requests import Request, User
from tests.unit.apiserver.admission.worlds import Memory

KUBELET = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
CLOSED = "no relationship found between node 'n1' and this object"


def pod(name: str, node: str = "n1", **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="ns", uid=f"uid-{name}"),
        spec=PodSpec(nodeName=node, serviceAccountName="robot", **spec),
    )


OWN = pod(
    "own",
    volumes=[
        Volume(name="v", secret=SecretVolumeSource(secretName="mounted")),
        Volume(name="c", persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName="claim")),
        Volume(name="e", ephemeral=EphemeralVolumeSource()),
    ],
    resourceClaims=[PodResourceClaim(name="r", resourceClaimName="device")],
    containers=[Container(name="c", envFrom=[EnvFromSource(secretRef=SecretEnvSource(name="env"))])],
)
OWN.status.resourceClaimStatuses = [PodResourceClaimStatus(name="t", resourceClaimName="generated")]
OWN.status.extendedResourceClaimStatus = PodExtendedResourceClaimStatus(resourceClaimName="extended")
OTHER = pod("other", "n2", volumes=[Volume(name="v", secret=SecretVolumeSource(secretName="elsewhere"))])

WORLD = Memory(
    OWN,
    OTHER,
    Node(metadata=ObjectMeta(name="n1", uid="node-uid")),
    PersistentVolumeClaim(
        metadata=ObjectMeta(name="claim", namespace="ns"), spec=PersistentVolumeClaimSpec(volumeName="volume")
    ),
    PersistentVolume(
        metadata=ObjectMeta(name="volume"),
        spec=PersistentVolumeSpec(
            claimRef=ObjectReference(namespace="ns", name="claim"),
            csi=CSIPersistentVolumeSource(nodeStageSecretRef=SecretReference(namespace="storage", name="staging")),
        ),
    ),
    VolumeAttachment(metadata=ObjectMeta(name="here"), spec=VolumeAttachmentSpec(nodeName="n1")),
    VolumeAttachment(metadata=ObjectMeta(name="there"), spec=VolumeAttachmentSpec(nodeName="n2")),
    ResourceSlice(metadata=ObjectMeta(name="here"), spec=ResourceSliceSpec(nodeName="n1")),
)


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
        (asked("watch", Secret, "", "ns", field_selector="metadata.name=mounted"), None),
        (asked("list", Secret, "", "ns", field_selector="metadata.name=elsewhere"), CLOSED),
        (asked("list", Secret), "can only read namespaced object of this type"),
        (asked("get", Secret, "staging", "storage"), None),
        (asked("delete", Secret, "mounted", "ns"), "can only read resources of this type"),
        (asked("get", PersistentVolumeClaim, "claim", "ns"), None),
        (asked("get", PersistentVolumeClaim, "own-e", "ns"), None),
        (asked("patch", PersistentVolumeClaim, "claim", "ns", subresource="status"), None),
        (asked("list", PersistentVolumeClaim, "", "ns"), "can only get individual resources of this type"),
        (asked("get", PersistentVolume, "volume"), None),
        (asked("get", PersistentVolume, "else"), CLOSED),
        (asked("get", ResourceV1ResourceClaim, "device", "ns"), None),
        (asked("get", ResourceV1ResourceClaim, "generated", "ns"), None),
        (asked("get", ResourceV1ResourceClaim, "extended", "ns"), None),
        (asked("get", ResourceV1ResourceClaim, "others", "ns"), CLOSED),
        (asked("list", ResourceV1ResourceClaim, "", "ns"), "can only get individual resources of this type"),
        (asked("get", VolumeAttachment, "here"), None),
        (asked("get", VolumeAttachment, "there"), CLOSED),
        (asked("update", CSINode, "n1"), None),
        (asked("update", CSINode, "n2"), "can only access CSINode with the same name as the requesting node"),
        (asked("update", ResourceSlice, "here"), None),
        (asked("list", ResourceSlice, field_selector="spec.nodeName=n1"), None),
        (asked("list", ResourceSlice), UNSELECTED),
        (asked("get", ServiceAccount, "robot", "ns"), None),
        (asked("delete", ServiceAccount, "robot", "ns", subresource="token"), "only the create verb is allowed for tokens"),
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
    nodes = Nodes(lambda node: [p for p in (OWN, OTHER) if p.spec.nodeName == node], WORLD)
    decision = nodes.decide(request_)
    assert (decision.allowed, decision.reason) == (why is None, why or "")


def test_nobody_else_is_a_kubelet() -> None:
    nodes = Nodes(lambda node: [], WORLD)
    for user in (User("system:node:n1"), User("n1", groups=("system:nodes",))):
        assert not nodes.decide(Request(user, "list", kinds.of(Service))).allowed


def mirror(**changes: Any) -> Pod:
    owner = OwnerReference(apiVersion="v1", kind="Node", name="n1", uid="node-uid", controller=True)
    metadata = {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]}
    metadata |= {key: changes.pop(key) for key in ("annotations", "ownerReferences") if key in changes}
    spec = PodSpec(**({"nodeName": "n1"} | changes))
    return Pod(metadata=ObjectMeta(name="m", namespace="ns", **metadata), spec=spec)


def node(name: str = "n1", labels: dict[str, str] | None = None, **spec: Any) -> Node:
    return Node(metadata=ObjectMeta(name=name, labels=labels or {}), spec=NodeSpec(**spec))


SECRET_VOLUME = [Volume(name="v", secret=SecretVolumeSource(secretName="s"))]
SELF = OwnerReference(apiVersion="v1", kind="Node", name="n1", uid="node-uid")


@pytest.mark.parametrize(
    ("verb", "obj", "old", "message"),
    [
        ("update", node("n2"), node("n2"), 'node "n1" is not allowed to modify node "n2"'),
        ("update", node(taints=[Taint(key="a")]), node(), 'node "n1" is not allowed to modify taints'),
        ("update", node(labels={"node-restriction.kubernetes.io/a": "b"}), node(), "is not allowed to modify labels: node-r"),
        ("update", node(), node(labels={"topology.k8s.io/a": "b"}), "is not allowed to modify labels: topology.k8s.io/a"),
        ("create", node(labels={"x.kubernetes.io/role": "b"}), None, "is not allowed to set the following labels: x.kub"),
        ("create", Lease(metadata=ObjectMeta(name="n2", namespace="kube-node-lease")), None, "can only access node lease with"),
        ("update", OTHER, OTHER, "can only create and delete mirror pods"),
        ("delete", None, OTHER, 'node "n1" can only delete pods with spec.nodeName set to itself'),
        ("create", OTHER, None, 'node "n1" can only create mirror pods'),
        ("create", mirror(nodeName="n2"), None, 'node "n1" can only create pods with spec.nodeName set to itself'),
        ("create", mirror(ownerReferences=[]), None, "can only create pods with an owner reference set to itself"),
        ("create", mirror(ownerReferences=[SELF]), None, "with a controller owner reference set to itself"),
        ("create", mirror(serviceAccountName="a"), None, "can not create pods that reference a service account"),
        ("create", mirror(volumes=SECRET_VOLUME), None, "can not create pods that reference secrets"),
        ("create", mirror(resourceClaims=[PodResourceClaim(name="r", resourceClaimTemplateName="t")]), None, "that reference resourceclaims"),
        ("create", CSINode(metadata=ObjectMeta(name="n2")), None, "can only access CSINode with the same name"),
        ("create", ResourceSlice(spec=ResourceSliceSpec(nodeName="n2")), None, "can only create ResourceSlice with the same"),
        ("create", PersistentVolumeClaim(), None, "may only update PVC status"),
    ],
)  # fmt: skip
async def test_a_kubelet_changes_its_own_node_and_pods_only(verb: str, obj: Any, old: Any, message: str) -> None:
    what = obj or old
    request = asked(verb, type(what), what.metadata.name, what.metadata.namespace)
    with pytest.raises(Forbidden, match=message):
        await NodeRestriction(WORLD).admit(request, obj, old)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resourceClaimStatuses": []}, "cannot update resource claim statues"),
        ({"extendedResourceClaimStatus": None}, "cannot update extended resource claim status"),
    ],
)
async def test_a_kubelet_does_not_choose_the_claims_of_its_pods(changes: dict[str, Any], message: str) -> None:
    changed = meta.clone(OWN)
    for field, value in changes.items():
        setattr(changed.status, field, value)
    with pytest.raises(Forbidden, match=message):
        await NodeRestriction(WORLD).admit(asked("update", Pod, "own", "ns", subresource="status"), changed, OWN)


@pytest.mark.parametrize(
    ("verb", "obj", "old", "more"),
    [
        ("update", OWN, OWN, {"subresource": "status"}),
        ("delete", None, OWN, {}),
        ("create", mirror(), None, {}),
        ("update", node(labels={"kubelet.kubernetes.io/a": "b", "own": "c"}), node(), {}),
        ("create", node(labels={"kubernetes.io/hostname": "n1"}, taints=[Taint(key="a")]), None, {}),
    ],
)
async def test_what_is_its_own_it_may_change(verb: str, obj: Any, old: Any, more: Any) -> None:
    what = obj or old
    request = asked(verb, type(what), what.metadata.name, what.metadata.namespace, **more)
    await NodeRestriction(WORLD).admit(request, obj, old)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (None, "node requested token not bound to a pod"),
        ({"kind": "Pod", "apiVersion": "v1", "name": "own"}, "requested token with a pod binding without a uid"),
        ({"kind": "Pod", "apiVersion": "v1", "name": "own", "uid": "x"}, "does not match the UID in record"),
        ({"kind": "Pod", "apiVersion": "v1", "name": "other", "uid": "uid-other"}, "scheduled on a different node"),
        ({"kind": "Pod", "apiVersion": "v1", "name": "own", "uid": "uid-own"}, ""),
    ],
)
async def test_a_kubelet_gets_tokens_of_its_own_pods_only(ref: Any, message: str) -> None:
    request = asked("create", ServiceAccount, "robot", "ns", subresource="token")
    spec = TokenRequestSpec(boundObjectRef=BoundObjectReference(**ref) if ref else None)
    if not message:
        await NodeRestriction(WORLD).admit(request, TokenRequest(spec=spec), None)
        return
    with pytest.raises(Forbidden, match=message):
        await NodeRestriction(WORLD).admit(request, TokenRequest(spec=spec), None)
