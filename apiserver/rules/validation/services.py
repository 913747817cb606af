"""Services: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/"""

from api import names
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required
from api.types import Service, ServicePort, ServiceSpec
from apiserver.rules.defaulting.services import externally_accessible
from apiserver.rules.validation.metadata import labels
from apiserver.rules.validation.values import (
    PROTOCOLS,
    Faults,
    cidr,
    formed,
    ip,
    one_of,
    optional,
    ordinary_ip,
    parse_ip,
    port,
    port_number,
)  # fmt: skip

SPEC = Path("spec")
TYPES = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}
FAMILIES = {"IPv4", "IPv6"}
POLICIES = {"SingleStack", "PreferDualStack", "RequireDualStack"}
TRAFFIC = {"Cluster", "Local"}
DISTRIBUTIONS = {"PreferClose", "PreferSameNode", "PreferSameZone"}
ONCE = "may not change once set"
LONGEST_AFFINITY = 86400
ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
NOT_EXTERNAL = "may not be set for ExternalName services"


def service(it: Service) -> Faults:
    spec = it.spec
    headless = is_headless(spec)
    if not spec.ports and not headless and spec.type != "ExternalName":
        yield required(SPEC.child("ports"))
    yield from _type(spec, headless=headless)
    names_seen: set[str] = set()
    for i, each in enumerate(spec.ports):
        yield from _port(SPEC.child("ports").index(i), each, names_seen, name_required=len(spec.ports) > 1)
    if spec.selector:
        yield from labels(SPEC.child("selector"), spec.selector)
    yield from _affinity(spec)
    yield from cluster_ips(it)
    for i, address in enumerate(spec.externalIPs):
        at = SPEC.child("externalIPs").index(i)
        faults = list(ip(at, address))
        yield from faults or ordinary_ip(at, address)
    yield from one_of(SPEC.child("type"), spec.type, TYPES)
    yield from _port_pairs(spec)
    yield from _balancing(spec)
    yield from _traffic(spec)


def is_headless(spec: ServiceSpec) -> bool:
    return spec.clusterIPs == ["None"] or (spec.clusterIP == "None" and not spec.clusterIPs)


def _type(spec: ServiceSpec, *, headless: bool) -> Faults:
    if headless and spec.type in ("LoadBalancer", "NodePort"):
        why = f"may not be set to 'None' for {spec.type} services"
        yield invalid(SPEC.child("clusterIPs").index(0), "None", why)
    if spec.type != "ExternalName":
        return
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if getattr(spec, name):
            yield forbidden(SPEC.child(name), NOT_EXTERNAL)
    alias = spec.externalName.removesuffix(".")
    if alias:
        yield from formed(SPEC.child("externalName"), alias, names.dns_subdomain_faults)
    else:
        yield required(SPEC.child("externalName"))


def _port(path: Path, it: ServicePort, seen: set[str], *, name_required: bool) -> Faults:
    if it.name:
        yield from formed(path.child("name"), it.name, names.dns_label_faults)
        if it.name in seen:
            yield duplicate(path.child("name"), it.name)
        seen.add(it.name)
    elif name_required:
        yield required(path.child("name"))
    yield from port_number(path.child("port"), it.port)
    yield from one_of(path.child("protocol"), it.protocol, PROTOCOLS)
    yield from port(path.child("targetPort"), it.targetPort)
    if it.appProtocol:
        yield from formed(path.child("appProtocol"), it.appProtocol, names.qualified_name_faults)


def _affinity(spec: ServiceSpec) -> Faults:
    yield from one_of(SPEC.child("sessionAffinity"), spec.sessionAffinity, {"ClientIP", "None"})
    at, config = SPEC.child("sessionAffinityConfig"), spec.sessionAffinityConfig
    if spec.sessionAffinity == "None" and config is not None:
        yield forbidden(at, "must not be set when session affinity is None")
    if spec.sessionAffinity != "ClientIP":
        return
    when = "when session affinity type is ClientIP"
    if config is None:
        yield required(at, when)
    elif config.clientIP is None:
        yield required(at.child("clientIP"), when)
    elif config.clientIP.timeoutSeconds is None:
        yield required(at.child("clientIP", "timeoutSeconds"), when)
    elif not 0 < config.clientIP.timeoutSeconds <= LONGEST_AFFINITY:
        why = f"must be greater than 0 and less than {LONGEST_AFFINITY}"
        yield invalid(at.child("clientIP", "timeoutSeconds"), config.clientIP.timeoutSeconds, why)


