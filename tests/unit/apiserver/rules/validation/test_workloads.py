import pytest

from api import kinds
from api.types import ControllerRevision, DaemonSet, ObjectMeta
from apiserver.rules import prepare_create, prepare_update, validate, validate_update
from tests.unit.apiserver.rules.manifests import DROP, faults, made, update_faults

MISMATCH = 'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'
ALWAYS = 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
ROLLING = "spec/strategy/rollingUpdate"
PERCENT = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
SELECTING = ["ReplicaSet", "Deployment", "DaemonSet", "StatefulSet"]


@pytest.mark.parametrize("kind", ["ReplicationController", "ReplicaSet", "Deployment", "StatefulSet"])
def test_replicas_are_not_negative(kind):
    assert faults(kind, {"spec/replicas": -1}) == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]


@pytest.mark.parametrize("kind", SELECTING)
def test_a_selector_must_match_the_template(kind):
    assert MISMATCH in faults(kind, {"spec/selector": {"matchLabels": {"app": "y"}}})


@pytest.mark.parametrize("kind", SELECTING)
def test_an_empty_selector_is_refused(kind):
    assert f"spec.selector: Invalid value: {{}}: empty selector is invalid for {kind.lower()}" in faults(
        kind, {"spec/selector": {}}
    )


@pytest.mark.parametrize("kind", ["ReplicaSet", "Deployment"])
def test_a_missing_selector_selects_nothing(kind):
    assert faults(kind, {"spec/selector": DROP}) == ["spec.selector: Required value", MISMATCH]


@pytest.mark.parametrize("kind", ["ReplicationController", *SELECTING])
def test_only_pods_that_run_on_are_controlled(kind):
    assert faults(kind, {"spec/template/spec/restartPolicy": "Never"}) == [ALWAYS]


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("ReplicationController", "ReplicationController"),
        ("ReplicaSet", "ReplicaSet"),
        ("Deployment", "ReplicaSet"),
        ("DaemonSet", "DaemonSet"),
    ],
)
def test_no_deadline_for_pods_that_run_on(kind, named):
    assert faults(kind, {"spec/template/spec/activeDeadlineSeconds": 1}) == [
        f"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in {named} is not Supported"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/selector": {}, "spec/template/metadata/labels": {}}, ["spec.selector: Required value"]),
        ({"spec/template": DROP}, ["spec.template: Required value"]),
        ({"spec/minReadySeconds": -1}, ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]),
        ({"spec/template/spec/containers": []}, ["spec.template.spec.containers: Required value"]),
        ({"spec/template/spec/ephemeralContainers": [{"name": "e", "image": "i"}]}, ["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"]),
        ({"metadata/labels": {"a": "b"}, "spec/template/metadata/labels": {"app": "x", "b": "c d"}}, ["spec.template.labels: Invalid value: \"c d\": a valid label must be"]),
    ],
)  # fmt: skip
def test_replication_controllers(changes, said):
    found = faults("ReplicationController", changes)
    assert [f[: len(s)] for f, s in zip(found, said, strict=True)] == said


def test_a_replication_controller_takes_its_selector_from_its_template():
    assert faults("ReplicationController", {"spec/selector": DROP}) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            {"key": "app", "operator": "x"},
            'spec.selector.matchExpressions[0].operator: Invalid value: "x": not a valid selector operator',
        ),
        (
            {"key": "app", "operator": "In"},
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            {"key": "app", "operator": "Exists", "values": ["a"]},
            "spec.selector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            {"key": "a b", "operator": "Exists"},
            'spec.selector.matchExpressions[0].key: Invalid value: "a b": name part must consist of',
        ),
    ],
)
def test_expressions_in_bad_form(expression, said):
    found = faults("ReplicaSet", {"spec/selector": {"matchExpressions": [expression]}})
    assert found[0].startswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/strategy": {"type": "x"}}, ['spec.strategy: Unsupported value: {"RollingUpdate":null,"Type":"x"}: supported values: "Recreate", "RollingUpdate"']),
        ({"spec/strategy": {"type": "Recreate", "rollingUpdate": {}}}, ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
        ({ROLLING: {"maxSurge": 0, "maxUnavailable": 0}}, ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]),
        ({ROLLING: {"maxUnavailable": "101%"}}, ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%']),
        ({ROLLING: {"maxSurge": "x"}}, [f'spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": {PERCENT}']),
        ({ROLLING: {"maxSurge": -1}}, ["spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0"]),
        ({"spec/progressDeadlineSeconds": 5, "spec/minReadySeconds": 5}, ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"]),
        ({"spec/revisionHistoryLimit": -1}, ["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"]),
    ],
)  # fmt: skip
def test_deployments(changes, said):
    assert faults("Deployment", changes) == said


