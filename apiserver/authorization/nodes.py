"""Kubelets: what the role system:node says, but of secrets, config maps and the like only what their pods refer to.

https://kubernetes.io/docs/reference/access-authn-authz/node/

Unlike upstream's, a kubelet may see every Node: it needs the others' addresses for its routes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from api import kinds
from api.types import Container, Pod
from apiserver.authorization.deciding import NO, YES, Authorizer, Decision
from apiserver.authorization.defaults import cluster_roles
from apiserver.authorization.rights import Grant, Rights
from apiserver.requests import Request, User

PODS = kinds.of(Pod)
GROUP, PREFIX = "system:nodes", "system:node:"
LEASES = "kube-node-lease"
MIRROR = "kubernetes.io/config.mirror"
GROUPS = ("", "coordination.k8s.io")
REFERRED = frozenset({"secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts"})
READING = frozenset({"get", "list", "watch"})
Reference = tuple[str, str, str]
"""resource, namespace, name"""


def node_of(user: User) -> str:
    """The node whose kubelet the user is, "" if it is none."""
    return user.name.removeprefix(PREFIX) if user.name.startswith(PREFIX) and GROUP in user.groups else ""


class Nodes(Authorizer):
    """`pods_on` gives the pods bound to a node, as the cache has them."""

    def __init__(self, pods_on: Callable[[str], Iterable[Pod]]) -> None:
        self._pods_on = pods_on
        role = next(role for role in cluster_roles() if role.metadata.name == "system:node")
        self._rights = Rights([Grant(rule, "") for rule in role.rules], {}, {})
        self._referred: dict[str, tuple[Pod, frozenset[Reference]]] = {}

    def decide(self, request: Request) -> Decision:
        node = node_of(request.user)
        if not node:
            return NO
        if not request.path and request.kind.group in GROUPS and (why := self._refused(request, node)):
            return Decision(False, why)
        return YES if self._rights.decide(request).allowed else NO

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
            if request.subresource == "token" and request.verb != "create":
                return "only the create verb is allowed for tokens"
            if not request.name:
                return "No Object name found"
            if not self._refers(node, (resource, request.namespace, request.name)):
                return f"no relationship found between node '{node}' and this object"
        return ""

    def _pod_refused(self, request: Request, node: str) -> str:
        if request.verb == "get":
            own = any(
                p.metadata.name == request.name and p.metadata.namespace == request.namespace
                for p in self._pods_on(node)
            )
            return "" if own else f"no relationship found between node '{node}' and this object"
        chosen = request.field_selector.replace("==", "=").split(",")
        return "" if f"spec.nodeName={node}" in chosen else "can only list/watch pods with spec.nodeName field selector"

    def _refers(self, node: str, wanted: Reference) -> bool:
        pods = [p for p in self._pods_on(node) if p.metadata.namespace == wanted[1]]
        if len(self._referred) > 10 * len(pods) + 1000:
            self._referred.clear()
        return any(wanted in self._references(pod) for pod in pods)

    def _references(self, pod: Pod) -> frozenset[Reference]:
        known = self._referred.get(pod.metadata.uid)
        if known is None or known[0] is not pod:
            known = self._referred[pod.metadata.uid] = (pod, frozenset(references(pod)))
        return known[1]


def references(pod: Pod) -> Iterator[Reference]:
    """What the kubelet needs for the pod. Mirror pods refer to nothing: kubelets make those themselves."""
    if MIRROR in pod.metadata.annotations:
        return
    namespace, spec = pod.metadata.namespace, pod.spec
    if spec.serviceAccountName:
        yield "serviceaccounts", namespace, spec.serviceAccountName
    found = [("secrets", reference.name) for reference in spec.imagePullSecrets]
    for container in (*spec.initContainers, *spec.containers, *spec.ephemeralContainers):
        found += _of_container(container)
    for volume in spec.volumes:
        found += _of_volume(volume)
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
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.secret is not None:
            yield "secrets", source.secret.name
        if source.configMap is not None:
            yield "configmaps", source.configMap.name
