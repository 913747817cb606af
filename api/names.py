"""The forms that names, labels and ports must have, and upstream's words for what is wrong with them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and apimachinery's `validation` package.
Each `*_faults` function answers with the reasons why a value is refused; an empty list means that it is good.
"""

import re
from collections.abc import Iterable

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
SEARCH_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
SEARCH = rf"{SEARCH_LABEL}(\.{SEARCH_LABEL})*"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
CONFIG_KEY = r"[-._a-zA-Z0-9]+"
C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
CONDITION_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
HEADER_NAME = "[-A-Za-z0-9]+"


def _regex_fault(message: str, pattern: str, *examples: str) -> str:
    shown = f"'{examples[0]}'" + "".join(f",  or '{e}'" for e in examples[1:])
    return f"{message} (e.g. {shown}, regex used for validation is '{pattern}')"


def _longer(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def dns_label_faults(value: str) -> list[str]:
    """A lowercase RFC 1123 label: names of Services, containers, namespaces."""
    faults = [_longer(63)] if len(value) > 63 else []
    if re.fullmatch(LABEL, value):
        return faults
    if re.fullmatch(SUBDOMAIN, value):
        faults.append("must not contain dots")
    else:
        faults.append(
            _regex_fault(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                "and end with an alphanumeric character",
                LABEL, "my-name", "123-abc",
            )
        )  # fmt: skip
    return faults


def dns_1035_faults(value: str) -> list[str]:
    """An RFC 1035 label: kinds and versions of APIs."""
    faults = [_longer(63)] if len(value) > 63 else []
    if not re.fullmatch(LABEL_1035, value):
        faults.append(
            _regex_fault(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                "character, and end with an alphanumeric character",
                LABEL_1035, "my-name", "abc-123",
            )
        )  # fmt: skip
    return faults


def dns_subdomain_faults(value: str) -> list[str]:
    """A lowercase RFC 1123 subdomain: names of most objects."""
    faults = [_longer(253)] if len(value) > 253 else []
    if not re.fullmatch(SUBDOMAIN, value):
        faults.append(
            _regex_fault(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                "must start and end with an alphanumeric character",
                SUBDOMAIN, "example.com",
            )
        )  # fmt: skip
    return faults


def search_path_faults(value: str) -> list[str]:
    """Where DNS looks for names, which may have underscores there: a subdomain otherwise."""
    faults = [_longer(253)] if len(value) > 253 else []
    if not re.fullmatch(SEARCH, value):
        faults.append(
            _regex_fault(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
                "and must start and end with an alphanumeric character",
                SEARCH, "example.com",
            )
        )  # fmt: skip
    return faults


def path_segment_faults(value: str) -> list[str]:
    """What can stand in a URL path: names of roles and the like."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{c}'" for c in "/%" if c in value]


def qualified_name_faults(value: str) -> list[str]:
    """A label or annotation key: an optional DNS prefix, a slash, a name."""
    parts = value.split("/")
    faults: list[str] = []
    if len(parts) == 2:
        prefix, name = parts
        if not prefix:
            faults.append("prefix part must be non-empty")
        else:
            faults += [f"prefix part {fault}" for fault in dns_subdomain_faults(prefix)]
    elif len(parts) == 1:
        name = parts[0]
    else:
        return [
            "a qualified name "
            + _regex_fault(
                "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                "alphanumeric character", QUALIFIED, "MyName", "my.name", "123-abc",
            )
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]  # fmt: skip
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part " + _longer(63))
    if not re.fullmatch(QUALIFIED, name):
        faults.append(
            "name part "
            + _regex_fault(
                "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                "alphanumeric character", QUALIFIED, "MyName", "my.name", "123-abc",
            )
        )  # fmt: skip
    return faults


def label_value_faults(value: str) -> list[str]:
    faults = [_longer(63)] if len(value) > 63 else []
    if not re.fullmatch(LABEL_VALUE, value):
        faults.append(
            _regex_fault(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character",
                LABEL_VALUE, "MyValue", "my_value", "12345",
            )
        )  # fmt: skip
    return faults


def config_key_faults(value: str) -> list[str]:
    """A key of a ConfigMap or Secret: it becomes a file name."""
    faults = [_longer(253)] if len(value) > 253 else []
    if not re.fullmatch(CONFIG_KEY, value):
        faults.append(
            _regex_fault(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                CONFIG_KEY, "key.name", "KEY_NAME", "key-name",
            )
        )  # fmt: skip
    elif value == ".":
        faults.append("must not be '.'")
    elif value == "..":
        faults.append("must not be '..'")
    elif value.startswith(".."):
        faults.append("must not start with '..'")
    return faults


def port_name_faults(value: str) -> list[str]:
    """An IANA service name: what targetPort may name."""
    faults: list[str] = []
    if len(value) > 15:
        faults.append(_longer(15))
    if not re.fullmatch("[-a-z0-9]+", value):
        faults.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        faults.append("must contain at least one letter (a-z)")
    if "--" in value:
        faults.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        faults.append("must not begin or end with a hyphen")
    return faults


def env_name_faults(value: str) -> list[str]:
    """The name of an environment variable, in the relaxed form that upstream allows since 1.30."""
    if not value:
        return ["environment variable name must be non-empty"]
    if any(not " " <= c <= "~" or c == "=" for c in value):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def c_identifier_faults(value: str) -> list[str]:
    """The name of a device's attribute or capacity."""
    if re.fullmatch(C_IDENTIFIER, value):
        return []
    why = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
        "characters or '_'"
    )
    return [_regex_fault(why, C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def condition_reason_faults(value: str) -> list[str]:
    if re.fullmatch(CONDITION_REASON, value):
        return []
    why = (
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
        "characters or '_,:', and must end with an alphanumeric character or '_'"
    )
    return [_regex_fault(why, CONDITION_REASON, "my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")]


def header_name_faults(value: str) -> list[str]:
    """The name of an HTTP header."""
    if re.fullmatch(HEADER_NAME, value):
        return []
    why = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [_regex_fault(why, HEADER_NAME, "X-Header-Name")]


def percent_faults(value: str) -> list[str]:
    """A share such as 25%."""
    if re.fullmatch("[0-9]+%", value):
        return []
    why = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_regex_fault(why, "[0-9]+%", "1%", "93%")]


def port_number_faults(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def join(faults: Iterable[str]) -> str:
    return ", ".join(faults)
