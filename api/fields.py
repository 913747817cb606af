"""Field selectors: `metadata.name=x,status.phase!=Running`.

https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from api.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Selector:
    """Terms of (field, must be equal?, value); all must hold."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(field, "") == value) is equal for field, equal, value in self.terms)

    def exact(self, field: str) -> str | None:
        """The value that `field` must have, if the selector demands one: what an index is asked for."""
        return next((value for name, equal, value in self.terms if equal and name == field), None)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(f"{f}{'=' if equal else '!='}{v}" for f, equal, v in self.terms)


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    r"""`a=b,c!=d` → Selector; `\,` `\=` and `\\` are literal in values.  Raises BadRequest in upstream's words."""
    terms = []
    for part in re.split(r"(?<!\\),", text):
        if not part:
            continue
        found = re.match(r"([^=!]*)(==|!=|=)(.*)", part, re.DOTALL)
        if not found:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
        field, sign, value = found.groups()
        terms.append((field, sign != "!=", re.sub(r"\\([,=\\])", r"\1", value)))
    return Selector(tuple(terms))
