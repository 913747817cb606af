"""Rules about single values, which every kind uses. Each yields the faults of one value at one path."""

import ipaddress
import os.path
from collections.abc import Callable, Collection, Iterator
from typing import Any

from api import names
from api.addresses import decimal
from api.paths import Fault, Path, invalid, not_supported, required

Faults = Iterator[Fault]

NEGATIVE = "must be greater than or equal to 0"
NOT_POSITIVE = "must be greater than zero"
IMMUTABLE = "field is immutable"
PROTOCOLS = {"TCP", "UDP", "SCTP"}
BIGGEST_ID = 2**31 - 1


def nonnegative(path: Path, value: int | None) -> Faults:
    if value is not None and value < 0:
        yield invalid(path, value, NEGATIVE)


def positive(path: Path, value: int | None) -> Faults:
    if (value or 0) <= 0:
        yield invalid(path, value or 0, NOT_POSITIVE)


def within(path: Path, value: int | None, low: int, high: int) -> Faults:
    if value is not None and not low <= value <= high:
        yield invalid(path, value, f"must be between {low} and {high}, inclusive")


def one_of(path: Path, value: str | None, supported: Collection[str]) -> Faults:
    """A value out of a list, that must be there."""
    if not value:
        yield required(path)
    elif value not in supported:
        yield not_supported(path, value, supported)


def optional(path: Path, value: str | None, supported: Collection[str]) -> Faults:
    """A value out of a list, or none."""
    if value and value not in supported:
        yield not_supported(path, value, supported)


def formed(path: Path, value: str | None, faults: Callable[[str], list[str]]) -> Faults:
    """A value of the form that `faults` (of api.names) tests."""
    for why in faults(value or ""):
        yield invalid(path, value or "", why)


def immutable(path: Path, new: Any, old: Any) -> Faults:
    if new != old:
        yield invalid(path, new, IMMUTABLE)


def port_number(path: Path, value: int | None) -> Faults:
    for why in names.port_number_faults(value or 0):
        yield invalid(path, value or 0, why)


def port(path: Path, value: int | str | None) -> Faults:
    """A number, or the name of a container's port."""
    if isinstance(value, str):
        yield from formed(path, value, names.port_name_faults)
    else:
        yield from port_number(path, value)


def ip(path: Path, value: str | None) -> Faults:
    if parse_ip(value) is None:
        yield invalid(path, value or "", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def cidr(path: Path, value: str) -> Faults:
    try:
        ipaddress.ip_network(value, strict=False)
        good = value.rpartition("/")[2].isdecimal() and "/" in value  # and no mask, as Python takes it
    except ValueError:
        good = False
    if not good:
        yield invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


def strict_cidr(path: Path, value: str) -> Faults:
    """As upstream asks it of fields that are younger than such rules: a network, written in the one usual way."""
    faults = list(cidr(path, value))
    if faults:
        yield from faults
        return
    there = ipaddress.ip_interface(value)
    if isinstance(there, ipaddress.IPv6Interface) and there.ip.ipv4_mapped is not None:
        yield invalid(path, value, "must not have an IPv4-mapped IPv6 address")
    elif there.ip != there.network.network_address:
        yield invalid(path, value, "must not have bits set beyond the prefix length")
    elif value != str(there.network):
        yield invalid(path, value, f'must be in canonical form ("{there.network}")')


def ordinary_ip(path: Path, value: str | None) -> Faults:
    """An address that means the same everywhere: neither unspecified, nor loopback, nor link-local."""
    address = parse_ip(value)
    if address is None:
        yield invalid(path, value or "", "must be a valid IP address")
        return
    if address.is_unspecified:
        yield invalid(path, value, f"may not be unspecified ({value})")
    if address.is_loopback:
        yield invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address.is_multicast and str(address).startswith(("224.0.0.", "ff02:")):
        yield invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def parse_ip(value: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None if it is none. Python's may have a zone behind a %, the API's may not."""
    if "%" in (value or ""):
        return None
    try:
        return ipaddress.ip_address(decimal(value or ""))
    except ValueError:
        return None


def user_or_group(path: Path, value: int | None) -> Faults:
    yield from within(path, value, 0, BIGGEST_ID)


def no_backsteps(path: Path, value: str) -> Faults:
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def descending(path: Path, value: str) -> Faults:
    """A relative path that stays below where it starts."""
    if os.path.isabs(value):
        yield invalid(path, value, "must be a relative path")
    yield from no_backsteps(path, value)


def local(path: Path, value: str) -> Faults:
    """A descending path whose name is not reserved."""
    yield from descending(path, value)
    if value.startswith("..") and not value.startswith("../"):
        yield invalid(path, value, "must not start with '..'")
