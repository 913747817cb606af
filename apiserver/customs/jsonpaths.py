r"""The JSONPaths of printer columns, selectable fields and scales: `.spec.items[0].name`,
`.metadata.annotations.a\.b/c`, `.a['b.c']`, `.a[*].b`, `.status.conditions[?(@.type=="Ready")].status`.

https://kubernetes.io/docs/reference/kubectl/jsonpath/ has the language; here is what a single column can use of it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]
Path = tuple[Step, ...]

_NAME = re.compile(r"\.((?:\\.|[^.\[\]\\])+)")
_QUOTED = re.compile(r"""\[\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)")\s*\]""")
_INDEX = re.compile(r"\[\s*(-?\d+)\s*\]")
_SLICE = re.compile(r"\[\s*(-?\d*)\s*:\s*(-?\d*)\s*\]")
_ALL = re.compile(r"\[\s*\*\s*\]|\.\*")
_FILTER = re.compile(
    r"""\[\?\(\s*@((?:\.(?:\\.|[^.\[\]\\=!<>\s)])+)*)\s*(?:(==|!=|>=|<=|>|<)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s)]+)\s*)?\)\]"""
)


class Malformed(ValueError):
    pass


def parse(text: str) -> Path:
    """Raises Malformed."""
    steps: list[Step] = []
    at = 0
    text = text.removeprefix("{").removesuffix("}").removeprefix("$")
    while at < len(text):
        for expression, make in _STEPS:
            if found := expression.match(text, at):
                steps.append(make(found))
                at = found.end()
                break
        else:
            raise Malformed(f"unexpected path string, expected a '.' in the path: {text[at:]}" if not at else text[at:])
    return tuple(steps)


def find(path: Path, value: Any) -> list[Any]:
    """Everything that is there."""
    found = [value]
    for step in path:
        found = [inner for each in found for inner in step(each)]
    return found


def names(text: str) -> tuple[str, ...] | None:
    r"""The names of a path that has nothing but names (`.spec.a\.b`); None for any other."""
    found, at = [], 0
    while at < len(text):
        match = _NAME.match(text, at)
        if match is None or "*" in match[1]:
            return None
        found.append(_plain(match[1]))
        at = match.end()
    return tuple(found) or None


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _by_name(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _by_index(match: re.Match[str]) -> Step:
    at = int(match[1])

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= at < len(value):
            yield value[at]

    return step


def _by_slice(match: re.Match[str]) -> Step:
    which = slice(*(int(edge) if edge else None for edge in match.groups()))
    return lambda value: iter(value[which] if isinstance(value, list) else ())


def _everything(_: re.Match[str]) -> Step:
    return lambda value: iter(value if isinstance(value, list) else value.values() if isinstance(value, dict) else ())


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, "<": lambda a, b: a < b,
}  # fmt: skip


def _filtered(match: re.Match[str]) -> Step:
    path, sign, literal = parse(match[1]), match[2], match[3]
    wanted = _literal(literal) if literal is not None else None

    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            found = find(path, item)
            if not found:
                continue
            if sign is None or (_alike(found[0], wanted) and _COMPARED[sign](found[0], wanted)):
                yield item

    return step


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return isinstance(a, bool) and isinstance(b, bool)
    return isinstance(a, str) == isinstance(b, str) and isinstance(a, str | int | float)


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return _plain(text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError as e:
        raise Malformed(f"unrecognized identifier {text}") from e


_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Step]], ...] = (
    (_ALL, _everything),
    (_NAME, lambda match: _by_name(_plain(match[1]))),
    (_QUOTED, lambda match: _by_name(_plain(match[1] if match[1] is not None else match[2]))),
    (_INDEX, _by_index),
    (_SLICE, _by_slice),
    (_FILTER, _filtered),
)
