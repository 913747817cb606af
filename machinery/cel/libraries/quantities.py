"""Kubernetes' quantities: `quantity('1.5Gi')`."""

from dataclasses import dataclass
from decimal import Decimal

from api import quantities
from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import BOOL, DOUBLE, INT, QUANTITY, STRING
from machinery.cel.values import INT_MAX, INT_MIN


@dataclass(frozen=True, slots=True)
class Quantity:
    cel_type = "kubernetes.Quantity"
    amount: Decimal


def parse(text: str) -> Quantity:
    """Raises EvaluationFault."""
    try:
        return Quantity(quantities.parse(text))
    except ValueError as e:
        raise EvaluationFault(str(e)) from e


def _is_quantity(text: str) -> bool:
    try:
        quantities.parse(text)
    except ValueError:
        return False
    return True


def _is_integer(q: Quantity) -> bool:
    return q.amount == q.amount.to_integral_value() and INT_MIN <= q.amount < INT_MAX


def _as_integer(q: Quantity) -> int:
    if not _is_integer(q):
        raise EvaluationFault("cannot convert value to integer")
    return int(q.amount)


def _compare(a: Quantity, b: Quantity) -> int:
    return (a.amount > b.amount) - (a.amount < b.amount)


Q = QUANTITY
OVERLOADS: list[Declared] = [
    function("quantity", "string_to_quantity", (STRING,), Q, parse),
    function("isQuantity", "is_quantity_string", (STRING,), BOOL, _is_quantity),
    function("sign", "quantity_sign", (Q,), INT, lambda q: (q.amount > 0) - (q.amount < 0)),
    member("sign", "quantity_sign_member", (Q,), INT, lambda q: (q.amount > 0) - (q.amount < 0)),
    member("isGreaterThan", "quantity_is_greater_than", (Q, Q), BOOL, lambda a, b: a.amount > b.amount),
    member("isLessThan", "quantity_is_less_than", (Q, Q), BOOL, lambda a, b: a.amount < b.amount),
    member("compareTo", "quantity_compare_to", (Q, Q), INT, _compare),
    member("asApproximateFloat", "quantity_get_float", (Q,), DOUBLE, lambda q: float(q.amount)),
    member("asInteger", "quantity_get_int", (Q,), INT, _as_integer),
    member("isInteger", "quantity_is_integer", (Q,), BOOL, _is_integer),
    member("add", "quantity_add", (Q, Q), Q, lambda a, b: Quantity(a.amount + b.amount)),
    member("add", "quantity_add_int", (Q, INT), Q, lambda a, n: Quantity(a.amount + n)),
    member("sub", "quantity_sub", (Q, Q), Q, lambda a, b: Quantity(a.amount - b.amount)),
    member("sub", "quantity_sub_int", (Q, INT), Q, lambda a, n: Quantity(a.amount - n)),
]
