"""What may be written as a job's status."""

import pytest

from tests.unit.apiserver.rules.manifests import update_faults

THEN, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
INDEXED = {"spec/completionMode": "Indexed", "spec/completions": 3, "spec/parallelism": 2}
BY_HAND = {"spec/manualSelector": True, "spec/selector": {"matchLabels": {"app": "x"}}}


def true(*types):
    return [{"type": t, "status": "True"} for t in types]


COMPLETE = {"startTime": THEN, "completionTime": LATER, "conditions": true("SuccessCriteriaMet", "Complete")}
FAILED = {"startTime": THEN, "conditions": true("FailureTarget", "Failed")}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"startTime": THEN, "active": 1, "ready": 1}, []),
        ({}, COMPLETE, []),
        ({}, FAILED, []),
        ({}, {"conditions": true("Custom")}, []),
        ({}, {"active": 1, "ready": 2}, ["status.ready: Invalid value: 2: cannot set more ready pods than active"]),
        ({}, {"active": -1}, ["status.active: Invalid value: -1: must be greater than or equal to 0"]),
        ({"failed": 1}, {"failed": 0}, ["status.failed: Invalid value: 0: cannot decrease the failed counter"]),
        ({"succeeded": 1}, {}, ["status.succeeded: Invalid value: 0: cannot decrease the succeeded counter"]),
        ({}, {"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a", ""]}}, ['status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"', 'status.uncountedTerminatedPods.failed[1]: Invalid value: "": must not be empty']),
        ({}, {**COMPLETE, "conditions": true("Complete")}, ["status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"]),
        ({}, {**FAILED, "conditions": true("Failed")}, ["status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition"]),
        ({}, {**COMPLETE, "completionTime": None}, ["status.completionTime: Required value: completionTime is required for Complete jobs"]),
        ({}, {"completionTime": LATER}, [f'status.completionTime: Invalid value: "{LATER}": cannot set completionTime when there is no Complete=True condition']),
        ({}, {**COMPLETE, "startTime": LATER, "completionTime": THEN}, [f'status.completionTime: Invalid value: "{THEN}": completionTime cannot be set before startTime']),
        ({}, {**FAILED, "startTime": None}, ["status.startTime: Required value: startTime is required for finished job"]),
        ({}, {**FAILED, "active": 1}, ["status.active: Invalid value: 1: active>0 is invalid for finished job"]),
        ({}, {**FAILED, "terminating": 1}, ["status.terminating: Invalid value: 1: terminating>0 is invalid for finished job"]),
        (FAILED, {"startTime": THEN, "conditions": true("FailureTarget")}, ["status.conditions: Invalid value: cannot disable the terminal Failed=True condition"]),
        (COMPLETE, {**COMPLETE, "conditions": true("Complete")}, ["status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition", "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition"]),
        ({"startTime": THEN}, {"startTime": LATER}, [f'status.startTime: Invalid value: "{LATER}": field is immutable for unsuspended job once set']),
        ({"startTime": THEN}, {}, ["status.startTime: Invalid value: null: field is immutable for unsuspended job once set"]),
        ({"startTime": THEN, "conditions": true("Suspended")}, {"startTime": LATER}, []),
        ({}, {"completedIndexes": "0"}, ['status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode']),
    ],
)  # fmt: skip
def test_a_jobs_status(before, after, said):
    assert update_faults("Job", {"status": after}, {**BY_HAND, "status": before}, "status") == said


def test_the_indexes_that_are_done_are_of_the_job_and_done_once():
    before = BY_HAND | INDEXED | {"spec/backoffLimitPerIndex": 1}

    def told(**status):
        return update_faults("Job", {"status": status}, before, "status")

    assert told(completedIndexes="0,2", failedIndexes="1") == []
    assert told(completedIndexes="3") == [
        'status.completedIndexes: Invalid value: "3": error parsing completedIndexes: too large index: "3"'
    ]
    assert told(completedIndexes="0-1", failedIndexes="1") == [
        'status.failedIndexes: Invalid value: "1": failedIndexes and completedIndexes overlap at index: 1'
    ]


def test_a_hundred_thousand_indexes_are_gone_through_once():
    # Every second one each: compared one by one, it takes an hour.
    status = {
        "completedIndexes": ",".join(map(str, range(0, 100_000, 2))),
        "failedIndexes": ",".join(map(str, range(1, 100_000, 2))),
    }
    before = BY_HAND | INDEXED | {"spec/completions": 100_000, "spec/backoffLimitPerIndex": 1}
    assert update_faults("Job", {"status": status}, before, "status") == []


def test_what_was_wrong_before_is_nobodys_fault_now():
    before = {**BY_HAND, "status": {"active": 0, "ready": 1, "completionTime": LATER}}
    assert update_faults("Job", {"status/failed": 1}, before, "status") == []
