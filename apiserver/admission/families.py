"""Which IP families a service has: ipFamilyPolicy, ipFamilies, and how both follow from clusterIPs.

https://kubernetes.io/docs/concepts/services-networking/dual-stack/
"""

from collections.abc import Mapping, Sequence

from api.paths import Fault, Path, invalid
from api.types import Service
from apiserver.rules.defaulting.services import externally_accessible
from apiserver.rules.validation.services import TRAFFIC

SPEC = Path("spec")
POLICY = SPEC.child("ipFamilyPolicy")
OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def keep_allocated(service: Service, old: Service) -> None:
    """An update that leaves out what was allocated keeps it, so that writing the same manifest again is no change."""
    new, was = service.spec, old.spec
    if _needs_address(service) and _needs_address(old):
        if not new.clusterIP and not new.clusterIPs:
            new.clusterIP, new.clusterIPs = was.clusterIP, list(was.clusterIPs)
        elif new.clusterIP == was.clusterIP and not new.clusterIPs:
            new.clusterIPs = list(was.clusterIPs)
        elif new.clusterIPs == was.clusterIPs and not new.clusterIP:
            new.clusterIP = was.clusterIP
    if gets_node_ports(service) and gets_node_ports(old):
        held = {(p.protocol, p.port): p.nodePort for p in was.ports if p.nodePort}
        used = {p.nodePort for p in new.ports if p.nodePort}
        for port in new.ports:
            before = held.get((port.protocol, port.port))
            if not port.nodePort and before and before not in used:
                port.nodePort = before
    if needs_health_check(service) and needs_health_check(old) and not new.healthCheckNodePort:
        new.healthCheckNodePort = was.healthCheckNodePort


def synchronise(service: Service, old: Service | None) -> None:
    """clusterIP and the first of clusterIPs are one thing; clients may set, change or clear either alone."""
    new = service.spec
    if new.clusterIP and not new.clusterIPs:
        new.clusterIPs = [new.clusterIP]
    if old is None:
        return
    was = old.spec
    if was.clusterIP and not new.clusterIP and new.clusterIPs == was.clusterIPs:
        new.clusterIPs = []  # cleared by somebody who knows only the singular
    elif new.clusterIP != was.clusterIP and new.clusterIPs == was.clusterIPs:
        new.clusterIPs = [new.clusterIP] if new.clusterIP else []


def drop_unused(service: Service, old: Service) -> None:
    """What a change of type leaves without meaning goes, if the writer did not touch it."""
    new, was = service.spec, old.spec
    if _needs_address(old) and not _needs_address(service):
        if new.clusterIP in (was.clusterIP, "") and new.clusterIPs in (was.clusterIPs, []):
            new.clusterIP, new.clusterIPs = "", []
        if new.ipFamilies == was.ipFamilies:
            new.ipFamilies = []
        if new.ipFamilyPolicy == was.ipFamilyPolicy:
            new.ipFamilyPolicy = ""
    if _has_node_ports(old) and not _has_node_ports(service):
        held = {p.nodePort for p in was.ports}
        for port in new.ports:
            if port.nodePort in held:
                port.nodePort = None
    ended = externally_accessible(was) and not externally_accessible(new)
    if ended and new.externalTrafficPolicy == was.externalTrafficPolicy:
        new.externalTrafficPolicy = ""
    ended = needs_health_check(old) and not needs_health_check(service)
    if ended and new.healthCheckNodePort == was.healthCheckNodePort:
        new.healthCheckNodePort = None
    if was.type == "LoadBalancer" and new.type != "LoadBalancer":
        if new.allocateLoadBalancerNodePorts == was.allocateLoadBalancerNodePorts:
            new.allocateLoadBalancerNodePorts = None
        if new.loadBalancerClass == was.loadBalancerClass:
            new.loadBalancerClass = ""


def forget_insiders(service: Service) -> None:
    """What leads to a name has no endpoints to choose from. Saying how all the same is no mistake, but says nothing."""
    spec = service.spec
    if spec.type == "ExternalName" and spec.internalTrafficPolicy in TRAFFIC:
        spec.internalTrafficPolicy = ""


