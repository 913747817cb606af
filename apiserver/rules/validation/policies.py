"""RBAC, network policies, ingresses, disruption budgets, autoscalers, storage: the basics of each."""

from ipaddress import ip_network
from typing import Any

from api import names, quantities, volumes
from api.paths import Path, forbidden, invalid, not_supported, required
from api.types import (
    ClusterRole,
    ClusterRoleBinding,
    HorizontalPodAutoscaler,
    Ingress,
    IPBlock,
    NetworkPolicy,
    PersistentVolumeClaim,
    PodDisruptionBudget,
    Role,
    RoleBinding,
    StorageClass,
)  # fmt: skip
from apiserver.rules.validation.selectors import selector
from apiserver.rules.validation.values import (
    NOT_POSITIVE,
    PROTOCOLS,
    Faults,
    cidr,
    formed,
    one_of,
    optional,
    parse_ip,
    port,
    port_number,
)  # fmt: skip
from apiserver.rules.validation.workloads import amount_or_percent

SPEC = Path("spec")
RBAC = "rbac.authorization.k8s.io"
ACCESS_MODES = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}


def role(it: Role | ClusterRole) -> Faults:
    for i, rule in enumerate(it.rules):
        at = Path("rules").index(i)
        if not rule.verbs:
            yield required(at.child("verbs"), "verbs must contain at least one value")
        if rule.nonResourceURLs:
            if isinstance(it, Role):
                yield invalid(at.child("nonResourceURLs"), rule.nonResourceURLs,
                              "namespaced rules cannot apply to non-resource URLs")  # fmt: skip
            if rule.apiGroups or rule.resources or rule.resourceNames:
                yield invalid(at.child("nonResourceURLs"), rule.nonResourceURLs,
                              "rules cannot apply to both regular resources and non-resource URLs")  # fmt: skip
            continue
        if not rule.apiGroups:
            yield required(at.child("apiGroups"), "resource rules must supply at least one api group")
        if not rule.resources:
            yield required(at.child("resources"), "resource rules must supply at least one resource")


def role_binding(it: RoleBinding | ClusterRoleBinding) -> Faults:
    at, ref = Path("roleRef"), it.roleRef
    if ref.apiGroup != RBAC:
        yield not_supported(at.child("apiGroup"), ref.apiGroup or "", (RBAC,))
    kinds = ("Role", "ClusterRole") if isinstance(it, RoleBinding) else ("ClusterRole",)
    if ref.kind not in kinds:
        yield not_supported(at.child("kind"), ref.kind or "", kinds)
    if not ref.name:
        yield required(at.child("name"))
    else:
        yield from formed(at.child("name"), ref.name, names.path_segment_faults)
    for i, subject in enumerate(it.subjects):
        yield from _subject(Path("subjects").index(i), subject, namespaced=isinstance(it, RoleBinding))


def _subject(path: Path, it: Any, *, namespaced: bool) -> Faults:
    if not it.name:
        yield required(path.child("name"))
    if it.kind == "ServiceAccount":
        if it.name:
            yield from formed(path.child("name"), it.name, names.dns_subdomain_faults)
        if it.apiGroup:
            yield not_supported(path.child("apiGroup"), it.apiGroup, ("",))
        if not it.namespace and not namespaced:
            yield required(path.child("namespace"))
    elif it.kind in ("User", "Group"):
        if it.apiGroup != RBAC:
            yield not_supported(path.child("apiGroup"), it.apiGroup, (RBAC,))
    else:
        yield not_supported(path.child("kind"), it.kind or "", ("ServiceAccount", "User", "Group"))


def role_binding_updated(new: RoleBinding, old: RoleBinding) -> Faults:
    yield from role_binding(new)
    if new.roleRef != old.roleRef:
        yield invalid(Path("roleRef"), new.roleRef, "cannot change roleRef")


def network_policy(it: NetworkPolicy) -> Faults:
    spec = it.spec
    yield from selector(SPEC.child("podSelector"), spec.podSelector)
    for name, peers in (("ingress", "from_"), ("egress", "to")):
        for i, rule in enumerate(getattr(spec, name)):
            at = SPEC.child(name).index(i)
            for j, each in enumerate(rule.ports):
                yield from _policy_port(at.child("ports").index(j), each)
            for j, peer in enumerate(getattr(rule, peers)):
                yield from _peer(at.child(peers.rstrip("_")).index(j), peer)
    at = SPEC.child("policyTypes")
    if len(spec.policyTypes) > 2:
        yield invalid(at, spec.policyTypes, "may not specify more than two policyTypes")
        return
    for i, name in enumerate(spec.policyTypes):
        yield from one_of(at.index(i), name, ("Ingress", "Egress"))


