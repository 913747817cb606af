"""Named forms of strings: `format.dns1123Label().validate(x)`."""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from api import names
from machinery.cel import values
from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries import urls
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import FORMAT, STRING, listed, optional
from machinery.cel.values import NOTHING, Optional

Check = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Format:
    cel_type = "kubernetes.NamedFormat"
    name: str
    check: Check


def _prefix(check: Check) -> Check:
    """A generated name's beginning may end in a dash."""
    return lambda text: check(f"{text[:-1]}a" if text.endswith("-") else text)


def _uri(text: str) -> list[str]:
    try:
        urls.parse(text)
    except EvaluationFault as e:
        return [e.message.removeprefix("URL parse error during conversion from string: ")]
    return []


_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def _uuid(text: str) -> list[str]:
    return [] if _UUID.fullmatch(text) else ["does not match the UUID format"]


def _byte(text: str) -> list[str]:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return ["invalid base64"]
    return []


def _date(text: str) -> list[str]:
    try:
        return [] if date.fromisoformat(text).isoformat() == text else ["invalid date"]
    except ValueError:
        return ["invalid date"]


def _datetime(text: str) -> list[str]:
    try:
        values.timestamp(text)
    except EvaluationFault:
        return ["invalid datetime"]
    return []


CHECKS: dict[str, Check] = {
    "dns1123Label": names.dns_label_faults,
    "dns1123Subdomain": names.dns_subdomain_faults,
    "dns1035Label": names.dns_1035_faults,
    "qualifiedName": names.qualified_name_faults,
    "dns1123LabelPrefix": _prefix(names.dns_label_faults),
    "dns1123SubdomainPrefix": _prefix(names.dns_subdomain_faults),
    "dns1035LabelPrefix": _prefix(names.dns_1035_faults),
    "labelValue": names.label_value_faults,
    "uri": _uri,
    "uuid": _uuid,
    "byte": _byte,
    "date": _date,
    "datetime": _datetime,
}
FORMATS = {name: Format(name, check) for name, check in CHECKS.items()}


def _named(name: str) -> Optional:
    return Optional(FORMATS[name]) if name in FORMATS else NOTHING


def _validate(form: Format, text: str) -> Optional:
    faults = form.check(text)
    return Optional(faults) if faults else NOTHING


def _overloads() -> Iterator[Declared]:
    yield function("format.named", "format-named", (STRING,), optional(FORMAT), _named)
    yield member("validate", "format-validate", (FORMAT, STRING), optional(listed(STRING)), _validate)
    for name, form in FORMATS.items():
        yield function(f"format.{name}", f"format.{name}", (), FORMAT, _constant(form))


def _constant(form: Format) -> Callable[[], Format]:
    return lambda: form


OVERLOADS: list[Declared] = list(_overloads())
