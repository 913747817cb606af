"""Filing finds what selects a pod."""

from hypothesis import given
from hypothesis import strategies as st

from api.labels import Requirement, Selector
from scheduler.filing import Filing

VALUES = st.sampled_from(["", "x", "y"])
LABELS = st.dictionaries(st.sampled_from("ab"), VALUES)
REQUIREMENTS = st.builds(
    Requirement, st.sampled_from("ab"), st.sampled_from(["in", "notin", "exists", "!exists"]),
    st.frozensets(VALUES, min_size=1),
)  # fmt: skip
SELECTORS = st.builds(
    lambda rs, nothing: Selector(tuple(rs), nothing), st.lists(REQUIREMENTS, max_size=3), st.booleans()
)


@given(st.lists(SELECTORS, max_size=8), st.data(), LABELS)
def test_everything_that_selects_a_pod_is_found_once_and_nothing_that_was_removed(
    selectors: list[Selector], data: st.DataObject, labels: dict[str, str]
) -> None:
    filing: Filing[int] = Filing()
    for number, selector in enumerate(selectors):
        filing.add(number, selector)
    gone = data.draw(st.sets(st.sampled_from(range(len(selectors))))) if selectors else set[int]()
    for number in gone:
        filing.remove(number, selectors[number])
    found = [number for number in filing.find(labels) if selectors[number].matches(labels)]
    assert sorted(found) == [n for n, s in enumerate(selectors) if n not in gone and s.matches(labels)]


def test_what_other_labels_demand_is_not_looked_at() -> None:
    filing: Filing[int] = Filing()
    for number in range(1000):
        filing.add(number, Selector((Requirement("app", "=", frozenset({str(number)})),)))
    assert list(filing.find({"app": "7", "tier": "web"})) == [7]
