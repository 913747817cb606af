"""One resource in memory, without etcd."""

import pytest

from api import fields, labels
from apiserver.storage import documents, tables
from apiserver.storage.indexing import index
from apiserver.storage.tables import EVERYTHING, Change, Filter, Gone, Table
from tests.unit.apiserver.core.documents import PODS, pod


def table(*names: str) -> Table:
    found = Table(index(PODS))
    for revision, name in enumerate(names, 1):
        put(found, name, revision)
    return found


def put(to: Table, key: str, revision: int, **about: str) -> Change:
    namespace, _, name = key.partition("/")
    return to.put(key, to.read(key, pod(name, namespace=namespace, **about), revision))


def names(page: tables.Page) -> list[str]:
    return [f"{i.namespace}/{i.name}" for i in page.items]


def by_label(text: str) -> Filter:
    return Filter(labels=labels.parse(text))


def by_field(text: str) -> Filter:
    return Filter(fields=fields.parse(text))


def test_a_revision_is_spliced_in_and_taken_out_again() -> None:
    served = documents.serve(pod("a"), 17)
    assert b'"metadata":{"resourceVersion":"17","name":"a"' in served
    assert documents.store(served) == pod("a")
    assert documents.moved(served, 18) == documents.serve(pod("a"), 18)


def test_a_list_is_in_the_order_of_etcd_and_a_namespace_is_a_part_of_it() -> None:
    found = table("b/x", "a/y", "a-b/z", "a/x")
    assert names(found.select("", EVERYTHING)) == ["a-b/z", "a/x", "a/y", "b/x"]
    assert names(found.select("a", EVERYTHING)) == ["a/x", "a/y"]
    assert names(found.select("c", EVERYTHING)) == []


def test_pages_follow_each_other_and_say_how_much_follows() -> None:
    found = table("a/1", "a/2", "a/3", "b/1")
    first = found.select("a", EVERYTHING, limit=2)
    assert (names(first), first.remaining, first.more) == (["a/1", "a/2"], 1, True)
    second = found.select("a", EVERYTHING, after="a/2", limit=2)
    assert (names(second), second.remaining, second.more) == (["a/3"], None, False)


def test_a_page_with_a_selector_does_not_guess_how_much_follows() -> None:
    found = table()
    for number in range(4):
        put(found, f"a/{number}", number + 1, labels='{"even":"%s"}' % (number % 2 == 0))
    page = found.select("", by_label("even=True"), limit=1)
    assert (names(page), page.remaining, page.more) == (["a/0"], None, True)
    assert not found.select("", by_label("even=True"), after="a/1", limit=1).more


def test_pods_of_a_node_are_found_when_they_are_bound_moved_and_deleted() -> None:
    found = table("a/1", "a/2", "b/1")
    put(found, "a/2", 4, node="n1")
    put(found, "b/1", 5, node="n1")
    put(found, "a/1", 6, node="n2")
    assert names(found.select("", by_field("spec.nodeName=n1"))) == ["a/2", "b/1"]
    assert names(found.select("b", by_field("spec.nodeName=n1"))) == ["b/1"]
    assert names(found.select("", by_field("spec.nodeName="))) == []
    found.remove("b/1", 7)
    assert names(found.select("", by_field("spec.nodeName=n1"))) == ["a/2"]
    assert names(found.select("", by_field("spec.nodeName!=n1"))) == ["a/1"]


def test_fields_that_are_absent_read_as_go_reads_them() -> None:
    found = table("a/1")
    assert names(found.select("", by_field("spec.hostNetwork=false,status.phase="))) == ["a/1"]


def test_the_past_is_rebuilt_from_the_window() -> None:
    found = table("a/1", "a/2")
    put(found, "a/3", 3)
    found.remove("a/1", 4)
    put(found, "a/2", 5, node="n1")
    assert names(found.at(2, "", EVERYTHING)) == ["a/1", "a/2"]
    assert names(found.at(3, "", EVERYTHING, after="a/1")) == ["a/2", "a/3"]
    page = found.at(3, "a", EVERYTHING, limit=1)
    assert (names(page), page.remaining, page.more) == (["a/1"], 2, True)
    assert found.at(3, "", by_field("spec.nodeName=n1")).items == []
    assert names(found.at(5, "", by_field("spec.nodeName=n1"))) == ["a/2"]


def test_the_window_is_bounded_and_says_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "WINDOW_EVENTS", 3)
    found = table("a/1", "a/2", "a/3", "a/4", "a/5")
    assert [c.revision for c in found.changes_since(2)] == [3, 4, 5]
    with pytest.raises(Gone) as gone:
        found.changes_since(1)
    assert gone.value.oldest == 3


def test_a_selector_sees_objects_come_and_go_as_they_start_and_stop_to_match() -> None:
    found = table("a/1")
    bound = put(found, "a/1", 2, node="n1")
    moved = put(found, "a/1", 3, node="n2")
    on_n1 = by_field("spec.nodeName=n1")
    added, deleted = bound.seen_through(on_n1), moved.seen_through(on_n1)
    assert added is not None
    assert added.type == "ADDED"
    assert deleted is not None
    assert (deleted.type, deleted.document) == ("DELETED", documents.serve(pod("1", node="n1", namespace="a"), 3))
    assert put(found, "a/1", 4, node="n3").seen_through(on_n1) is None
    gone = found.remove("a/1", 5)
    assert gone is not None
    assert (gone.event().type, gone.seen_through(on_n1)) == ("DELETED", None)
