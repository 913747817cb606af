"""Rules of the objects that tell of addresses: IPAddress and ServiceCIDR."""

from ipaddress import ip_address, ip_network

from api.paths import Path, invalid, required
from api.types import IPAddress, ServiceCIDR
from apiserver.rules.validation.values import Faults, immutable, strict_cidr

SPEC = Path("spec")
FAMILIES = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def address_name_faults(value: str) -> list[str]:
    """An IPAddress is named by the address, in the one form that every address has."""
    try:
        canonical = str(ip_address(value))
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return [] if canonical == value else [f'must be in canonical form ("{canonical}")']


def ip_address_object(obj: IPAddress) -> Faults:
    parent, at = obj.spec.parentRef, SPEC.child("parentRef")
    if parent is None:
        yield required(at)
        return
    for name in ("resource", "name"):
        if not getattr(parent, name):
            yield required(at.child(name))


def ip_address_updated(new: IPAddress, old: IPAddress) -> Faults:
    yield from ip_address_object(new)
    yield from immutable(SPEC.child("parentRef"), _parent(new), _parent(old))


def _parent(obj: IPAddress) -> tuple[str | None, ...]:
    parent = obj.spec.parentRef
    return (parent.group, parent.resource, parent.namespace, parent.name) if parent is not None else ()


def service_cidr(obj: ServiceCIDR) -> Faults:
    cidrs, at = obj.spec.cidrs, SPEC.child("cidrs")
    if not cidrs:
        yield required(at, "at least one CIDR required")
        return
    if len(cidrs) > 2:
        yield invalid(at, cidrs, "may only hold up to 2 values")
    faults = [fault for i, text in enumerate(cidrs) for fault in strict_cidr(at.index(i), text)]
    if not faults and len(cidrs) == 2 and len({ip_network(text, strict=False).version for text in cidrs}) < 2:
        yield invalid(at, cidrs, FAMILIES)
    yield from faults


def service_cidr_updated(new: ServiceCIDR, old: ServiceCIDR) -> Faults:
    """Ranges stay, but a family may be added behind the one there is."""
    if len(old.spec.cidrs) == 1 and len(new.spec.cidrs) == 2 and new.spec.cidrs[0] == old.spec.cidrs[0]:
        yield from service_cidr(new)
        return
    yield from immutable(SPEC.child("cidrs"), new.spec.cidrs, old.spec.cidrs)
