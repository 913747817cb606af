"""Quantities: `100m`, `1Gi`, `2e3`.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_UP, Decimal
from functools import lru_cache

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# Digits in one way only: with `[0-9]+\.?[0-9]*`, eight thousand of them take eight seconds to be refused.
_FORM = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([KMGTPE]i)|([eE][+-]?[0-9]+)|([numkMGTPE]?))")
_LARGEST, _FINEST = Decimal(2**63 - 1), Decimal("1e-9")
_LONGEST_EXPONENT = 6
_LONGEST_REMEMBERED = 64

MESSAGE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def parse(text: str | int | float) -> Decimal:
    """The value in base units (cores, bytes, pieces), exact between a billionth and 2⁶³; upstream rounds what is
    finer up and cuts off what is larger.  Raises ValueError with upstream's message."""
    long = isinstance(text, str) and len(text) > _LONGEST_REMEMBERED  # thousands of megabytes are not remembered
    return _parse.__wrapped__(text) if long else _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str | int | float) -> Decimal:
    found = _FORM.fullmatch(str(text))
    if not found:
        raise ValueError(MESSAGE)
    number, binary, exponent, decimal = found.groups()
    if exponent and len(exponent) > _LONGEST_EXPONENT:
        raise ValueError(MESSAGE)
    if binary:
        amount = Decimal(number) * _BINARY[binary]
    else:
        amount = Decimal(number).scaleb(int(exponent[1:]) if exponent else _DECIMAL[decimal or ""])
    if abs(amount) > _LARGEST:
        return _LARGEST.copy_sign(amount)
    return amount.quantize(_FINEST, ROUND_UP) if amount % _FINEST else amount


def value(text: str | int | float) -> int:
    """In whole base units, rounded up: bytes, pieces."""
    return int(parse(text).to_integral_value(ROUND_CEILING))


def milli(text: str | int | float) -> int:
    """In thousandths, rounded up: millicores."""
    return int((parse(text) * 1000).to_integral_value(ROUND_CEILING))


def canonical(text: str | int | float) -> str:
    """The one text that upstream prints for this value, keeping the family of its suffix: `0.5` → `500m`."""
    long = isinstance(text, str) and len(text) > _LONGEST_REMEMBERED
    return _canonical.__wrapped__(text) if long else _canonical(text)


@lru_cache(maxsize=4096)
def _canonical(text: str | int | float) -> str:
    return spelled(parse(text), family(text))


def family(text: str | int | float) -> str:
    """How a quantity is written: binary (`1Gi`), exponent (`1e3`) or decimal.  Raises ValueError."""
    found = _FORM.fullmatch(str(text))
    if not found:
        raise ValueError(MESSAGE)
    return "binary" if found[2] else "exponent" if found[3] else "decimal"


def spelled(amount: Decimal, family: str) -> str:
    """The one text of an amount in a family of suffixes."""
    if family == "binary" and amount == amount.to_integral_value() and abs(amount) >= 1024:
        return _scaled(int(amount), [(s, f) for s, f in reversed(_BINARY.items())])
    if amount != amount.to_integral_value():
        for suffix, exponent in (("m", 3), ("u", 6), ("n", 9)):
            scaled = amount.scaleb(exponent)
            if scaled == scaled.to_integral_value() or suffix == "n":
                return f"{int(scaled.to_integral_value(ROUND_CEILING))}{suffix}"
    whole = int(amount)
    if family == "exponent":
        zeros = len(str(abs(whole))) - len(str(abs(whole)).rstrip("0")) if whole else 0
        return f"{whole // 10 ** (zeros - zeros % 3)}e{zeros - zeros % 3}" if zeros >= 3 else str(whole)
    return _scaled(whole, [(s, 10**e) for s, e in reversed(_DECIMAL.items()) if e > 0])


def _scaled(whole: int, suffixes: list[tuple[str, int]]) -> str:
    for suffix, factor in suffixes:
        if whole and whole % factor == 0:
            return f"{whole // factor}{suffix}"
    return str(whole)


def total(*resources: Mapping[str, str]) -> dict[str, Decimal]:
    """The sum of resource lists by resource name."""
    sums: dict[str, Decimal] = {}
    for each in resources:
        for name, amount in each.items():
            sums[name] = sums.get(name, Decimal()) + parse(amount)
    return sums
