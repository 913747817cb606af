"""Pods and templates of pods: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"""

from api import names, quantities
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required
from api.quotas import pods as quotas
from api.types import (
    HostAlias,
    Pod,
    PodDNSConfig,
    PodSpec,
    PodTemplate,
    PodTemplateSpec,
    ResourceRequirements,
    Volume,
)
from apiserver.rules.validation import containers, metadata, placement, resources, security, volumes
from apiserver.rules.validation.values import Faults, formed, ip, one_of, optional, within

SPEC = Path("spec")
RESTART_POLICIES = {"Always", "OnFailure", "Never"}
DNS_POLICIES = {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"}
MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
INT32 = 2**31 - 1
POD_RESOURCES = {"cpu", "memory"}


def created(pod: Pod) -> Faults:
    """A new pod, without its metadata."""
    yield from body(pod)
    if pod.spec.ephemeralContainers:
        yield forbidden(SPEC.child("ephemeralContainers"), "cannot be set on create")
    if pod.spec.schedulingGroup is not None:
        at = SPEC.child("schedulingGroup")
        if not pod.spec.schedulingGroup.podGroupName:
            yield invalid(at, "", "must specify one of: `podGroupName`")
        else:
            name = pod.spec.schedulingGroup.podGroupName
            yield from formed(at.child("podGroupName"), name, names.dns_subdomain_faults)
    if pod.spec.nodeName and pod.spec.schedulingGates:
        yield forbidden(SPEC.child("nodeName"), "cannot be set until all schedulingGates have been cleared")


def body(pod: Pod) -> Faults:
    """What holds for a pod at all times, without its metadata."""
    if pod.metadata.annotations:
        yield from annotations(Path("metadata").child("annotations"), pod.metadata.annotations, pod.spec)
    yield from spec(SPEC, pod.spec, pod_name=pod.metadata.name, is_pod=True)
    if not pod.spec.serviceAccountName:
        yield from _tokens(pod.spec)
    for name in ("containers", "initContainers"):
        for i, container in enumerate(getattr(pod.spec, name)):
            if container.image != (container.image or "").strip():
                yield from containers.trimmed_image(SPEC.child(name).index(i), container.image)


def template(path: Path, it: PodTemplateSpec) -> Faults:
    if it.metadata.labels:
        yield from metadata.labels(path.child("labels"), it.metadata.labels)
    if it.metadata.annotations:
        yield from metadata.annotations(path.child("annotations"), it.metadata.annotations)
        yield from annotations(path.child("annotations"), it.metadata.annotations, it.spec)
    yield from spec(path.child("spec"), it.spec, pod_name="", is_pod=False)
    if it.spec.ephemeralContainers:
        yield forbidden(path.child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template")


def pod_template(it: PodTemplate) -> Faults:
    if it.template is not None:
        yield from template(Path("template"), it.template)


def annotations(path: Path, values: dict[str, str], it: PodSpec) -> Faults:
    """Annotations that mean something for pods."""
    if MIRROR in values and not it.nodeName:
        why = "must set spec.nodeName if mirror pod annotation is set"
        yield invalid(path.key(MIRROR), values[MIRROR], why)
    cost = values.get(DELETION_COST)
    if cost is not None and not _is_int32(cost):
        yield invalid(path.key(DELETION_COST), cost, "must be a 32bit integer")


def _is_int32(text: str) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(INT32)):
        return False
    return not (digits[0] == "0" and len(digits) > 1) and -INT32 - 1 <= int(text) <= INT32


def spec(path: Path, it: PodSpec, *, pod_name: str, is_pod: bool) -> Faults:
    """`pod_name` is "" where the spec is a template's: then nothing can be said about names made from the pod's."""
    if it.terminationGracePeriodSeconds is None:
        yield required(path.child("terminationGracePeriodSeconds"))
    mountable: dict[str, Volume] = {}
    if it.volumes:
        yield from volumes.volumes(path.child("volumes"), it.volumes, pod_name, mountable)
    claims: set[str] = set()
    if it.resourceClaims:
        yield from _resource_claims(path.child("resourceClaims"), it, pod_name, claims)
    around = containers.Surroundings(it, mountable, claims)
    yield from containers.regular(path.child("containers"), around)
    if it.initContainers:
        yield from containers.initial(path.child("initContainers"), around)
    if it.ephemeralContainers:
        yield from containers.ephemeral(path.child("ephemeralContainers"), around)
    if it.resources is not None:
        yield from _pod_resources(path.child("resources"), it)
    if it.hostNetwork:
        yield from _host_network(path.child("containers"), it, is_pod=is_pod)
    yield from one_of(path.child("restartPolicy"), it.restartPolicy, RESTART_POLICIES)
    yield from one_of(path.child("dnsPolicy"), it.dnsPolicy, DNS_POLICIES)
    if it.nodeSelector:
        yield from metadata.labels(path.child("nodeSelector"), it.nodeSelector)
    yield from security.of_pod(path.child("securityContext"), it)
    yield from _scheduling(path, it)
    yield from security.host_users(path, it)
    yield from _references(path, it)


def _scheduling(path: Path, it: PodSpec) -> Faults:
    if it.affinity is not None:
        yield from placement.affinity(path.child("affinity"), it.affinity)
    if it.dnsConfig is not None or it.dnsPolicy == "None":
        yield from _dns(path.child("dnsConfig"), it.dnsConfig, it.dnsPolicy)
    for i, gate in enumerate(it.readinessGates):
        at = path.child("readinessGates").index(i).child("conditionType")
        yield from formed(at, gate.conditionType, names.qualified_name_faults)
    if it.schedulingGates:
        seen = set()
        for i, scheduling_gate in enumerate(it.schedulingGates):
            at, name = path.child("schedulingGates").index(i), scheduling_gate.name or ""
            yield from formed(at, name, names.qualified_name_faults)
            if name in seen:
                yield duplicate(at, name)
            seen.add(name)
    if it.topologySpreadConstraints:
        yield from placement.spreading(path.child("topologySpreadConstraints"), it.topologySpreadConstraints)


def _references(path: Path, it: PodSpec) -> Faults:
    """Names of other things, and the few rules that upstream checks last."""
    if it.serviceAccountName:
        yield from formed(path.child("serviceAccountName"), it.serviceAccountName, names.dns_subdomain_faults)
    if it.nodeName:
        yield from formed(path.child("nodeName"), it.nodeName, names.dns_subdomain_faults)
    yield from within(path.child("activeDeadlineSeconds"), it.activeDeadlineSeconds, 1, INT32)
    for name in ("hostname", "subdomain"):
        if value := getattr(it, name):
            yield from formed(path.child(name), value, names.dns_label_faults)
    if it.tolerations:
        yield from placement.tolerations(path.child("tolerations"), it.tolerations)
    if it.hostAliases:
        yield from _host_aliases(path.child("hostAliases"), it.hostAliases)
    for name in ("priorityClassName", "runtimeClassName"):
        if value := getattr(it, name):
            yield from formed(path.child(name), value, names.dns_subdomain_faults)
    yield from optional(path.child("preemptionPolicy"), it.preemptionPolicy, {"PreemptLowerPriority", "Never"})
    for name, amount in it.overhead.items():
        at = path.child("overhead", "limits").key(name)
        yield from resources.container_resource_name(at, name)
        yield from resources.quantity(at, name, amount)
    if it.os is not None:
        if not it.os.name:
            yield required(path.child("os", "name"), "cannot be empty")
        elif it.os.name not in ("linux", "windows"):
            yield not_supported(path.child("os"), it.os.name, ("linux", "windows"))


def _resource_claims(path: Path, it: PodSpec, pod_name: str, seen: set[str]) -> Faults:
    for i, claim in enumerate(it.resourceClaims):
        at = path.index(i)
        if not claim.name:
            yield required(at.child("name"))
        elif claim.name in seen:
            yield duplicate(at.child("name"), claim.name)
        else:
            faults = list(formed(at.child("name"), claim.name, names.dns_label_faults))
            yield from faults
            if not faults and pod_name and claim.resourceClaimTemplateName:
                generated = f"{pod_name}-{claim.name}"
                for why in names.dns_subdomain_faults(generated):
                    yield invalid(at.child("name"), generated, f"final ResourceClaim name: {why}")
            seen.add(claim.name)
        if claim.resourceClaimName and claim.resourceClaimTemplateName:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(at, claim, why)
        elif not claim.resourceClaimName and not claim.resourceClaimTemplateName:
            yield invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        for field in ("resourceClaimName", "resourceClaimTemplateName"):
            if value := getattr(claim, field):
                yield from formed(at.child(field), value, names.dns_subdomain_faults)


def _pod_resources(path: Path, it: PodSpec) -> Faults:
    assert it.resources is not None
    if it.os is not None and it.os.name == "windows":
        yield forbidden(path, "may not be set for a windows pod")
        return
    if it.resources.claims:
        yield forbidden(path.child("claims"), "claims cannot be set for Resources at pod-level")
    for of in ("limits", "requests"):
        for name in sorted(getattr(it.resources, of)):
            if name not in POD_RESOURCES and not name.startswith(resources.HUGE):
                yield not_supported(path.child(of).key(name), name, (*POD_RESOURCES, resources.HUGE))
    yield from resources.requirements(path, it.resources, set())
    yield from _holds_its_containers(path, it, it.resources)


def _holds_its_containers(path: Path, it: PodSpec, whole: ResourceRequirements) -> Faults:
    requests, limits = quotas.of_containers(it)
    for name in sorted(requests.keys() & whole.requests):
        if requests[name].value > quantities.parse(whole.requests[name]):
            why = f"must be greater than or equal to aggregate container requests of {requests[name]}"
            yield invalid(path.child("requests").key(name), whole.requests[name], why)
    for name in sorted(limits.keys() & whole.limits):
        if name.startswith(resources.HUGE) and limits[name].value > quantities.parse(whole.limits[name]):
            why = f"must be greater than or equal to aggregate container limits of {limits[name]}"
            yield invalid(path.child("limits").key(name), whole.limits[name], why)
    for i, container in enumerate(it.containers):
        own = container.resources.limits
        for name in sorted(own.keys() & whole.limits):
            if quantities.parse(own[name]) > quantities.parse(whole.limits[name]):
                at = (
                    path.child("containers").index(i).key(name).child("limits")
                )  # upstream's path, though there is none
                yield invalid(at, own[name], f"must be less than or equal to pod limits of {whole.limits[name]}")


def _host_network(path: Path, it: PodSpec, *, is_pod: bool) -> Faults:
    for i, container in enumerate(it.containers):
        for j, port in enumerate(container.ports):
            if (is_pod or port.hostPort) and port.hostPort != port.containerPort:
                at = path.index(i).child("ports").index(j).child("hostPort")
                yield invalid(at, port.hostPort or 0, "must match `containerPort` when `hostNetwork` is true")


def _dns(path: Path, it: PodDNSConfig | None, policy: str) -> Faults:
    if it is None:
        yield required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        return
    at = path.child("nameservers")
    if policy == "None" and not it.nameservers:
        yield required(at, "must provide at least one DNS nameserver when `dnsPolicy` is None")
        return
    if len(it.nameservers) > 3:
        yield invalid(at, it.nameservers, "must not have more than 3 nameservers")
    for i, server in enumerate(it.nameservers):
        yield from ip(at.index(i), server)
    at = path.child("searches")
    if len(it.searches) > 32:
        yield invalid(at, it.searches, "must not have more than 32 search paths")
    if len(" ".join(it.searches)) > 2048:
        yield invalid(at, it.searches, "must not have more than 2048 characters (including spaces) in the search list")
    for i, search in enumerate(it.searches):
        if search != ".":
            for why in names.search_path_faults(search.removesuffix(".")):
                yield invalid(at.index(i), search, why)
    for i, option in enumerate(it.options):
        if not option.name:
            yield required(path.child("options").index(i), "must not be empty")


def _host_aliases(path: Path, its: list[HostAlias]) -> Faults:
    for i, it in enumerate(its):
        yield from ip(path.index(i).child("ip"), it.ip)
        for j, hostname in enumerate(it.hostnames):
            yield from formed(path.index(i).child("hostnames").index(j), hostname, names.dns_subdomain_faults)


def _tokens(it: PodSpec) -> Faults:
    for i, volume in enumerate(it.volumes):
        for j, part in enumerate(volume.projected.sources if volume.projected is not None else ()):
            if part.serviceAccountToken is not None:
                at = SPEC.child("volumes").index(i).child("projected", "sources").index(j).child("serviceAccountToken")
                yield forbidden(at, "must not be specified when serviceAccountName is not set")
