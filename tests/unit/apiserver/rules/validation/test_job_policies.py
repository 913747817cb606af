import pytest

from tests.unit.apiserver.rules.manifests import faults

RULE = "spec.podFailurePolicy.rules[0]"
ON = {"operator": "In", "values": [1]}
AT = "spec.successPolicy.rules[0]"
INDEXED = {"spec/completionMode": "Indexed", "spec/completions": 3}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"action": "FailJob", "onExitCodes": ON}, []),
        ({"action": "Explode", "onExitCodes": ON}, [f'{RULE}.action: Unsupported value: "Explode": supported values: "Count", "FailIndex", "FailJob", "Ignore"']),
        ({"action": "FailIndex", "onExitCodes": ON}, [f'{RULE}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set']),
        ({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [0]}}, [f"{RULE}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"]),
        ({"action": "Ignore"}, [f'{RULE}: Invalid value: "": specifying one of OnExitCodes and OnPodConditions is required']),
    ],
)  # fmt: skip
def test_rules_on_failures(rule, said):
    assert faults("Job", {"spec/podFailurePolicy": {"rules": [rule]}}) == said


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{"succeededIndexes": "0-1,2"}], []),
        ([], ["spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified"]),
        ([{}], ["spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"]),
        ([{"succeededIndexes": "a"}], ['spec.successPolicy.rules[0].succeededIndexes: Invalid value: "a": error parsing succeededIndexes: cannot convert string to integer for index: "a"']),
        ([{"succeededIndexes": "3"}], [f'{AT}.succeededIndexes: Invalid value: "3": error parsing succeededIndexes: too large index: "3"']),
        ([{"succeededIndexes": "1,1-2"}], [f'{AT}.succeededIndexes: Invalid value: "1,1-2": error parsing succeededIndexes: non-increasing order, previous: 1, current: 1']),
        ([{"succeededIndexes": "0-1-2"}], [f"{AT}.succeededIndexes: Invalid value: \"0-1-2\": error parsing succeededIndexes: the fragment \"0-1-2\" violates the requirement that an index interval can have at most two parts separated by '-'"]),
        ([{"succeededCount": 4}], [f"{AT}.succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)"]),
        ([{"succeededIndexes": "0-1", "succeededCount": 3}], [f"{AT}.succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)"]),
        ([{"succeededCount": 1}] * 21, ["spec.successPolicy.rules: Too many: 21: must have at most 20 items"]),
    ],
)  # fmt: skip
def test_rules_on_success(rules, said):
    assert faults("Job", INDEXED | {"spec/successPolicy": {"rules": rules}}) == said


def test_failed_indexes_are_limited_only_where_they_are_counted():
    assert faults("Job", INDEXED | {"spec/maxFailedIndexes": 1}) == [
        "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"
    ]
    assert faults("Job", INDEXED | {"spec/maxFailedIndexes": 4, "spec/backoffLimitPerIndex": 0}) == [
        "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions"
    ]


def test_a_failure_policy_replaces_only_failed_pods():
    rule = {"action": "FailJob", "onExitCodes": ON}
    changes = {"spec/podFailurePolicy": {"rules": [rule]}, "spec/podReplacementPolicy": "TerminatingOrFailed"}
    assert faults("Job", changes) == [
        'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"'
    ]
