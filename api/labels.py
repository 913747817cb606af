"""Label selectors: the equality- and set-based text form, and the LabelSelector object.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api import names
from api.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition. `operator` is one of = != in notin exists !exists gt lt; `=` and `!=` have one value."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return value in self.values
            case "!=" | "notin":
                return value not in self.values  # an absent label is not in any set of values
            case "exists":
                return value is not None
            case "!exists":
                return value is None
        if value is None or not re.fullmatch("-?[0-9]+", value):
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator == "gt" else int(value) < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!exists":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{next(iter(self.values))}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; without any, everything matches. `nothing` matches no object at all."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(r.matches(labels) for r in self.requirements)

    def __bool__(self) -> bool:
        """Whether the selector can refuse anything."""
        return self.nothing or bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)

_TOKEN = re.compile(r"\s*(?:(?P<word>[^\s,()!=<>]+)|(?P<sign>==|!=|[=!<>,()]))")


def parse(text: str) -> Selector:
    """`a=b,c!=d,e in (f,g),!h,i>1` → Selector.  Raises BadRequest in upstream's words."""
    if not text.strip():
        return EVERYTHING
    try:
        return Selector(tuple(_parse(_tokens(text))))
    except ValueError as e:
        raise BadRequest(f"unable to parse requirement: {e}") from None


def _tokens(text: str) -> list[str]:
    text = text.rstrip()
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None  # every character but white space is a word's or a sign
        tokens.append(found["word"] or found["sign"])
        at = found.end()
    return [*tokens, ""]


_SIGNS = {"=", "==", "!=", "!", "<", ">", ",", "(", ")", ""}


def _parse(tokens: list[str]) -> list[Requirement]:
    requirements, at = [], 0

    def word(expected: str = "identifier") -> str:
        nonlocal at
        if tokens[at] in _SIGNS:
            raise ValueError(f"found '{tokens[at]}', expected: {expected}")
        at += 1
        return tokens[at - 1]

    while True:
        if tokens[at] == "!":
            at += 1
            requirements.append(_checked(word(), "!exists", frozenset()))
        else:
            key, operator = word("!, identifier, or 'end of string'"), tokens[at]
            at += 1
            match operator:
                case "," | "":
                    at -= 1
                    requirements.append(_checked(key, "exists", frozenset()))
                case "in" | "notin":
                    if tokens[at] != "(":
                        raise ValueError(f"found '{tokens[at]}' expected: '('")
                    at += 1
                    values = set()
                    while tokens[at] != ")":
                        if tokens[at] == ",":
                            at += 1
                            values |= {""} if tokens[at] in (",", ")") else set()
                            continue
                        values.add(word("',', ')' or identifier"))
                        if tokens[at] not in (",", ")"):
                            raise ValueError(f"found '{tokens[at]}', expected: ',' or ')'")
                    at += 1
                    requirements.append(_checked(key, operator, frozenset(values or {""})))
                case "=" | "==" | "!=" | "<" | ">":
                    value = ""
                    if tokens[at] not in (",", ""):
                        value = word()
                    name = {"==": "=", "<": "lt", ">": "gt"}.get(operator, operator)
                    requirements.append(_checked(key, name, frozenset({value})))
                case _:
                    raise ValueError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        if tokens[at] == "":
            return requirements
        if tokens[at] != ",":
            raise ValueError(f"found '{tokens[at]}', expected: ',' or 'end of string'")
        at += 1


def _checked(key: str, operator: str, values: frozenset[str]) -> Requirement:
    if faults := names.qualified_name_faults(key):
        raise ValueError(f'key: Invalid value: "{key}": {"; ".join(faults)}')
    for value in values:
        if faults := names.label_value_faults(value):
            raise ValueError(f'values[0][{key}]: Invalid value: "{value}": {"; ".join(faults)}')
        if operator in ("gt", "lt") and not re.fullmatch("-?[0-9]+", value):
            raise ValueError(
                f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            )
    return Requirement(key, operator, values)


def from_object(selector: Any) -> Selector:
    """A LabelSelector Struct → Selector: None selects nothing, the empty one everything."""
    if selector is None:
        return NOTHING
    requirements = [Requirement(k, "=", frozenset({v})) for k, v in sorted(selector.matchLabels.items())]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists"}
    requirements += [Requirement(e.key, operators[e.operator], frozenset(e.values)) for e in selector.matchExpressions]
    return Selector(tuple(requirements))


def from_map(labels: Mapping[str, str]) -> Selector:
    """An equality map, as Services and ReplicationControllers have → Selector."""
    return Selector(tuple(Requirement(k, "=", frozenset({v})) for k, v in sorted(labels.items())))
