"""Texts that clients choose take time and memory in proportion to their length, and no more.

None of these measures a time: what they hold off would not end before the test run does.
"""

import pytest

from api import labels, quantities
from api.errors import BadRequest
from apiserver.customs import formats
from apiserver.customs.schemas import Schema
from apiserver.customs.values import faults
from machinery.cel import values
from machinery.cel.faults import EvaluationFault
from machinery.remembering import LONGEST, remembered

MANY = 300_000


def test_a_quantity_of_very_many_digits() -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantities.parse("1" * MANY + "x")
    assert quantities.parse("1" * MANY) == 2**63 - 1
    assert quantities.parse("0." + "0" * MANY + "1") == quantities.parse("1n")


def test_a_duration_of_very_many_digits() -> None:
    with pytest.raises(EvaluationFault):
        values.duration("1" * MANY + "x")


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.parametrize("letter", "1a.:- ")
def test_a_value_of_a_format(name: str, letter: str) -> None:
    formats.fits(name, letter * 250 + "!")
    formats.fits(name, letter * MANY + "!")


def test_a_pattern_of_a_custom_kind_that_python_would_try_in_every_way() -> None:
    schema = Schema({"type": "string", "pattern": "^(a+)+$"})
    assert not [*faults("a" * MANY, schema)]
    assert [*faults("a" * MANY + "!", schema)]


def test_a_selector_of_very_many_values() -> None:
    selector = labels.parse(f"a in ({','.join(map(str, range(MANY)))})  ")
    assert selector.matches({"a": str(MANY - 1)})
    assert not selector.matches({"a": "x"})
    with pytest.raises(BadRequest):
        labels.parse("a in (" + "," * MANY)


def test_long_texts_are_not_remembered() -> None:
    asked = []

    @remembered(10)
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    for _ in range(2):
        assert [length("short"), length("x" * (LONGEST + 1))] == [5, LONGEST + 1]
    assert list(map(len, asked)) == [5, LONGEST + 1, LONGEST + 1]
