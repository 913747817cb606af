"""NodeRestriction: what a kubelet may write, of that which it may write at all.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from collections.abc import Callable, Mapping
from typing import Any

from api import errors, kinds
from api.errors import Forbidden
from api.kinds import Kind
from api.types import (
    CertificateSigningRequest,
    CSINode,
    Lease,
    Node,
    PersistentVolumeClaim,
    Pod,
    ResourceSlice,
    TokenRequest,
)
from apiserver.admission.reading import Reader
from apiserver.authorization.nodes import LEASES as LEASE_NAMESPACE
from apiserver.authorization.nodes import MIRROR, PREFIX, node_of, references
from apiserver.requests import Request
from apiserver.rules.validation.certificates import Unusable, parse, subject

NODES, PODS, LEASES, CLAIMS, CSI_NODES, SLICES, SIGNING = (
    kinds.of(t) for t in (Node, Pod, Lease, PersistentVolumeClaim, CSINode, ResourceSlice, CertificateSigningRequest)
)
RESTRICTED = "node-restriction.kubernetes.io"
RESERVED = ("kubernetes.io", "k8s.io")
OWN_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/windows-build",
    }
)  # fmt: skip
KUBELET_SIGNERS = ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving")


class NodeRestriction:
    """`reader` shows the nodes, to tell a mirror pod's owner from its predecessor."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rules: Mapping[Kind, Callable[[Request, str, Any, Any], str]] = {
            PODS: self._pod, NODES: _node, CLAIMS: _claim, LEASES: _lease, CSI_NODES: _csi_node, SLICES: _slice,
            SIGNING: _signing_request,
        }  # fmt: skip

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        """Raises Forbidden."""
        node = node_of(request.user)
        if not node:
            return
        if request.subresource == "token" and isinstance(obj, TokenRequest):
            why = self._token(request, node, obj)
        elif (rule := self._rules.get(request.kind)) is not None:
            why = rule(request, node, obj, old)
        else:
            return
        if why:
            raise _refusal(request, why)

    def _token(self, request: Request, node: str, wanted: TokenRequest) -> str:
        ref = wanted.spec.boundObjectRef
        if ref is None or ref.apiVersion != "v1" or ref.kind != "Pod" or not ref.name:
            return "node requested token not bound to a pod"
        if not ref.uid:
            return "node requested token with a pod binding without a uid"
        pod = self._reader.get_cached(PODS, request.namespace, ref.name)
        if pod is None:
            raise errors.not_found("pods", ref.name)
        if pod.metadata.uid != ref.uid:
            return (
                f"the UID in the bound object reference ({ref.uid}) does not match the UID in record. The object might "
                "have been deleted and then recreated"
            )
        if pod.spec.nodeName != node:
            return "node requested token bound to a pod scheduled on a different node"
        return ""

    def _pod(self, request: Request, node: str, obj: Any, old: Any) -> str:
        own = (old if old is not None else obj).spec.nodeName == node if isinstance(old or obj, Pod) else True
        match request.subresource, request.verb:
            case "", "create":
                return self._new_pod(node, obj)
            case "", "delete":
                return "" if own else f'node "{node}" can only delete pods with spec.nodeName set to itself'
            case "", verb:
                operation = "DELETE" if verb == "deletecollection" else "UPDATE"
                return f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods'
            case "status", _:
                return _pod_status(node, obj, old)
            case "eviction", _:
                pod = self._reader.get_cached(PODS, request.namespace, request.name)
                away = pod is not None and pod.spec.nodeName != node
                return f"node {node} can only evict pods with spec.nodeName set to itself" if away else ""
            case subresource, _:
                return f"unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed"

    def _new_pod(self, node: str, pod: Pod) -> str:
        if MIRROR not in pod.metadata.annotations:
            return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
        if pod.spec.nodeName != node:
            return f'node "{node}" can only create pods with spec.nodeName set to itself'
        if why := self._owner(node, pod):
            return why
        if pod.spec.serviceAccountName:
            return f'node "{node}" can not create pods that reference a service account'
        named = {resource for resource, _, _ in references(pod, mirrors=True)}
        for resource in ("secrets", "configmaps", "persistentvolumeclaims"):
            if resource in named:
                return f'node "{node}" can not create pods that reference {resource}'
        if pod.spec.resourceClaims:
            return f'node "{node}" can not create pods that reference resourceclaims'
        return ""

    def _owner(self, node: str, pod: Pod) -> str:
        owners = pod.metadata.ownerReferences
        if len(owners) > 1:
            return f'node "{node}" can only create pods with a single owner reference set to itself'
        if not owners or (owners[0].apiVersion, owners[0].kind, owners[0].name) != ("v1", "Node", node):
            return f'node "{node}" can only create pods with an owner reference set to itself'
        [owner] = owners
        if not owner.controller:
            return f'node "{node}" can only create pods with a controller owner reference set to itself'
        if owner.blockOwnerDeletion:
            return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
        present = self._reader.get_cached(NODES, "", node)
        if present is None:
            raise errors.not_found("nodes", node)
        if owner.uid != present.metadata.uid:
            return f"node {node} UID mismatch: expected {owner.uid} got {present.metadata.uid}"
        return ""


