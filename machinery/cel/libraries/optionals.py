"""Values that may not be there.

https://github.com/google/cel-spec/wiki/proposal-246
"""

from typing import Any

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import BOOL, A, optional
from machinery.cel.values import NOTHING, Optional

MAYBE = optional(A)


def _of_non_zero(value: Any) -> Optional:
    return Optional(value) if value else NOTHING


def _value(maybe: Optional) -> Any:
    if not maybe.present:
        raise EvaluationFault("optional.none() dereference")
    return maybe.value


OVERLOADS: list[Declared] = [
    function("optional.of", "optional_of", (A,), MAYBE, Optional),
    function("optional.ofNonZeroValue", "optional_ofNonZeroValue", (A,), MAYBE, _of_non_zero),
    function("optional.none", "optional_none", (), MAYBE, lambda: NOTHING),
    member("hasValue", "optional_hasValue", (MAYBE,), BOOL, lambda maybe: maybe.present),
    member("value", "optional_value", (MAYBE,), A, _value),
    member("or", "optional_or_optional", (MAYBE, MAYBE), MAYBE, lambda a, b: a if a.present else b),
    member("orValue", "optional_orValue_value", (MAYBE, A), A, lambda a, b: a.value if a.present else b),
]
