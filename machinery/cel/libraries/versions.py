"""Semantic versions: `semver('1.2.3')`.

https://semver.org
"""

import re
from dataclasses import dataclass
from functools import total_ordering

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import BOOL, INT, SEMVER, STRING

_FORM = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """What is after `+` does not count."""

    cel_type = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    before: tuple[str, ...]

    def _rank(self) -> tuple[object, ...]:
        """Numbers before words; a release after everything that comes before it."""
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.before)
        return (self.numbers, not self.before, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._rank() == other._rank()

    def __lt__(self, other: "Version") -> bool:
        return self._rank() < other._rank()

    def __hash__(self) -> int:
        return hash(self._rank())


def parse(text: str, normalize: bool = False) -> Version:
    """Raises EvaluationFault."""
    found = _FORM.fullmatch(_normal(text) if normalize else text)
    if not found:
        why = (
            "No Major.Minor.Patch elements found" if text.count(".") < 2 else f'Invalid character(s) found in "{text}"'
        )
        raise EvaluationFault(why)
    major, minor, patch = (int(part) for part in found.groups()[:3])
    return Version((major, minor, patch), tuple(found[4].split(".")) if found[4] else ())


def _normal(text: str) -> str:
    """Without a leading `v`, with all three numbers, and those without leading zeros."""
    parts = text.removeprefix("v").split(".", 2)
    for at, part in enumerate(parts):
        if len(part) > 1:
            short = part.lstrip("0")
            parts[at] = short if short[:1].isdigit() else f"0{short}"
    if len(parts) < 3 and ("+" in parts[-1] or "-" in parts[-1]):
        raise EvaluationFault("short version cannot contain PreRelease/Build meta data")
    return ".".join([*parts, "0", "0"][:3])


def _is_version(text: str, normalize: bool = False) -> bool:
    try:
        parse(text, normalize)
    except EvaluationFault:
        return False
    return True


OVERLOADS: list[Declared] = [
    function("semver", "string_to_semver", (STRING,), SEMVER, parse),
    function("semver", "string_bool_to_semver", (STRING, BOOL), SEMVER, parse),
    function("isSemver", "is_semver_string", (STRING,), BOOL, _is_version),
    function("isSemver", "is_semver_string_bool", (STRING, BOOL), BOOL, _is_version),
    member("isGreaterThan", "semver_is_greater_than", (SEMVER, SEMVER), BOOL, lambda a, b: a > b),
    member("isLessThan", "semver_is_less_than", (SEMVER, SEMVER), BOOL, lambda a, b: a < b),
    member("compareTo", "semver_compare_to", (SEMVER, SEMVER), INT, lambda a, b: (a > b) - (a < b)),
    member("major", "semver_major", (SEMVER,), INT, lambda v: v.numbers[0]),
    member("minor", "semver_minor", (SEMVER,), INT, lambda v: v.numbers[1]),
    member("patch", "semver_patch", (SEMVER,), INT, lambda v: v.numbers[2]),
]
