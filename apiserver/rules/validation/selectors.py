"""Label selectors: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"""

from collections.abc import Mapping

from api import labels as label_selectors
from api import names
from api.paths import Path, forbidden, invalid, required
from api.types import LabelSelector, LabelSelectorRequirement
from apiserver.rules.validation.metadata import labels
from apiserver.rules.validation.values import Faults, formed

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def selector(path: Path, it: LabelSelector | None) -> Faults:
    if it is None:
        return
    yield from labels(path.child("matchLabels"), it.matchLabels)
    for i, expression in enumerate(it.matchExpressions):
        yield from _requirement(path.child("matchExpressions").index(i), expression)


def _requirement(path: Path, it: LabelSelectorRequirement) -> Faults:
    match it.operator:
        case "In" | "NotIn":
            if not it.values:
                yield required(path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if it.values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(path.child("values"), why)
        case _:
            yield invalid(path.child("operator"), it.operator or "", "not a valid selector operator")
    yield from formed(path.child("key"), it.key, names.qualified_name_faults)
    for i, value in enumerate(it.values):
        yield from formed(path.child("values").index(i), value, names.label_value_faults)


def selects(it: LabelSelector, chosen: Mapping[str, str]) -> bool:
    """Whether it selects these labels. Of one that cannot be read nothing more is said: that is a fault of its own."""
    if any(e.operator not in OPERATORS for e in it.matchExpressions):
        return True
    return label_selectors.from_object(it).matches(chosen)


def is_empty(it: LabelSelector) -> bool:
    return not it.matchLabels and not it.matchExpressions
