"""Refusals that a controller expects and lives with. Pure."""

from api import errors


def namespace_is_going(error: errors.ApiError) -> bool:
    """Whether a creation was refused because its namespace is being deleted, and with it whatever wanted it."""
    causes = error.details.get("causes", ())
    return isinstance(error, errors.Forbidden) and any(c.get("reason") == "NamespaceTerminating" for c in causes)