@pytest.mark.parametrize("kind", ["ReplicaSet", "Deployment", "DaemonSet"])
def test_a_selector_never_changes(kind):
    changes = {"spec/selector": {"matchLabels": {"app": "y"}}, "spec/template/metadata/labels": {"app": "y"}}
    assert update_faults(kind, changes) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable'
    ]


def test_a_replication_controllers_selector_does():
    assert (
        update_faults(
            "ReplicationController", {"spec/selector": {"app": "y"}, "spec/template/metadata/labels": {"app": "y"}}
        )
        == []
    )


@pytest.mark.parametrize("kind", ["ReplicationController", "ReplicaSet", "Deployment"])
def test_no_more_replicas_are_ready_than_there_are(kind):
    assert "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas" in update_faults(
        kind, {"status": {"replicas": 1, "readyReplicas": 2}}, {}, "status"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/podManagementPolicy": "x"}, ["spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"]),
        ({"spec/updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}, ["spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'"]),
        ({"spec/updateStrategy/rollingUpdate": {"partition": -1}}, ["spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"]),
        ({"spec/volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}], "spec/template/spec/containers/0/volumeMounts": [{"name": "d", "mountPath": "/d"}]}, []),
    ],
)  # fmt: skip
def test_stateful_sets(changes, said):
    assert faults("StatefulSet", changes) == said


def test_little_of_a_stateful_set_changes():
    assert update_faults("StatefulSet", {"spec/replicas": 3, "spec/template/spec/containers/0/image": "i:2"}) == []
    assert update_faults("StatefulSet", {"spec/serviceName": "t"}) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/updateStrategy": {"type": "x"}}, ['spec.updateStrategy: Unsupported value: {"RollingUpdate":null,"Type":"x"}: supported values: "OnDelete", "RollingUpdate"']),
        ({"spec/updateStrategy/rollingUpdate": {"maxUnavailable": 0}}, ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
        ({"spec/updateStrategy/rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}, ["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"]),
    ],
)  # fmt: skip
def test_daemon_sets(changes, said):
    assert faults("DaemonSet", changes) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/completions": -1}, ["spec.completions: Invalid value: -1: must be greater than or equal to 0"]),
        ({"spec/completionMode": "Indexed"}, ["spec.completions: Required value: when completion mode is Indexed"]),
        (
            {"spec/completionMode": "x"},
            ['spec.completionMode: Unsupported value: "x": supported values: "Indexed", "NonIndexed"'],
        ),
        (
            {"spec/template/spec/restartPolicy": "Always"},
            ['spec.template.spec.restartPolicy: Unsupported value: "Always": supported values: "Never", "OnFailure"'],
        ),
    ],
)
def test_jobs(changes, said):
    if changes.get("spec/completionMode") == "Indexed":
        changes = changes | {"spec/parallelism": 2}
    assert faults("Job", changes) == said


def test_a_jobs_template_is_fixed():
    by_hand = {"spec/manualSelector": True, "spec/selector": {"matchLabels": {"app": "x"}}}
    (found,) = update_faults("Job", {"spec/template/spec/containers/0/image": "x"}, by_hand)
    assert found.startswith("spec.template: Invalid value: {")
    assert found.endswith(": field is immutable")


NODES = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}
STOPPED = {
    "spec/suspend": True,
    "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("changes", "before", "fixed"),
    [
        ({"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "schedulingGates": [{"name": "a/b"}]}, {"spec/suspend": True}, False),
        ({"affinity": NODES}, {"spec/suspend": True}, False),
        ({"affinity": {"podAffinity": {}}}, {"spec/suspend": True}, True),
        ({"containers/0/resources": {"requests": {"cpu": "1"}}}, {"spec/suspend": True}, False),
        ({"containers/0/image": "x"}, {"spec/suspend": True}, True),
        ({"nodeSelector": {"a": "b"}}, {}, True),
        ({"nodeSelector": {"a": "b"}}, STOPPED, False),
        ({"nodeSelector": {"a": "b"}}, {**STOPPED, "status/active": 1}, True),
        ({"nodeSelector": {"a": "b"}}, {"spec/suspend": True, "status": {"startTime": "2026-01-01T00:00:00Z"}}, True),
    ],
)  # fmt: skip
def test_where_a_suspended_jobs_pods_run_may_be_changed_once_none_is_left(changes, before, fixed):
    by_hand = {"spec/manualSelector": True, "spec/selector": {"matchLabels": {"app": "x"}}}
    found = update_faults("Job", {f"spec/template/spec/{k}": v for k, v in changes.items()}, by_hand | before)
    assert [f.split(":")[0] for f in found] == (["spec.template"] if fixed else [])


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("@hourly", ""), ("@every 5m", ""), ("0 0 * * MON-FRI", ""), ("*/5 1,2 * * ?", ""),
        ("", "spec.schedule: Required value"),
        ("* * * *", 'spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]'),
        ("@x", 'spec.schedule: Invalid value: "@x": unrecognized descriptor: @x'),
        ("TZ=UTC * * * * *", 'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead'),
    ],
)  # fmt: skip
def test_schedules(schedule, said):
    assert faults("CronJob", {"spec/schedule": schedule}) == ([said] if said else [])


def test_cron_jobs():
    assert faults("CronJob", {"spec/timeZone": ""}) == [
        'spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string'
    ]
    assert faults("CronJob", {"spec/timeZone": "Europe/Nowhere"}) == [
        'spec.timeZone: Invalid value: "Europe/Nowhere": unknown time zone Europe/Nowhere'
    ]
    assert faults("CronJob", {"spec/concurrencyPolicy": "x"}) == [
        'spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"'
    ]
    assert faults("CronJob", {"metadata/name": "x" * 53}) == [
        f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 characters'
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"maxUnavailable": 0}, ["maxUnavailable: Invalid value: 0: cannot be 0"]),
        ({"maxUnavailable": "101%"}, ['maxUnavailable: Invalid value: "101%": must not be greater than 100%']),
        ({"partition": -1}, ["partition: Invalid value: -1: must be greater than or equal to 0"]),
        ({"maxUnavailable": "50%", "partition": 1}, []),
    ],
)
def test_a_stateful_set_must_be_able_to_move(changes, said):
    at = "spec.updateStrategy.rollingUpdate"
    assert faults("StatefulSet", {"spec/updateStrategy": {"rollingUpdate": changes}}) == [f"{at}.{s}" for s in said]


