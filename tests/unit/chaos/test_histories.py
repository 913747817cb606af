"""A checker that finds nothing proves nothing, so it is shown each kind of fault."""

from dataclasses import replace

import pytest

from tests.chaos.histories import Change, Read, Record, Segment, Write, check, longest_gap

CHANGES = [Change(5, "a", "t1", 0), Change(6, "a", "t2", 5), Change(7, "b", "t3", 0), Change(9, "a", "", 6)]
CREATED = Write("w", "a", "t1", 0, 1.0, 1.1, "acknowledged", 5)
UPDATED = Write("w", "a", "t2", 5, 1.2, 1.3, "acknowledged", 6)
UNKNOWN = Write("v", "b", "t3", 0, 1.2, 2.0, "unknown")
DELETED = Write("w", "a", "", 6, 2.1, 2.2, "acknowledged")
REFUSED = Write("v", "a", "t4", 5, 2.1, 2.2, "refused")
READ = Read("r", 1.4, 1.5, 7, {"a": 6, "b": 7})
SEGMENT = Segment("s", 5, 9, [("MODIFIED", "a", 6), ("ADDED", "b", 7), ("DELETED", "a", 9)])


def record(*writes, reads=(READ,), segments=(SEGMENT,)):
    return Record([*writes] or [CREATED, UPDATED, UNKNOWN, DELETED, REFUSED], [*reads], [*segments])


def test_a_history_that_agrees_holds():
    assert check(CHANGES, record()).holds


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_acknowledged_write_that_is_not_there_is_lost(at):
    fewer = [c for n, c in enumerate(CHANGES) if n != at]
    assert len(check(fewer, record(reads=(), segments=())).lost) == 1


def test_an_unknown_write_may_have_happened_or_not():
    assert check(CHANGES[:2] + CHANGES[3:], record(reads=(), segments=())).holds


@pytest.mark.parametrize(
    "changed",
    [
        (CREATED, replace(UPDATED, outcome="refused"), UNKNOWN, DELETED),
        (CREATED, UPDATED, UNKNOWN, replace(DELETED, outcome="refused")),
        (CREATED, UPDATED, DELETED),  # nobody has asked for b
        (CREATED, UPDATED, replace(UNKNOWN, name="c"), DELETED),
        (CREATED, UPDATED, UNKNOWN, DELETED, replace(DELETED, client="v")),
    ],
)
def test_what_happens_was_asked_for_once_and_not_refused(changed):
    assert check(CHANGES, record(*changed)).wrong


def test_an_update_replaces_what_its_writer_has_seen():
    overwritten = [CHANGES[0], replace(CHANGES[1], before=4), *CHANGES[2:]]
    assert check(overwritten, record()).lost


def test_a_write_happens_once():
    assert check([*CHANGES, Change(10, "b", "t3", 7)], record(reads=(), segments=())).wrong


def test_a_write_comes_after_what_was_told_before_it_began():
    early = replace(READ, begun=0.8, ended=0.9)
    [told, *_] = check(CHANGES, record(reads=[early])).wrong
    assert "older than what was told before it began: 7" in told


@pytest.mark.parametrize(
    "read",
    [
        replace(READ, revision=5, objects={"a": 5}),  # stale
        replace(READ, objects={"a": 6}),  # b is missing
        replace(READ, objects={"a": 5, "b": 7}),
    ],
)
def test_a_read_tells_what_stood_there_and_nothing_older_than_was_known(read):
    assert check(CHANGES, record(reads=[read])).wrong


@pytest.mark.parametrize("told", [SEGMENT.told[:1] + SEGMENT.told[2:], [*SEGMENT.told, SEGMENT.told[0]], []])
def test_a_watch_tells_everything_once_and_in_order(told):
    assert check(CHANGES, record(segments=[replace(SEGMENT, told=told)])).wrong


def test_a_gap_is_between_definite_answers_of_one_writer():
    assert longest_gap(record().writes, 1.0, 2.0) == pytest.approx(0.9)
    assert longest_gap(record().writes, 0.0, 1.05) == 0
