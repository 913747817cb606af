"""IP addresses and networks."""

import ipaddress
from dataclasses import dataclass

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import BOOL, CIDR, INT, IP, STRING

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Ip:
    cel_type = "net.IP"
    address: Address

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Cidr:
    cel_type = "net.CIDR"
    interface: Interface

    def __str__(self) -> str:
        return str(self.interface)


def _address(text: str) -> Address:
    """Raises ValueError with upstream's message."""
    if "%" in text:
        raise ValueError(f'IP address "{text}" with zone value is not allowed')
    try:
        address = ipaddress.ip_address(text)
    except ValueError as e:
        why = f'ParseAddr("{text}"): unable to parse IP'
        raise ValueError(f'IP Address "{text}" parse error during conversion from string: {why}') from e
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return address


def _ip(text: str) -> Ip:
    try:
        return Ip(_address(text))
    except ValueError as e:
        raise EvaluationFault(str(e)) from e


def _is_ip(text: str) -> bool:
    try:
        _address(text)
    except ValueError:
        return False
    return True


def _is_canonical(text: str) -> bool:
    return str(_ip(text)) == text


def _cidr(text: str) -> Cidr:
    """Raises EvaluationFault."""
    why = f"network address parse error during conversion from string: netip.ParsePrefix({text!r})".replace("'", '"')
    host, slash, bits = text.partition("/")
    if not slash or not bits.isdigit() or (len(bits) > 1 and bits.startswith("0")) or "%" in host:
        raise EvaluationFault(why)
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError as e:
        raise EvaluationFault(why) from e
    if isinstance(interface, ipaddress.IPv6Interface) and interface.ip.ipv4_mapped is not None:
        raise EvaluationFault(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Cidr(interface)


def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except EvaluationFault:
        return False
    return True


def _contains_ip(network: Cidr, ip: Ip) -> bool:
    return ip.address in network.interface.network


def _contains_cidr(network: Cidr, other: Cidr) -> bool:
    if network.interface.version != other.interface.version:
        return False
    shorter = network.interface.network.prefixlen <= other.interface.network.prefixlen
    return shorter and other.interface.ip in network.interface.network


def _link_local_multicast(ip: Ip) -> bool:
    if ip.address.version == 4:
        return ip.address in ipaddress.ip_network("224.0.0.0/24")
    return ip.address.packed[0] == 0xFF and ip.address.packed[1] & 0x0F == 0x02


def _global_unicast(ip: Ip) -> bool:
    a = ip.address
    if str(a) == "255.255.255.255":
        return False
    return not (a.is_unspecified or a.is_loopback or a.is_multicast or a.is_link_local)


OVERLOADS: list[Declared] = [
    function("ip", "string_to_ip", (STRING,), IP, _ip),
    function("isIP", "is_ip", (STRING,), BOOL, _is_ip),
    function("ip.isCanonical", "ip_is_canonical", (STRING,), BOOL, _is_canonical),
    function("string", "ip_to_string", (IP,), STRING, str),
    member("family", "ip_family", (IP,), INT, lambda ip: ip.address.version),
    member("isUnspecified", "ip_is_unspecified", (IP,), BOOL, lambda ip: ip.address.is_unspecified),
    member("isLoopback", "ip_is_loopback", (IP,), BOOL, lambda ip: ip.address.is_loopback),
    member("isLinkLocalMulticast", "ip_is_link_local_multicast", (IP,), BOOL, _link_local_multicast),
    member("isLinkLocalUnicast", "ip_is_link_local_unicast", (IP,), BOOL, lambda ip: ip.address.is_link_local),
    member("isGlobalUnicast", "ip_is_global_unicast", (IP,), BOOL, _global_unicast),
    function("cidr", "string_to_cidr", (STRING,), CIDR, _cidr),
    function("isCIDR", "is_cidr", (STRING,), BOOL, _is_cidr),
    function("string", "cidr_to_string", (CIDR,), STRING, str),
    member("containsIP", "cidr_contains_ip_string", (CIDR, STRING), BOOL, lambda c, s: _contains_ip(c, _ip(s))),
    member("containsIP", "cidr_contains_ip_ip", (CIDR, IP), BOOL, _contains_ip),
    member("containsCIDR", "cidr_contains_cidr_string", (CIDR, STRING), BOOL, lambda c, s: _contains_cidr(c, _cidr(s))),
    member("containsCIDR", "cidr_contains_cidr", (CIDR, CIDR), BOOL, _contains_cidr),
    member("ip", "cidr_ip", (CIDR,), IP, lambda c: Ip(c.interface.ip)),
    member("prefixLength", "cidr_prefix_length", (CIDR,), INT, lambda c: c.interface.network.prefixlen),
    member("masked", "cidr_masked", (CIDR,), CIDR, lambda c: Cidr(ipaddress.ip_interface(str(c.interface.network)))),
]
