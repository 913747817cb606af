"""Kubelets: what the role system:node says, but of secrets, config maps and the like only what their pods refer to.

https://kubernetes.io/docs/reference/access-authn-authz/node/

Unlike upstream's, a kubelet may see every Node, for the others' addresses are in its routes, and may follow the volumes
of this project's own kind that are on it, to remove the data of those that are gone.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from api import kinds
from api.kinds import Kind
from api.types import (
    Container,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PolicyRule,
    ResourceSlice,
    VolumeAttachment,
)
from api.volumes import NODE_LABEL
from apiserver.admission.reading import Reader
from apiserver.authorization.deciding import NO, YES, Authorizer, Decision
from apiserver.authorization.defaults import cluster_roles
from apiserver.authorization.rights import Grant, Rights
from apiserver.requests import Request, User

PODS, CLAIMS, VOLUMES, ATTACHMENTS, SLICES = (
    kinds.of(t) for t in (Pod, PersistentVolumeClaim, PersistentVolume, VolumeAttachment, ResourceSlice)
)
GROUP, PREFIX = "system:nodes", "system:node:"
LEASES = "kube-node-lease"
MIRROR = "kubernetes.io/config.mirror"
GROUPS = ("", "coordination.k8s.io", "storage.k8s.io", "resource.k8s.io")
REFERRED = frozenset(
    {"secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts", "resourceclaims"}
)
LISTED = frozenset({"secrets", "configmaps"})
"""Which of them a kubelet may also list and watch, one at a time."""
READING = frozenset({"get", "list", "watch"})
UNSELECTED = "can only list/watch/deletecollection resourceslices with spec.nodeName field selector"
Reference = tuple[str, str, str]
"""resource, namespace, name"""


def node_of(user: User) -> str:
    """The node whose kubelet the user is, "" if it is none."""
    return user.name.removeprefix(PREFIX) if user.name.startswith(PREFIX) and GROUP in user.groups else ""


def _keeps(request: Request, node: str) -> bool:
    """Whether it looks for the volumes whose data it keeps: to remove the data of those that are gone."""
    if request.path or (request.kind.group, request.kind.plural) != ("", "persistentvolumes") or request.name:
        return False
    return request.verb in ("list", "watch") and request.label_selector == f"{NODE_LABEL}={node}"


class Nodes(Authorizer):
    """`pods_on` gives the pods bound to a node, as the cache has them; `reader` the rest."""

    def __init__(self, pods_on: Callable[[str], Iterable[Pod]], reader: Reader) -> None:
        self._pods_on = pods_on
        self._reader = reader
        role = next(role for role in cluster_roles() if role.metadata.name == "system:node")
        self._rights = Rights([Grant(rule, "") for rule in role.rules], {}, {})
        self._referred: dict[str, tuple[Pod, frozenset[Reference]]] = {}

    def decide(self, request: Request) -> Decision:
        node = node_of(request.user)
        if not node:
            return NO
        if _keeps(request, node):
            return YES
        if not request.path and request.kind.group in GROUPS and (why := self._refused(request, node)):
            return Decision(False, why)
        return YES if self._rights.decide(request).allowed else NO

    def rules(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        """What a kubelet may depends on its pods: that cannot be listed."""
        return [], ["node authorizer does not support user rule resolution"] if node_of(user) else []

    def _refused(self, request: Request, node: str) -> str:
        resource = request.kind.plural
        if resource == "leases":
            if request.namespace != LEASES:
                return f'can only access leases in the "{LEASES}" system namespace'
            if request.verb != "create" and request.name != node:
                return "can only access node lease with the same name as the requesting node"
        elif resource == "pods" and request.verb in READING and not request.subresource:
            return self._pod_refused(request, node)
        elif resource in REFERRED:
            return self._reference_refused(request, node)
        elif resource in ("csinodes", "volumeattachments", "resourceslices"):
            return self._own_refused(request, node)
        return ""

    def _reference_refused(self, request: Request, node: str) -> str:
        resource, subresource, verb = request.kind.plural, request.subresource, request.verb
        if resource == "serviceaccounts" and subresource == "token":
            if verb != "create":
                return "only the create verb is allowed for tokens"
        elif resource == "persistentvolumeclaims" and subresource:
            if subresource != "status":
                return "can only update status subresource"
        elif subresource:
            return "cannot read subresource" if resource in LISTED else "cannot get subresource"
        elif resource in LISTED:
            if verb not in READING:
                return "can only read resources of this type"
            if not request.namespace:
                return "can only read namespaced object of this type"
        elif verb != "get":
            return "can only get individual resources of this type"
        name = request.asked_name
        if not name:
            return "No Object name found"
        return "" if self._refers(node, (resource, request.namespace, name)) else unrelated(node)

    def _own_refused(self, request: Request, node: str) -> str:
        """Of what is not in pods but names its node."""
        match request.kind.plural:
            case "csinodes":
                if request.subresource:
                    return "cannot access CSINode subresources"
                own = request.verb == "create" or request.name == node
                return "" if own else "can only access CSINode with the same name as the requesting node"
            case "volumeattachments":
                if request.verb != "get":
                    return "can only get individual resources of this type"
                return "" if self._names(ATTACHMENTS, request.name, node) else unrelated(node)
            case _:
                return self._slice_refused(request, node)

    def _slice_refused(self, request: Request, node: str) -> str:
        if request.subresource:
            return "cannot access ResourceSlice subresources"
        if request.verb == "create":
            return ""
        if request.verb in ("list", "watch", "deletecollection"):
            return "" if request.selected("spec.nodeName") == node else UNSELECTED
        return "" if self._names(SLICES, request.name, node) else unrelated(node)

    def _names(self, kind: Kind, name: str, node: str) -> bool:
        found = self._reader.get_cached(kind, "", name)
        return found is not None and found.spec.nodeName == node

    def _pod_refused(self, request: Request, node: str) -> str:
        if request.verb == "get":
            own = any(
                p.metadata.name == request.name and p.metadata.namespace == request.namespace
                for p in self._pods_on(node)
            )
            return "" if own else unrelated(node)
        chosen = request.selected("spec.nodeName") == node
        return "" if chosen else "can only list/watch pods with spec.nodeName field selector"

    def _refers(self, node: str, wanted: Reference) -> bool:
        resource, namespace, name = wanted
        if resource == "persistentvolumes":
            return self._holds(node, name)
        if resource == "secrets" and self._volume_needs(node, namespace, name):
            return True
        pods = [p for p in self._pods_on(node) if p.metadata.namespace == namespace]
        if len(self._referred) > 10 * len(pods) + 1000:
            self._referred.clear()
        return any(wanted in self._references(pod) for pod in pods)

    def _volumes(self, node: str) -> Iterator[Any]:
        """Those that are bound to claims of the node's pods."""
        for pod in self._pods_on(node):
            for resource, namespace, name in self._references(pod):
                if resource != "persistentvolumeclaims":
                    continue
                claim = self._reader.get_cached(CLAIMS, namespace, name)
                volume = claim and self._reader.get_cached(VOLUMES, "", claim.spec.volumeName)
                ref = volume.spec.claimRef if volume else None
                if ref is not None and (ref.namespace, ref.name) == (namespace, name):
                    yield volume

    def _holds(self, node: str, name: str) -> bool:
        return any(volume.metadata.name == name for volume in self._volumes(node))

    def _volume_needs(self, node: str, namespace: str, name: str) -> bool:
        """What a storage driver needs to publish a volume is named by the volume."""
        for volume in self._volumes(node):
            if (csi := volume.spec.csi) is None:
                continue
            refs = (csi.nodePublishSecretRef, csi.nodeStageSecretRef, csi.nodeExpandSecretRef)
            if any(ref is not None and (ref.namespace, ref.name) == (namespace, name) for ref in refs):
                return True
        return False

    def _references(self, pod: Pod) -> frozenset[Reference]:
        known = self._referred.get(pod.metadata.uid)
        if known is None or known[0] is not pod:
            known = self._referred[pod.metadata.uid] = (pod, frozenset(references(pod)))
        return known[1]


