"""Regular expressions in RE2's form, whose time is linear in the text: nobody can hang the server with one."""

from typing import Any

import re2

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, member
from machinery.cel.types import INT, STRING, listed
from machinery.remembering import remembered

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 << 20


@remembered(256)
def pattern(text: str) -> Any:
    """Raises EvaluationFault."""
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as e:
        why = e.args[0] if e.args else text
        if isinstance(why, bytes):
            why = why.decode(errors="replace")
        raise EvaluationFault(f"error parsing regexp: {why}") from e


def matches(text: str, expression: str) -> bool:
    return pattern(expression).search(text) is not None


def find(text: str, expression: str) -> str:
    found = pattern(expression).search(text)
    return str(found.group()) if found is not None else ""


def find_all(text: str, expression: str, most: int = -1) -> list[str]:
    found: list[str] = []
    for match in pattern(expression).finditer(text):
        if 0 <= most <= len(found):
            break
        found.append(match.group())
    return found


OVERLOADS: list[Declared] = [
    member("find", "string_find_string", (STRING, STRING), STRING, find),
    member("findAll", "string_find_all_string", (STRING, STRING), listed(STRING), find_all),
    member("findAll", "string_find_all_string_int", (STRING, STRING, INT), listed(STRING), find_all),
]
