"""Paths into an object, and the faults found at them, in upstream's words.

The forms are those of apimachinery's `field` package: `spec.containers[0].name: Required value`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from api import errors


@dataclass(frozen=True, slots=True)
class Path:
    """`Path("spec").child("containers").index(0)` prints as `spec.containers[0]`; `key` quotes nothing: `[a/b]`."""

    text: str = ""

    def child(self, *names: str) -> "Path":
        return Path(".".join([self.text, *names] if self.text else names))

    def index(self, at: int) -> "Path":
        return Path(f"{self.text}[{at}]")

    def key(self, key: str) -> "Path":
        return Path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule. `reason` is the cause's machine-readable reason, e.g. FieldValueInvalid."""

    reason: str
    path: str
    message: str
    """Without the path."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def show(value: Any) -> str:
    """A value as upstream's messages show it: strings quoted, true/false, composite ones as JSON."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return msgspec.json.encode(value, order="sorted" if isinstance(value, dict) else None).decode()


def invalid(path: Path, value: Any, why: str) -> Fault:
    return Fault("FieldValueInvalid", str(path), f"Invalid value: {show(value)}: {why}")


def required(path: Path, why: str = "") -> Fault:
    return Fault("FieldValueRequired", str(path), "Required value" + (f": {why}" if why else ""))


def duplicate(path: Path, value: Any, why: str = "") -> Fault:
    return Fault("FieldValueDuplicate", str(path), f"Duplicate value: {show(value)}" + (f": {why}" if why else ""))


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> Fault:
    listed = ", ".join(json.dumps(s) for s in sorted(supported))
    return Fault("FieldValueNotSupported", str(path), f"Unsupported value: {show(value)}: supported values: {listed}")


def forbidden(path: Path, why: str) -> Fault:
    return Fault("FieldValueForbidden", str(path), f"Forbidden: {why}")


def too_long(path: Path, limit: int) -> Fault:
    return Fault("FieldValueTooLong", str(path), f"Too long: may not be more than {limit} bytes")


def too_many(path: Path, actual: int, limit: int) -> Fault:
    return Fault("FieldValueTooMany", str(path), f"Too many: {actual}: must have at most {limit} items")


def not_found(path: Path, value: Any, why: str = "") -> Fault:
    return Fault("FieldValueNotFound", str(path), f"Not found: {show(value)}" + (f": {why}" if why else ""))


def refusal(group: str, kind: str, name: str, faults: list[Fault]) -> errors.Invalid:
    """The 422 that names every fault: `Pod "x" is invalid: PATH: MESSAGE` or, if several, in brackets."""
    seen = list(dict.fromkeys(faults))
    group_kind = f"{kind}.{group}" if group else kind
    text = str(seen[0]) if len(seen) == 1 else "[" + ", ".join(map(str, seen)) + "]"
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    details |= {
        "kind": kind,
        "causes": [{"reason": f.reason, "message": f.message, "field": f.path} for f in seen],
    }
    return errors.Invalid(f'{group_kind} "{name}" is invalid: {text}', details)