def settle(service: Service, old: Service | None, configured: Sequence[str]) -> list[Fault]:
    """Fill in ipFamilyPolicy and ipFamilies; `configured` are the cluster's families, the default one first."""
    spec = service.spec
    if spec.type == "ExternalName":
        return []
    headless = spec.clusterIP == "None"
    free = headless and not spec.selector
    if not spec.ipFamilyPolicy:
        if old is not None and old.spec.ipFamilyPolicy:
            spec.ipFamilyPolicy = old.spec.ipFamilyPolicy
        else:
            spec.ipFamilyPolicy = "RequireDualStack" if free else "SingleStack"
    faults = _reductions(service, old) + _contradictions(service) + _inferred(service, configured)
    if faults:
        return faults
    single = spec.ipFamilyPolicy == "SingleStack"
    if not free:
        faults = _unconfigured(service, configured)
        if faults:
            return faults
    if not spec.ipFamilies:
        spec.ipFamilies = [configured[0]]
    # Without a selector and without an address, the endpoints may be of families that the cluster does not have.
    if not single and len(spec.ipFamilies) == 1 and (free or len(configured) == 2):
        spec.ipFamilies = [spec.ipFamilies[0], OTHER[spec.ipFamilies[0]]]
    return []


def _reductions(service: Service, old: Service | None) -> list[Fault]:
    if old is None:
        return []
    spec, was = service.spec, old.spec
    if spec.ipFamilyPolicy == "SingleStack":
        if spec.clusterIPs == was.clusterIPs:
            spec.clusterIPs = spec.clusterIPs[:1]
        if spec.ipFamilies == was.ipFamilies:
            spec.ipFamilies = spec.ipFamilies[:1]
        return []
    reduced: Mapping[str, tuple[list[str], list[str]]] = {
        "cluster IP": (spec.clusterIPs, was.clusterIPs), "IP family": (spec.ipFamilies, was.ipFamilies),
    }  # fmt: skip
    return [
        invalid(POLICY, spec.ipFamilyPolicy, f"must be 'SingleStack' to release the secondary {what}")
        for what, (now, before) in reduced.items()
        if now and len(now) < len(before)
    ]


def _contradictions(service: Service) -> list[Fault]:
    spec = service.spec
    if spec.ipFamilyPolicy != "SingleStack":
        return []
    several = {"cluster IPs": spec.clusterIPs, "IP families": spec.ipFamilies}
    return [
        invalid(
            POLICY, spec.ipFamilyPolicy,
            f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified",
        )
        for what, values in several.items()
        if len(values) == 2
    ]  # fmt: skip


def _inferred(service: Service, configured: Sequence[str]) -> list[Fault]:
    spec = service.spec
    faults = []
    for i, address in enumerate(spec.clusterIPs):
        if address == "None":
            break
        if i < len(spec.ipFamilies):
            continue
        family = family_of(address)
        if family in configured:
            spec.ipFamilies = [*spec.ipFamilies, family]
        else:
            at = SPEC.child("clusterIPs").index(i)
            faults.append(invalid(at, spec.clusterIPs, f"{family} is not configured on this cluster"))
    return faults


def _unconfigured(service: Service, configured: Sequence[str]) -> list[Fault]:
    spec = service.spec
    faults = []
    if spec.ipFamilyPolicy == "RequireDualStack" and len(configured) < 2:
        faults.append(invalid(POLICY, spec.ipFamilyPolicy, "this cluster is not configured for dual-stack services"))
    for i, family in enumerate(spec.ipFamilies):
        if family not in configured:
            faults.append(invalid(SPEC.child("ipFamilies").index(i), family, "not configured on this cluster"))
    return faults


def _needs_address(service: Service) -> bool:
    return service.spec.type in ("ClusterIP", "NodePort", "LoadBalancer")


def _has_node_ports(service: Service) -> bool:
    return service.spec.type in ("NodePort", "LoadBalancer")


def gets_node_ports(service: Service) -> bool:
    """A load balancer that asks for none gets none, and keeps those that it has until they are taken out."""
    spec = service.spec
    return spec.type == "NodePort" or (spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts is not False)


def needs_health_check(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" and service.spec.externalTrafficPolicy == "Local"
