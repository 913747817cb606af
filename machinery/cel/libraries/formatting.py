"""`'%s …'.format([…])`, as cel-go's strings library has it."""

import math
import re
from typing import Any

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.conversions import text_of_double
from machinery.cel.libraries.kinds import name_of
from machinery.cel.operators import fits
from machinery.cel.values import Duration, Timestamp, TypeValue, Uint

_CLAUSE = re.compile(r"%(?:(%)|(?:\.([0-9]+))?(.)?)", re.DOTALL)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_ESCAPES = str.maketrans(
    {
        "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
        "\\": "\\\\", '"': '\\"',
    }
)  # fmt: skip
DEFAULT_PRECISION = 6
MOST_PRECISION = 1000


def quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def formatted(text: str, arguments: list[Any]) -> str:
    """Raises EvaluationFault."""
    pieces: list[str] = []
    at = used = length = 0
    for clause in _CLAUSE.finditer(text):
        pieces.append(text[at : clause.start()])
        at = clause.end()
        if clause[1]:
            pieces.append("%")
            continue
        if not clause[3]:
            raise EvaluationFault("unexpected end of string")
        if used >= len(arguments):
            raise EvaluationFault(f"index {used} out of range")
        pieces.append(_clause(clause[3], clause[2], arguments[used]))
        length += len(pieces[-1])
        fits(length)
        used += 1
    pieces.append(text[at:])
    return "".join(pieces)


def _clause(letter: str, precision: str | None, value: Any) -> str:
    digits = DEFAULT_PRECISION if precision is None else int(precision)
    if digits > MOST_PRECISION:
        raise EvaluationFault(f"precision {digits} exceeds maximum allowed precision {MOST_PRECISION}")
    match letter:
        case "s":
            return _plain(value)
        case "d":
            return _decimal(value)
        case "f":
            return _fixed(value, digits)
        case "e":
            return _scientific(value, digits)
        case "b":
            return _binary(value)
        case "x" | "X":
            shown = _hexadecimal(value)
            return shown.upper() if letter == "X" else shown
        case "o":
            return _octal(value)
    raise EvaluationFault(f'could not parse formatting clause: unrecognized formatting clause "{letter}"')


def _wrong(what: str, value: Any) -> EvaluationFault:
    return EvaluationFault(f"error during formatting: {what}, was given {name_of(type(value))}")


def _plain(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Uint() | int() | str() | Duration() | Timestamp():
            return str(int(value)) if isinstance(value, int) else str(value)
        case float():
            return _special(value) or text_of_double(value)
        case bytes():
            return value.decode(errors="replace")
        case TypeValue():
            return value.name
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case dict():
            entries = sorted((_literal(k), _literal(v)) for k, v in value.items())
            return f"{{{', '.join(f'{k}:{v}' for k, v in entries)}}}"
    raise _wrong(
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, "
        "and timestamps",
        value,
    )


def _literal(value: Any) -> str:
    """As it would be written in an expression."""
    match value:
        case str():
            return quoted(value)
        case bytes():
            return f"b{quoted(value.decode(errors='replace'))}"
        case float():
            special = _special(value)
            return quoted(special) if special else f"{value:.6f}"
        case Timestamp():
            return f"timestamp({quoted(str(value))})"
        case Duration():
            return f"duration({quoted(str(value))})"
    return _plain(value)


def _special(number: float) -> str:
    if math.isfinite(number):
        return ""
    return "NaN" if math.isnan(number) else ("+Inf" if number > 0 else "-Inf")


def _decimal(value: Any) -> str:
    if type(value) not in (int, Uint):
        raise _wrong("decimal clause can only be used on integers", value)
    return str(int(value))


def _double(value: Any, what: str) -> float:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if type(value) is not float:
        raise _wrong(f"{what} clause can only be used on doubles", value)
    return value


def _infinite(number: float) -> str:
    return "NaN" if math.isnan(number) else ("∞" if number > 0 else "-∞")


def _fixed(value: Any, digits: int) -> str:
    number = _double(value, "fixed-point")
    return f"{number:,.{digits}f}" if math.isfinite(number) else _infinite(number)


_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def _scientific(value: Any, digits: int) -> str:
    """With the typography of the language that upstream formats for."""
    number = _double(value, "scientific")
    if not math.isfinite(number):
        return _infinite(number)
    mantissa, exponent = f"{number:.{digits}e}".split("e")
    shown = f"{'-' if exponent[0] == '-' else ''}{exponent[1:]}".translate(_SUPERSCRIPTS)
    return f"{mantissa}\u202f×\u202f10{shown}"


def _binary(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if type(value) not in (int, Uint):
        raise _wrong("only integers and bools can be formatted as binary", value)
    return f"{value:b}"


def _hexadecimal(value: Any) -> str:
    if isinstance(value, str):
        return value.encode().hex()
    if isinstance(value, bytes):
        return value.hex()
    if type(value) not in (int, Uint):
        raise _wrong("only integers, byte buffers, and strings can be formatted as hex", value)
    return f"{value:x}"


def _octal(value: Any) -> str:
    if type(value) not in (int, Uint):
        raise _wrong("octal clause can only be used on integers", value)
    return f"{value:o}"
