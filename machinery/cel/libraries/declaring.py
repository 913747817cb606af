"""Short ways to declare functions."""

from collections.abc import Callable
from typing import Any

from machinery.cel.types import Overload, Type

Declared = tuple[str, Overload]


def function(name: str, id_: str, parameters: tuple[Type, ...], result: Type, run: Callable[..., Any]) -> Declared:
    return name, Overload(id_, parameters, result, run)


def member(name: str, id_: str, parameters: tuple[Type, ...], result: Type, run: Callable[..., Any]) -> Declared:
    return name, Overload(id_, parameters, result, run, member=True)
