"""What a policy's refusal becomes for the client."""

from typing import Any

from api import errors
from api.errors import ApiError
from apiserver.admission.attributes import Attributes


def invalid(about: Attributes, message: str, reason: str) -> ApiError:
    """Of a validating policy: with the status code that belongs to its reason, in the form of one that forbids."""
    refused = errors.forbidden(about.asked.group_resource, _name(about), message)
    details: dict[str, Any] = refused.details | {"causes": [{"message": message}]}
    return errors.BY_REASON.get(reason or "Invalid", errors.Invalid)(refused.message, details)


def unchangeable(about: Attributes, faults: list[tuple[str, str]]) -> ApiError:
    """Of mutating policies, (message, reason) each: the first is the Status's own, its code 403 whatever it says."""
    message, reason = faults[0]
    details = errors.forbidden(about.asked.group_resource, _name(about), message).details
    refused = errors.Forbidden(message, details | {"causes": [{"message": told} for told, _ in faults]})
    if reason:
        refused.reason = reason  # type: ignore[misc]  # other errors have one for their class
    return refused


def _name(about: Attributes) -> str:
    if about.name:
        return about.name
    metadata = getattr(about.obj, "metadata", None)
    return (metadata.generateName or metadata.name) if metadata is not None else ""
