"""cel-go's extended strings, version 2, and Kubernetes' searches by regular expression."""

from collections.abc import Iterator
from typing import Any

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries import regexes
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.libraries.formatting import formatted, quoted
from machinery.cel.operators import fits, no_such_overload
from machinery.cel.types import DYN, INT, STRING, listed

_TO_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_TO_UPPER = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}
STRINGS = listed(STRING)


def _out_of_range(position: int) -> EvaluationFault:
    return EvaluationFault(f"index out of range: {position}")


def _char_at(text: str, position: int) -> str:
    if not 0 <= position <= len(text):
        raise _out_of_range(position)
    return text[position : position + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not part:
        return start
    if not text and not start:
        return -1
    if not 0 <= start < len(text):
        raise _out_of_range(start)
    return text.find(part, start)


def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part) if part else len(text)


def _last_index_of_until(text: str, part: str, last: int) -> int:
    if not part:
        return last
    if not 0 <= last < len(text):
        raise _out_of_range(last)
    return text.rfind(part, 0, last + len(part))


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    times = text.count(old)
    if 0 <= count < times:
        times = count
    fits(len(text) + times * max(len(new) - len(old), 0))
    return text.replace(old, new, count)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if not separator:
        pieces = list(text)
        if 0 < count < len(pieces):
            pieces = [*pieces[: count - 1], text[count - 1 :]]
        return pieces
    return text.split(separator, count - 1 if count > 0 else -1)


def _join(parts: list[Any], separator: str = "") -> str:
    if not all(type(part) is str for part in parts):
        raise no_such_overload()
    fits(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _substring(text: str, start: int, end: int | None = None) -> str:
    last = len(text) if end is None else end
    if end is not None and start > end:
        raise EvaluationFault(f"invalid substring range. start: {start}, end: {end}")
    for position in (start, last):
        if not 0 <= position <= len(text):
            raise _out_of_range(position)
    return text[start:last]


def _overloads() -> Iterator[Declared]:
    yield member("charAt", "string_char_at_int", (STRING, INT), STRING, _char_at)
    yield member("indexOf", "string_index_of_string", (STRING, STRING), INT, _index_of)
    yield member("indexOf", "string_index_of_string_int", (STRING, STRING, INT), INT, _index_of)
    yield member("lastIndexOf", "string_last_index_of_string", (STRING, STRING), INT, _last_index_of)
    yield member("lastIndexOf", "string_last_index_of_string_int", (STRING, STRING, INT), INT, _last_index_of_until)
    yield member("lowerAscii", "string_lower_ascii", (STRING,), STRING, lambda s: s.translate(_TO_LOWER))
    yield member("upperAscii", "string_upper_ascii", (STRING,), STRING, lambda s: s.translate(_TO_UPPER))
    yield member("replace", "string_replace_string_string", (STRING, STRING, STRING), STRING, _replace)
    yield member("replace", "string_replace_string_string_int", (STRING, STRING, STRING, INT), STRING, _replace)
    yield member("split", "string_split_string", (STRING, STRING), STRINGS, _split)
    yield member("split", "string_split_string_int", (STRING, STRING, INT), STRINGS, _split)
    yield member("substring", "string_substring_int", (STRING, INT), STRING, _substring)
    yield member("substring", "string_substring_int_int", (STRING, INT, INT), STRING, _substring)
    yield member("trim", "string_trim", (STRING,), STRING, str.strip)
    yield member("join", "list_join", (STRINGS,), STRING, _join)
    yield member("join", "list_join_string", (STRINGS, STRING), STRING, _join)
    yield member("format", "string_format", (STRING, listed(DYN)), STRING, formatted)
    yield function("strings.quote", "strings_quote", (STRING,), STRING, quoted)


OVERLOADS: list[Declared] = [*_overloads(), *regexes.OVERLOADS]
