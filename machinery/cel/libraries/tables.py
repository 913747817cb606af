"""All functions by name."""

from machinery.cel.libraries import (
    authorizing,
    collections,
    conversions,
    formats,
    networks,
    optionals,
    quantities,
    standard,
    strings,
    urls,
    versions,
)
from machinery.cel.types import Function, functions

STANDARD: dict[str, Function] = functions(
    [
        *standard.OVERLOADS,
        *conversions.OVERLOADS,
        *strings.OVERLOADS,
        *collections.OVERLOADS,
        *optionals.OVERLOADS,
        *urls.OVERLOADS,
        *quantities.OVERLOADS,
        *networks.OVERLOADS,
        *versions.OVERLOADS,
        *formats.OVERLOADS,
        *authorizing.OVERLOADS,
    ]
)

WITH_PATCHES: dict[str, Function] = STANDARD | functions(authorizing.JSON_PATCHES)
"""Those of expressions that make patches."""
