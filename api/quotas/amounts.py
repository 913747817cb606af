"""Resource lists as numbers that remember how they were written: 1Gi + 1Gi is 2Gi."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from api import quantities


class Amount(NamedTuple):
    value: Decimal
    family: str = "decimal"

    def __str__(self) -> str:
        return quantities.spelled(self.value, self.family)


Usage = dict[str, Amount]
"""By the name of the resource."""

ZERO = Amount(Decimal())
ONE = Amount(Decimal(1))


def amount(text: str) -> Amount:
    """Raises ValueError."""
    return Amount(quantities.parse(text), quantities.family(text))


def read(resources: Mapping[str, str]) -> Usage:
    return {name: amount(text) for name, text in resources.items()}


def write(usage: Usage) -> dict[str, str]:
    return {name: str(usage[name]) for name in sorted(usage)}


def plus(a: Amount, b: Amount) -> Amount:
    """In the form of `a`, unless that is zero and so has none worth keeping."""
    return Amount(a.value + b.value, a.family if a.value else b.family)


def add(a: Usage, b: Usage) -> Usage:
    both = dict(a)
    for name, more in b.items():
        both[name] = plus(both[name], more) if name in both else more
    return both


def most(a: Usage, b: Usage) -> Usage:
    both = dict(a)
    for name, other in b.items():
        if name not in both or other.value > both[name].value:
            both[name] = other
    return both


def masked(usage: Usage, names: Iterable[str]) -> Usage:
    wanted = set(names)
    return {name: found for name, found in usage.items() if name in wanted}


def said(usage: Usage, names: Iterable[str]) -> str:
    """As upstream's messages show a list: `cpu=1,pods=2`."""
    return ",".join(f"{name}={usage[name]}" for name in sorted(names) if name in usage)