def unrelated(node: str) -> str:
    return f"no relationship found between node '{node}' and this object"


def references(pod: Pod, *, mirrors: bool = False) -> Iterator[Reference]:
    """What the kubelet needs for the pod. Mirror pods count only if `mirrors`: kubelets make those themselves."""
    if MIRROR in pod.metadata.annotations and not mirrors:
        return
    namespace, spec = pod.metadata.namespace, pod.spec
    if spec.serviceAccountName:
        yield "serviceaccounts", namespace, spec.serviceAccountName
    found = [("secrets", reference.name) for reference in spec.imagePullSecrets]
    found += [("resourceclaims", status.resourceClaimName or "") for status in pod.status.resourceClaimStatuses]
    found += [("resourceclaims", claim.resourceClaimName or "") for claim in spec.resourceClaims]
    if (extended := pod.status.extendedResourceClaimStatus) is not None:
        found.append(("resourceclaims", extended.resourceClaimName))
    for container in (*spec.initContainers, *spec.containers, *spec.ephemeralContainers):
        found += _of_container(container)
    for volume in spec.volumes:
        found += _of_volume(volume)
        if volume.ephemeral is not None:
            found.append(("persistentvolumeclaims", f"{pod.metadata.name}-{volume.name}"))
    for resource, name in found:
        if name:
            yield resource, namespace, name


def _of_container(container: Container | Any) -> Iterator[tuple[str, str]]:
    for source in container.envFrom:
        if source.secretRef is not None:
            yield "secrets", source.secretRef.name
        if source.configMapRef is not None:
            yield "configmaps", source.configMapRef.name
    for variable in container.env:
        if (value := variable.valueFrom) is not None:
            if value.secretKeyRef is not None:
                yield "secrets", value.secretKeyRef.name
            if value.configMapKeyRef is not None:
                yield "configmaps", value.configMapKeyRef.name


def _of_volume(volume: Any) -> Iterator[tuple[str, str]]:
    if volume.secret is not None:
        yield "secrets", volume.secret.secretName
    if volume.configMap is not None:
        yield "configmaps", volume.configMap.name
    if volume.persistentVolumeClaim is not None:
        yield "persistentvolumeclaims", volume.persistentVolumeClaim.claimName
    for name in _driver_secrets(volume):
        yield "secrets", name
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.secret is not None:
            yield "secrets", source.secret.name
        if source.configMap is not None:
            yield "configmaps", source.configMap.name


def _driver_secrets(volume: Any) -> Iterator[str]:
    """Of volumes that are described in the pod itself."""
    for driver in (volume.cephfs, volume.flexVolume, volume.iscsi, volume.rbd, volume.scaleIO, volume.storageos):
        if driver is not None and driver.secretRef is not None:
            yield driver.secretRef.name
    if volume.csi is not None and volume.csi.nodePublishSecretRef is not None:
        yield volume.csi.nodePublishSecretRef.name
    if volume.azureFile is not None:
        yield volume.azureFile.secretName
