"""What is attacked: API servers of its own, as under load."""

from tests.integration.load.conftest import plane, rest

__all__ = ["plane", "rest"]