def cluster_ips(it: Service) -> Faults:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy together; also what allocation needs to be sure of."""
    spec = it.spec
    if spec.type == "ExternalName":
        return
    at = SPEC.child("clusterIPs")
    if spec.clusterIP:
        if not spec.clusterIPs:
            yield required(at)
        elif spec.clusterIPs[0] != spec.clusterIP:
            yield invalid(at, spec.clusterIPs, "first value must match `clusterIP`")
    elif spec.clusterIPs:
        yield invalid(at, spec.clusterIPs, "must be empty when `clusterIP` is not specified")
    for i, family in enumerate(spec.ipFamilies):
        here = SPEC.child("ipFamilies").index(i)
        if family not in FAMILIES:
            yield not_supported(here, family, FAMILIES)
        if family in spec.ipFamilies[:i]:
            yield duplicate(here, family)
    yield from optional(SPEC.child("ipFamilyPolicy"), spec.ipFamilyPolicy, POLICIES)
    yield from _addresses(at, spec)


def _addresses(path: Path, spec: ServiceSpec) -> Faults:
    addresses = spec.clusterIPs
    faults = []
    for i, address in enumerate(addresses):
        if i == 0 and address == "None":
            if len(addresses) > 1:
                faults.append(invalid(path, addresses, "'None' must be the first and only value"))
        else:
            faults += ip(path.index(i), address)
    yield from faults
    if len(addresses) > 2:
        yield invalid(path, addresses, "may only hold up to 2 values")
    if faults:
        return
    versions = [f"IPv{parsed.version}" for a in addresses if (parsed := parse_ip(a)) is not None]
    if len(set(versions)) < len(versions):
        yield invalid(path, addresses, "may specify no more than one IP for each IP family")
    for i, (version, family) in enumerate(zip(versions, spec.ipFamilies, strict=False)):
        if version != family and family in FAMILIES:
            yield invalid(path.index(i), addresses[i], f"expected an {family} value as indicated by `ipFamilies[{i}]`")


def _port_pairs(spec: ServiceSpec) -> Faults:
    """Node ports and ports are unique for each protocol."""
    at = SPEC.child("ports")
    if spec.type == "ClusterIP":
        for i, each in enumerate(spec.ports):
            if each.nodePort:
                yield forbidden(at.index(i).child("nodePort"), "may not be used when `type` is 'ClusterIP'")
    seen: set[tuple[str, int | None]] = set()
    for i, each in enumerate(spec.ports):
        if each.nodePort and (each.protocol, each.nodePort) in seen:
            yield duplicate(at.index(i).child("nodePort"), each.nodePort)
        seen.add((each.protocol, each.nodePort))
    seen = set()
    for i, each in enumerate(spec.ports):
        if (each.protocol, each.port) in seen:
            # As Go prints the struct that upstream compares by.
            shown = {"Name": "", "Protocol": each.protocol, "AppProtocol": None, "Port": each.port, "TargetPort": 0}
            yield duplicate(at.index(i), {**shown, "NodePort": 0})
        seen.add((each.protocol, each.port))


def _balancing(spec: ServiceSpec) -> Faults:
    balanced = spec.type == "LoadBalancer"
    if spec.loadBalancerSourceRanges:
        at = SPEC.child("LoadBalancerSourceRanges")
        if not balanced:
            yield forbidden(at, ONLY_BALANCED)
        for i, value in enumerate(spec.loadBalancerSourceRanges):
            yield from cidr(at.index(i), value.strip())
    if spec.allocateLoadBalancerNodePorts is not None and not balanced:
        yield forbidden(SPEC.child("allocateLoadBalancerNodePorts"), ONLY_BALANCED)
    if spec.loadBalancerClass:
        at = SPEC.child("loadBalancerClass")
        if balanced:
            yield from formed(at, spec.loadBalancerClass, names.qualified_name_faults)
        else:
            yield forbidden(at, ONLY_BALANCED)


def _traffic(spec: ServiceSpec) -> Faults:
    at = SPEC.child("externalTrafficPolicy")
    if externally_accessible(spec):
        yield from one_of(at, spec.externalTrafficPolicy, TRAFFIC)
    elif spec.externalTrafficPolicy:
        yield invalid(at, spec.externalTrafficPolicy, "may only be set for externally-accessible services")
    at = SPEC.child("healthCheckNodePort")
    if spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local":
        if not spec.healthCheckNodePort:
            yield required(at)
        else:
            yield from port_number(at, spec.healthCheckNodePort)
    elif spec.healthCheckNodePort:
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid(at, spec.healthCheckNodePort, why)
    at = SPEC.child("internalTrafficPolicy")
    if spec.type in ("NodePort", "LoadBalancer", "ClusterIP"):
        yield from one_of(at, spec.internalTrafficPolicy, TRAFFIC)
    else:
        yield from optional(at, spec.internalTrafficPolicy, TRAFFIC)
    yield from optional(SPEC.child("trafficDistribution"), spec.trafficDistribution, DISTRIBUTIONS)


def updated(new: Service, old: Service) -> Faults:
    """A cluster IP or a family is given once; a second one may come and go."""
    if "ExternalName" not in (new.spec.type, old.spec.type):
        yield from _ips_kept(new.spec, old.spec)
        yield from _families_kept(new.spec, old.spec)
    if new.spec.type == old.spec.type == "LoadBalancer":
        if new.spec.loadBalancerClass != old.spec.loadBalancerClass:
            yield invalid(SPEC.child("loadBalancerClass"), new.spec.loadBalancerClass, ONCE)
        if new.spec.externalTrafficPolicy == old.spec.externalTrafficPolicy == "Local":
            at = SPEC.child("healthCheckNodePort")
            if new.spec.healthCheckNodePort != old.spec.healthCheckNodePort:
                yield forbidden(at, "field is immutable")
    yield from service(new)


def _ips_kept(new: ServiceSpec, old: ServiceSpec) -> Faults:
    if is_headless(new) and is_headless(old):
        return
    now, before = new.clusterIPs, old.clusterIPs
    at = SPEC.child("clusterIPs")
    if len(now) == len(before):
        for i, address in enumerate(before):
            if address != now[i]:
                yield invalid(at.index(i), now, ONCE)
        return
    if len(now) < len(before) and not now:
        yield invalid(at.index(0), now, "primary clusterIP can not be unset")
    if now and before and now[0] != before[0]:
        yield invalid(at.index(0), now, ONCE)
    if len(now) < len(before) and len(now) == 1 and new.ipFamilyPolicy != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        yield invalid(SPEC.child("ipFamilyPolicy"), new.ipFamilyPolicy, why)


def _families_kept(new: ServiceSpec, old: ServiceSpec) -> Faults:
    if is_headless(new) or is_headless(old):
        return
    now, before = new.ipFamilies, old.ipFamilies
    at = SPEC.child("ipFamilies").index(0)
    if len(now) == len(before):
        if now != before:
            yield invalid(at, now, ONCE)
        return
    if now and before and now[0] != before[0]:
        yield invalid(at, new.clusterIPs, ONCE)
    if len(now) < len(before) and len(now) == 1 and new.ipFamilyPolicy != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield invalid(SPEC.child("ipFamilyPolicy"), new.ipFamilyPolicy, why)


def status_updated(new: Service, old: Service) -> Faults:
    at = Path("status").child("loadBalancer", "ingress")
    if new.spec.type != "LoadBalancer" and new.status.loadBalancer.ingress:
        yield forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for i, ingress in enumerate(new.status.loadBalancer.ingress):
        if ingress.ip:
            yield from ip(at.index(i).child("ip"), ingress.ip)
        if ingress.hostname:
            yield from formed(at.index(i).child("hostname"), ingress.hostname, names.dns_subdomain_faults)