def _policy_port(path: Path, it: Any) -> Faults:
    yield from optional(path.child("protocol"), it.protocol, PROTOCOLS)
    if it.port is not None:
        yield from port(path.child("port"), it.port)
    if it.endPort is None:
        return
    at = path.child("endPort")
    if it.port is None:
        yield invalid(at, it.endPort, "may not be specified when `port` is not specified")
    elif isinstance(it.port, str):
        yield invalid(at, it.endPort, "may not be specified when `port` is non-numeric")
    else:
        if it.endPort < it.port:
            yield invalid(at, it.port, "must be greater than or equal to `port`")
        yield from port_number(at, it.endPort)


def _peer(path: Path, it: Any) -> Faults:
    yield from selector(path.child("podSelector"), it.podSelector)
    yield from selector(path.child("namespaceSelector"), it.namespaceSelector)
    if it.ipBlock is not None:
        yield from _ip_block(path.child("ipBlock"), it.ipBlock)
        if it.podSelector is not None or it.namespaceSelector is not None:
            yield forbidden(path, "may not specify both ipBlock and another peer")
    elif it.podSelector is None and it.namespaceSelector is None:
        yield required(path, "must specify a peer")


def _ip_block(path: Path, it: IPBlock) -> Faults:
    if not it.cidr:
        yield required(path.child("cidr"))
        return
    faults = list(cidr(path.child("cidr"), it.cidr))
    yield from faults
    if faults:
        return
    network = ip_network(it.cidr, strict=False)
    for i, text in enumerate(it.except_):
        at = path.child("except").index(i)
        faults = list(cidr(at, text))
        yield from faults
        if not faults:
            part = ip_network(text, strict=False)
            if part.prefixlen <= network.prefixlen or part.network_address not in network:
                yield invalid(at, text, "must be a strict subset of `cidr`")


def ingress(it: Ingress) -> Faults:
    spec = it.spec
    if not spec.rules and spec.defaultBackend is None:
        yield invalid(SPEC, spec.rules, "either `defaultBackend` or `rules` must be specified")
    for i, rule in enumerate(spec.rules):
        at = SPEC.child("rules").index(i)
        if rule.host:
            if parse_ip(rule.host) is not None:
                yield invalid(at.child("host"), rule.host, "must be a DNS name, not an IP address")
            yield from formed(at.child("host"), rule.host.removeprefix("*."), names.dns_subdomain_faults)
        if rule.http is None:
            continue
        if not rule.http.paths:
            yield required(at.child("http", "paths"))
        for j, each in enumerate(rule.http.paths):
            yield from _http_path(at.child("http", "paths").index(j), each)
    if spec.defaultBackend is not None:
        yield from _backend(SPEC.child("defaultBackend"), spec.defaultBackend)
    for i, tls in enumerate(spec.tls):
        at = SPEC.child("tls").index(i)
        for j, host in enumerate(tls.hosts):
            yield from formed(at.child("hosts").index(j), host.removeprefix("*."), names.dns_subdomain_faults)
        if tls.secretName:
            yield from formed(at.child("secretName"), tls.secretName, names.dns_subdomain_faults)
    if spec.ingressClassName:
        yield from formed(SPEC.child("ingressClassName"), spec.ingressClassName, names.dns_subdomain_faults)


def _http_path(path: Path, it: Any) -> Faults:
    if not it.pathType:
        yield required(path.child("pathType"), "pathType must be specified")
    elif it.pathType not in ("Exact", "Prefix", "ImplementationSpecific"):
        supported = ("Exact", "ImplementationSpecific", "Prefix")
        yield not_supported(path.child("pathType"), it.pathType, supported)
    plain = it.pathType in ("Exact", "Prefix")
    if (plain or it.path) and not it.path.startswith("/"):
        yield invalid(path.child("path"), it.path, "must be an absolute path")
    if plain:
        for each in (s for s in ("//", "/./", "/../", "%2f", "%2F") if s in it.path):
            yield invalid(path.child("path"), it.path, f"must not contain '{each}'")
        for each in (s for s in ("/..", "/.") if it.path.endswith(s)):
            yield invalid(path.child("path"), it.path, f"cannot end with '{each}'")
    if it.backend is not None:
        yield from _backend(path.child("backend"), it.backend)