def _pod_status(node: str, new: Any, old: Any) -> str:
    if old is None:
        return 'unexpected operation "CREATE"'
    if old.spec.nodeName != node:
        what = "can only update pod status for pods with spec.nodeName set to itself"
        return f'node "{node}" {what}'
    if new.metadata.labels != old.metadata.labels:
        return f'node "{node}" cannot update labels through pod status'
    if new.status.resourceClaimStatuses != old.status.resourceClaimStatuses:
        return f'node "{node}" cannot update resource claim statues'
    if new.status.extendedResourceClaimStatus != old.status.extendedResourceClaimStatus:
        return f'node "{node}" cannot update extended resource claim status'
    return ""


def _node(request: Request, node: str, new: Any, old: Any) -> str:
    name = request.name or (new.metadata.name if new is not None else "")
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if new is None:
        return ""
    before = old.metadata.labels if old is not None else {}
    changed = {k for k in {*new.metadata.labels, *before} if new.metadata.labels.get(k) != before.get(k)}
    forbidden = ", ".join(sorted(label for label in changed if _is_forbidden(label)))
    if old is None:
        if new.spec.configSource is not None:
            return f'node "{node}" is not allowed to create pods with a non-nil configSource'
        return f'node "{node}" is not allowed to set the following labels: {forbidden}' if forbidden else ""
    if new.spec.configSource is not None and new.spec.configSource != old.spec.configSource:
        return f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
    if new.spec.taints != old.spec.taints:
        return f'node "{node}" is not allowed to modify taints'
    if new.metadata.ownerReferences != old.metadata.ownerReferences:
        return f'node "{node}" is not allowed to modify ownerReferences'
    return f"is not allowed to modify labels: {forbidden}" if forbidden else ""


def _is_forbidden(label: str) -> bool:
    """A node must not steer workloads to itself that others keep away by labels of their choosing."""
    domain, slash, _ = label.partition("/")
    if not slash:
        return False
    if _within(domain, RESTRICTED):
        return True
    if not any(_within(domain, reserved) for reserved in RESERVED):
        return False
    return label not in OWN_LABELS and not any(_within(domain, own) for own in OWN_NAMESPACES)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _claim(request: Request, node: str, new: Any, old: Any) -> str:
    if request.subresource != "status":
        return "may only update PVC status"
    if old is None or new is None:
        return f'unexpected operation "{request.verb.upper()}"'
    if _rest(new) != _rest(old):
        return f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions'
    return ""


def _rest(claim: Any) -> tuple[Any, ...]:
    metadata, status = claim.metadata, claim.status
    return (
        metadata.labels, metadata.annotations, metadata.finalizers, metadata.ownerReferences, claim.spec,
        status.accessModes, status.phase, status.currentVolumeAttributesClassName, status.modifyVolumeStatus,
    )  # fmt: skip


def _lease(request: Request, node: str, new: Any, old: Any) -> str:
    if request.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    name = new.metadata.name if old is None and new is not None else request.name
    return "" if name == node else "can only access node lease with the same name as the requesting node"


def _csi_node(request: Request, node: str, new: Any, old: Any) -> str:
    name = new.metadata.name if old is None and new is not None else request.name
    return "" if name == node else "can only access CSINode with the same name as the requesting node"


def _slice(request: Request, node: str, new: Any, old: Any) -> str:
    if old is None and new is not None and new.spec.nodeName != node:
        return "can only create ResourceSlice with the same NodeName as the requesting node"
    if new is None and old is not None and old.spec.nodeName != node:
        return "can only delete ResourceSlice with the same NodeName as the requesting node"
    return ""


def _signing_request(request: Request, node: str, new: Any, old: Any) -> str:
    """A kubelet asks for its own certificates only."""
    if old is not None or new is None or new.spec.signerName not in KUBELET_SIGNERS:
        return ""
    try:
        name = subject(parse(new.spec.request))
    except Unusable as e:
        return f"unable to parse csr: {e}"
    return "" if name == PREFIX + node else f"can only create a node CSR with CN={PREFIX}{node}"


def _refusal(request: Request, why: str) -> Forbidden:
    resource = request.kind.group_resource
    if request.subresource:
        resource = f"{request.kind.plural}/{request.subresource}"
    return errors.forbidden(resource, request.name, why)
