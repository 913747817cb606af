"""From one type to another, and what type something is."""

import base64
import math
from typing import Any

from machinery.cel import values
from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function
from machinery.cel.libraries.kinds import type_of
from machinery.cel.operators import checked, checked_unsigned
from machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    A,
    Overload,
    Type,
)
from machinery.cel.values import NANOS, Duration, Uint, bounded

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def _same(value: Any) -> Any:
    return value


def _to_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise EvaluationFault(f"type conversion error from \"{text}\" to 'bool'")


def _digits(text: str, wanted: str) -> int:
    plain = text[1:] if text[:1] in ("+", "-") else text
    if not (plain.isascii() and plain.isdigit()) or len(plain) > 30:
        raise EvaluationFault(f"type conversion error from 'string' to '{wanted}'")
    return int(text)


def _int_of_text(text: str) -> int:
    return checked(_digits(text, "int"))


def _uint_of_text(text: str) -> Uint:
    if text[:1] in ("+", "-"):
        raise EvaluationFault("type conversion error from 'string' to 'uint'")
    return checked_unsigned(_digits(text, "uint"))


def _int_of_double(number: float) -> int:
    if not math.isfinite(number):
        raise EvaluationFault("integer overflow")
    return checked(int(number))


def _uint_of_double(number: float) -> Uint:
    if not math.isfinite(number):
        raise EvaluationFault("unsigned integer overflow")
    return checked_unsigned(int(number))


def _double_of_text(text: str) -> float:
    try:
        if "_" in text or text != text.strip():
            raise ValueError(text)
        return float(text)
    except ValueError as e:
        raise EvaluationFault("type conversion error from 'string' to 'double'") from e


def text_of_double(number: float) -> str:
    """Go's shortest form."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if number == int(number) and abs(number) < 1e21:
        return str(int(number)) if number or math.copysign(1, number) > 0 else "-0"
    shown = repr(number)
    mantissa, e, exponent = shown.partition("e")
    if not e:
        return shown
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].rjust(2, '0')}"


def _text_of_bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise EvaluationFault("invalid UTF-8 in bytes, cannot convert to string") from e


def _conversion(name: str, result: Type, runs: dict[Type, Any]) -> list[Declared]:
    return [function(name, f"{source}_to_{result}", (source,), result, run) for source, run in runs.items()]


OVERLOADS: list[Declared] = [
    *_conversion("bool", BOOL, {BOOL: _same, STRING: _to_bool}),
    *_conversion("bytes", BYTES, {BYTES: _same, STRING: str.encode}),
    *_conversion("double", DOUBLE, {DOUBLE: _same, INT: float, UINT: float, STRING: _double_of_text}),
    *_conversion("duration", DURATION, {DURATION: _same, INT: Duration, STRING: values.duration}),
    *_conversion(
        "timestamp",
        TIMESTAMP,
        {TIMESTAMP: _same, INT: lambda n: bounded(n * NANOS), STRING: values.timestamp},
    ),
    *_conversion(
        "int",
        INT,
        {
            INT: _same,
            UINT: lambda n: checked(int(n)),
            DOUBLE: _int_of_double,
            STRING: _int_of_text,
            TIMESTAMP: lambda t: t.nanos // NANOS,
            DURATION: lambda d: d.nanos,
        },
    ),
    *_conversion("uint", UINT, {UINT: _same, INT: checked_unsigned, DOUBLE: _uint_of_double, STRING: _uint_of_text}),
    *_conversion(
        "string",
        STRING,
        {
            STRING: _same,
            BOOL: lambda b: "true" if b else "false",
            BYTES: _text_of_bytes,
            DOUBLE: text_of_double,
            DURATION: str,
            INT: str,
            UINT: lambda n: str(int(n)),
            TIMESTAMP: str,
        },
    ),
    ("type", Overload("type", (A,), TYPE, type_of)),
]


def from_base64(text: str) -> bytes:
    """What a field of format `byte` holds.  Raises EvaluationFault."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as e:
        raise EvaluationFault("illegal base64 data") from e
