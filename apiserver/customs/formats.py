"""The formats that strings are checked for; any other format says nothing.

https://github.com/kubernetes/kube-openapi/tree/master/pkg/validation/strfmt
"""

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import re2

from api import quantities
from api.names import dns_label_faults, dns_subdomain_faults

_UUID = r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?%s-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_HOST = r"([a-zA-Z0-9\x{a1}-\x{ffff}]([a-zA-Z0-9\x{a1}-\x{ffff}-]{0,62}[a-zA-Z0-9\x{a1}-\x{ffff}])?\.?)+"
_DATE_TIME = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)([.,]\d+)?([Zz]|[+-]\d\d:?\d\d)?"
_DURATION = r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)(((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)"
_SPOKEN = r"(\d+)\s*(ns|nano|us|µs|micro|ms|milli|s|sec|second|seconds|m|min|minute|minutes|h|hr|hour|hours|d|day|days|w|wk|week|weeks)"  # noqa: E501
_COLOURS = re.compile(r"\s*rgb\((\s*(\d{1,3}%?)\s*,){2}\s*(\d{1,3}%?)\s*\)\s*")


def _expression(text: str) -> Callable[[str], bool]:
    compiled = re2.compile(text)  # in linear time: as Python reads it, a name of 30 letters takes minutes
    return lambda value: compiled.fullmatch(value) is not None


_is_host, _is_duration, _is_spoken = map(_expression, (_HOST, _DURATION, _SPOKEN))


def _parsed(function: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            function(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _date_time(value: str) -> bool:
    found = re.fullmatch(_DATE_TIME, value)
    if found is None:
        return False
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    return _parsed(lambda _: datetime.datetime(year, month, day, hour, minute, second))(value)  # noqa: DTZ001


def _uri(value: str) -> bool:
    try:
        found = urlsplit(value)
    except ValueError:
        return False
    return bool(value) and (bool(found.scheme) or value.startswith("/")) and not re.search(r"[\s\x00-\x1f]", value)


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _expression("[0-9a-fA-F]{24}"),
    "uri": _uri,
    "email": _expression(r"[^@\s,;:<>()\[\]\\\"]+@[^@\s,;<>()\\\"]+"),
    "hostname": lambda v: len(v) <= 255 and _is_host(v),
    "ipv4": _parsed(ipaddress.IPv4Address),
    "ipv6": _parsed(ipaddress.IPv6Address),
    "cidr": lambda v: "/" in v and _parsed(lambda t: ipaddress.ip_network(t, strict=False))(v),
    "mac": _expression(
        r"([0-9a-fA-F]{2}[:-]){5}([0-9a-fA-F]{2}[:-]){0,2}[0-9a-fA-F]{2}|([0-9a-fA-F]{4}\.){2,3}[0-9a-fA-F]{4}"
    ),
    "uuid": _expression(_UUID % ("[0-9a-f]{4}", "[0-9a-f]")),
    "uuid3": _expression(_UUID % ("3[0-9a-f]{3}", "[0-9a-f]")),
    "uuid4": _expression(_UUID % ("4[0-9a-f]{3}", "[89ab]")),
    "uuid5": _expression(_UUID % ("5[0-9a-f]{3}", "[89ab]")),
    "isbn": lambda v: _isbn(v, 10) or _isbn(v, 13),
    "isbn10": lambda v: _isbn(v, 10),
    "isbn13": lambda v: _isbn(v, 13),
    "creditcard": lambda v: _luhn(re.sub(r"[ -]", "", v)),
    "ssn": _expression(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _expression("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": lambda v: _COLOURS.fullmatch(v) is not None,
    "byte": _parsed(lambda v: base64.b64decode(v, validate=True)),
    "password": lambda _: True,
    "date": _parsed(lambda v: datetime.datetime.strptime(v, "%Y-%m-%d")),  # noqa: DTZ007
    "duration": lambda v: _is_duration(v) or _is_spoken(v) or v == "0",
    "date-time": _date_time,
    "datetime": _date_time,
    "quantity": _parsed(quantities.parse),
    "k8s-short-name": lambda v: not dns_label_faults(v),
    "k8s-long-name": lambda v: not dns_subdomain_faults(v),
}
NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def is_known(name: str) -> bool:
    return name.replace("-", "") in _NORMAL


def means_something(name: str, type_: str) -> bool:
    """Whether anything is checked because of the format, where a value is of that type; "" is any."""
    return is_known(name) if type_ in ("", "string") else name in NUMBERS.get(type_, ())


def fits(name: str, value: str) -> bool:
    """Whether a string has a format; dashes in the format's name do not count."""
    check = _NORMAL.get(name.replace("-", ""))
    return check is None or check(value)


_NORMAL = {name.replace("-", ""): check for name, check in FORMATS.items()}


def _isbn(text: str, length: int) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if length == 10:
        if not re.fullmatch(r"\d{9}[\dX]", digits):
            return False
        return sum((10 - i) * (10 if d == "X" else int(d)) for i, d in enumerate(digits)) % 11 == 0
    return (
        bool(re.fullmatch(r"\d{13}", digits))
        and sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10 == 0
    )


def _luhn(digits: str) -> bool:
    if not re.fullmatch(r"\d{12,19}", digits):
        return False
    doubled = (int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits)))
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0
