from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import quantities


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0"), ("1", "1"), ("100", "100"), ("1000", "1k"), ("1024", "1024"), ("123456789", "123456789"),
        ("0.5", "500m"), ("1.5", "1500m"), ("100m", "100m"), ("1000m", "1"), ("1500m", "1500m"), ("0.1m", "100u"),
        ("1Gi", "1Gi"), ("1.5Gi", "1536Mi"), ("1024Ki", "1Mi"), ("1023Ki", "1023Ki"), ("0.5Ki", "512"), ("1.1Ki", "1126400m"),
        ("1G", "1G"), ("1000M", "1G"), ("1.5G", "1500M"), ("1e3", "1e3"), ("1E3", "1e3"), ("12e4", "120e3"), ("1E", "1E"),
        ("-1", "-1"), ("-1.5Gi", "-1536Mi"), ("+5", "5"), (".5", "500m"), ("1.", "1"), (0.5, "500m"), (3, "3"), ("1n", "1n"), ("0.1n", "1n"),
    ],
)  # fmt: skip
def test_the_one_way_to_write_an_amount(text, expected):
    assert quantities.canonical(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "1KI", "Gi", "1e", "1.2.3", "--1", "1mi", "0x10", "é"])
def test_what_is_no_amount_is_refused_in_upstreams_words(text):
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        quantities.parse(text)


@given(
    st.decimals(min_value=-(10**12), max_value=10**12, places=3), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "e2"])
)
def test_writing_it_canonically_does_not_change_the_amount_and_doing_it_twice_nothing(number, suffix):
    text = f"{number}{suffix}"
    once = quantities.canonical(text)
    assert quantities.parse(once) == quantities.parse(text)
    assert quantities.canonical(once) == once


def test_numbers_are_rounded_up():
    assert (quantities.value("1500m"), quantities.value("1Ki"), quantities.milli("1.0001"), quantities.milli("2")) == (
        2,
        1024,
        1001,
        2000,
    )


def test_resource_lists_add_up():
    assert quantities.total({"cpu": "100m"}, {"cpu": "1", "memory": "1Mi"}) == {
        "cpu": Decimal("1.1"),
        "memory": Decimal(1048576),
    }