def test_a_retention_policy_keeps_or_deletes():
    assert faults("StatefulSet", {"spec/persistentVolumeClaimRetentionPolicy": {"whenScaled": "Drop"}}) == [
        'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Drop": '
        'supported values: "Delete", "Retain"'
    ]


def test_a_revision_keeps_its_data():
    kind = kinds.of(ControllerRevision)
    old, new = (
        ControllerRevision(
            metadata=ObjectMeta(name="r", namespace="ns", resourceVersion="1"), data={"a": n}, revision=1
        )
        for n in (1, 2)
    )
    assert [str(f) for f in validate(kind, old)] == []
    assert [f.message for f in validate_update(kind, new, old)] == ['Invalid value: {"a":2}: field is immutable']
    old.data = None
    assert [f.message for f in validate(kind, old)] == ["Required value: data is mandatory"]


def test_a_daemon_set_counts_its_templates():
    kind = kinds.of(DaemonSet)
    old, new = (
        made("DaemonSet", {"metadata/annotations": {"deprecated.daemonset.template.generation": "7"}}) for _ in "12"
    )
    prepare_create(kind, old)
    assert old.metadata.annotations == {"deprecated.daemonset.template.generation": "1"}
    new.spec.template.metadata.labels["more"] = "labels"
    prepare_update(kind, new, old)
    assert new.metadata.annotations == {"deprecated.daemonset.template.generation": "2"}