def _backend(path: Path, it: Any) -> Faults:
    if it.service is not None and it.resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif it.service is None and it.resource is None:
        yield required(path, "port name or number is required")
    elif it.service is not None:
        if not it.service.name:
            yield required(path.child("service", "name"))
        else:
            yield from formed(path.child("service", "name"), it.service.name, names.dns_label_faults)
        wanted = it.service.port
        if wanted is None or (not wanted.name and not wanted.number):
            yield required(path, "port name or number is required")
        elif wanted.name and wanted.number:
            yield invalid(path, "", "cannot set both port name & port number")
        else:
            where = path.child("service", "port", "name" if wanted.name else "number")
            yield from port(where, wanted.name or wanted.number)


def disruption_budget(it: PodDisruptionBudget) -> Faults:
    spec = it.spec
    if spec.minAvailable is not None and spec.maxUnavailable is not None:
        yield invalid(SPEC, spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        value = getattr(spec, name)
        if value is not None:
            yield from amount_or_percent(SPEC.child(name), value)
    yield from selector(SPEC.child("selector"), spec.selector)
    policies = ("AlwaysAllow", "IfHealthyBudget")
    yield from optional(SPEC.child("unhealthyPodEvictionPolicy"), spec.unhealthyPodEvictionPolicy, policies)


def autoscaler(it: HorizontalPodAutoscaler) -> Faults:
    spec, at = it.spec, SPEC.child("scaleTargetRef")
    low, high = spec.minReplicas, spec.maxReplicas or 0
    if low is not None and low < 1:
        yield invalid(SPEC.child("minReplicas"), low, "must be greater than or equal to 1")
    if high < 1:
        yield invalid(SPEC.child("maxReplicas"), high, "must be greater than 0")
    if low is not None and high < low:
        yield invalid(SPEC.child("maxReplicas"), high, "must be greater than or equal to `minReplicas`")
    for name in ("kind", "name"):
        if spec.scaleTargetRef is None or not getattr(spec.scaleTargetRef, name):
            yield required(at.child(name))


def claim(it: PersistentVolumeClaim) -> Faults:
    spec = it.spec
    at = SPEC.child("accessModes")
    if not spec.accessModes:
        yield required(at, "at least 1 access mode is required")
    yield from selector(SPEC.child("selector"), spec.selector)
    for mode in spec.accessModes:
        yield from one_of(at, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in spec.accessModes and len(set(spec.accessModes)) > 1:
        yield forbidden(at, "may not use ReadWriteOncePod with other access modes")
    at = SPEC.child("resources").key("storage")
    amount = spec.resources.requests.get("storage") if spec.resources is not None else None
    if amount is None:
        yield required(at)
    elif quantities.parse(amount) <= 0:
        yield invalid(at, amount, NOT_POSITIVE)
    if spec.storageClassName:
        yield from formed(SPEC.child("storageClassName"), spec.storageClassName, names.dns_subdomain_faults)
    yield from optional(SPEC.child("volumeMode"), spec.volumeMode, ("Block", "Filesystem"))


def claim_updated(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Faults:
    yield from claim(new)
    ignored = {"resources", "volumeAttributesClassName"} | ({"volumeName"} if not old.spec.volumeName else set())
    fixed = [n for n in new.spec.__struct_fields__ if n not in ignored]
    changed = {n for n in fixed if getattr(new.spec, n) != getattr(old.spec, n)}
    if changed - ({"storageClassName"} if _takes_a_class(new, old) else set()):
        exceptions = "resources.requests and volumeAttributesClassName for bound claims"
        yield forbidden(SPEC, f"spec is immutable after creation except {exceptions}")
    if new.spec.resources is not None and old.spec.resources is not None:
        now, was = (r.requests.get("storage", "0") for r in (new.spec.resources, old.spec.resources))
        if quantities.parse(now) < quantities.parse(was):
            at = SPEC.child("resources", "requests", "storage")
            yield forbidden(at, "field can not be less than status.capacity")


def _takes_a_class(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> bool:
    """A claim that has no class, not even "", may be given one: the default class may be younger than the claim."""
    given = old.spec.storageClassName is None and new.spec.storageClassName is not None
    return given and old.metadata.annotations.get(volumes.CLASS) in (None, new.spec.storageClassName)


def storage_class(it: StorageClass) -> Faults:
    if not it.provisioner:
        yield required(Path("provisioner"))
    else:
        yield from formed(Path("provisioner"), it.provisioner.lower(), names.qualified_name_faults)
    yield from optional(Path("reclaimPolicy"), it.reclaimPolicy, ("Delete", "Retain"))
    yield from one_of(Path("volumeBindingMode"), it.volumeBindingMode, ("Immediate", "WaitForFirstConsumer"))


def storage_class_updated(new: StorageClass, old: StorageClass) -> Faults:
    yield from storage_class(new)
    for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if getattr(new, name) != getattr(old, name):
            yield forbidden(Path(name), f"updates to {name} are forbidden.")
