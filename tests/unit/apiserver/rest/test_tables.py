import json

import pytest

from api import kinds, meta
from api.types import Pod
from apiserver.requests import Item, Listing
from apiserver.rest import tables
from apiserver.rest.tables.columns import duration
from tests.unit.apiserver.rest.conftest import NOW

LONG_AGO = "2023-11-14T22:08:20Z"  # 5 minutes before NOW


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (332, "5m32s"), (600, "10m"),
        (3 * 3600, "3h"), (3 * 3600 + 12 * 60, "3h12m"), (8 * 3600 + 60, "8h"), (47 * 3600, "47h"), (48 * 3600, "2d"),
        (53 * 3600, "2d5h"), (8 * 86400 + 3600, "8d"), (2 * 365 * 86400, "2y"), (3 * 365 * 86400 + 9 * 86400, "3y9d"),
        (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def row(obj: dict) -> dict[str, object]:
    """The cells of an object by the names of their columns."""
    document = json.dumps({"metadata": {"name": "x", "creationTimestamp": LONG_AGO}} | obj).encode()
    printer = tables.printer_of(document)
    table = json.loads(tables.of_object(document, printer, NOW, "Metadata"))
    names = [c["name"] for c in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def pod(spec=None, **status):
    containers = {"containers": [{"name": "c"}]}
    return row({"kind": "Pod", "apiVersion": "v1", "spec": containers | (spec or {}), "status": status})


def state(name="c", ready=False, restarts=0, last=None, started=None, **current):
    found = {"name": name, "ready": ready, "restartCount": restarts, "image": "", "imageID": "", "state": current}
    if last:
        found["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": last}}
    return found | ({"started": started} if started is not None else {})


RUNNING = {"startedAt": LONG_AGO}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running", "containerStatuses": [state(ready=True, running=RUNNING)]}, "Running"),
        (
            {"phase": "Pending", "containerStatuses": [state(waiting={"reason": "ContainerCreating"})]},
            "ContainerCreating",
        ),
        (
            {"phase": "Running", "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})]},
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Succeeded", "containerStatuses": [state(terminated={"exitCode": 0, "reason": "Completed"})]},
            "Completed",
        ),
        ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 2})]}, "ExitCode:2"),
        ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 137, "signal": 9})]}, "Signal:9"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            "SchedulingGated",
        ),
    ],
)
def test_one_word_says_what_a_pod_does(status, expected):
    assert pod(**status)["Status"] == expected


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (state("i", running=RUNNING), "Init:0/2"),
        (state("i", waiting={"reason": "PodInitializing"}), "Init:0/2"),
        (state("i", waiting={"reason": "ImagePullBackOff"}), "Init:ImagePullBackOff"),
        (state("i", terminated={"exitCode": 1, "reason": "Error"}), "Init:Error"),
        (state("i", terminated={"exitCode": 3}), "Init:ExitCode:3"),
    ],
)
def test_a_pod_that_initializes_says_how_far_it_is(first, expected):
    spec = {"initContainers": [{"name": "i"}, {"name": "j"}]}
    waiting = [state(waiting={"reason": "PodInitializing"})]
    found = pod(spec, phase="Pending", initContainerStatuses=[first, state("j")], containerStatuses=waiting)
    assert found["Status"] == expected


def test_a_running_sidecar_counts_as_ready():
    spec = {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}
    found = pod(
        spec,
        phase="Running",
        initContainerStatuses=[state("s", ready=True, started=True, restarts=2, last=LONG_AGO, running=RUNNING)],
        containerStatuses=[state(ready=True, restarts=1, running=RUNNING)],
    )
    assert (found["Ready"], found["Restarts"], found["Status"]) == ("2/2", "3 (5m ago)", "Running")


def test_a_pod_that_is_being_deleted_terminates():
    metadata = {"name": "x", "creationTimestamp": LONG_AGO, "deletionTimestamp": LONG_AGO}
    document = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": [{"name": "c"}]}}
    assert row(document | {"status": {"phase": "Running"}})["Status"] == "Terminating"
    assert row(document | {"status": {"phase": "Failed"}})["Status"] == "Failed"


def test_what_a_pod_does_not_have_shows_as_none():
    found = pod(phase="Pending")
    assert [found[c] for c in ("IP", "Node", "Nominated Node", "Readiness Gates")] == ["<none>"] * 4
    gated = pod(
        {"readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        conditions=[{"type": "a", "status": "True"}],
    )
    assert gated["Readiness Gates"] == "1/2"


def test_services_show_their_addresses_and_ports():
    spec = {"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"b": "2", "a": "1"}}
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    found = row({"kind": "Service", "apiVersion": "v1", "spec": spec | {"ports": ports}})
    assert found == {
        "Name": "x", "Type": "NodePort", "Cluster-IP": "10.96.0.7", "External-IP": "<none>",
        "Port(s)": "80:30080/TCP,53/UDP", "Age": "5m", "Selector": "a=1,b=2",
    }  # fmt: skip
    balanced = row({"kind": "Service", "apiVersion": "v1", "spec": {"type": "LoadBalancer", "clusterIP": "1.1.1.1"}})
    assert (balanced["External-IP"], balanced["Port(s)"]) == ("<pending>", "<none>")


def test_nodes_show_their_state_roles_and_addresses():
    found = row(
        {
            "kind": "Node", "apiVersion": "v1", "spec": {"unschedulable": True},
            "metadata": {"name": "n", "creationTimestamp": LONG_AGO, "labels": {"node-role.kubernetes.io/worker": ""}},
            "status": {
                "conditions": [{"type": "Ready", "status": "False"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0"},
            },
        }
    )  # fmt: skip
    assert [found[c] for c in ("Status", "Roles", "Version", "Internal-IP", "External-IP")] == [
        "NotReady,SchedulingDisabled", "worker", "v1.37.0", "10.0.0.1", "<none>",
    ]  # fmt: skip


def test_deployments_show_what_is_ready_of_what_is_wanted():
    template = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}
    selector = {"matchLabels": {"z": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}
    spec = {"replicas": 3, "template": template, "selector": selector}
    found = row({"kind": "Deployment", "apiVersion": "apps/v1", "spec": spec, "status": {"readyReplicas": 2}})
    assert found == {
        "Name": "x", "Ready": "2/3", "Up-to-date": 0, "Available": 0, "Age": "5m", "Containers": "a,b",
        "Images": "i:1,j:2", "Selector": "a in (x,y),z=1",
    }  # fmt: skip


def test_endpoints_are_cut_after_three():
    subset = {"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 8080}]}
    found = row({"kind": "Endpoints", "apiVersion": "v1", "subsets": [subset]})
    assert found["Endpoints"] == "10.0.0.0:8080,10.0.0.1:8080,10.0.0.2:8080 + 2 more..."
    assert row({"kind": "Endpoints", "apiVersion": "v1"})["Endpoints"] == "<none>"


@pytest.mark.parametrize(
    "event",
    [
        {
            "apiVersion": "v1", "involvedObject": {"kind": "Pod", "name": "p"}, "message": " hello \n", "count": 4,
            "firstTimestamp": "2023-11-14T21:13:20Z", "lastTimestamp": LONG_AGO, "source": {"component": "kubelet", "host": "n"},
        },
        {
            "apiVersion": "events.k8s.io/v1", "regarding": {"kind": "Pod", "name": "p"}, "note": "hello", "eventTime":
            "2023-11-14T21:13:20.000000Z", "series": {"count": 4, "lastObservedTime": "2023-11-14T22:08:20.000000Z"},
            "reportingController": "kubelet", "reportingInstance": "n",
        },
    ],
)  # fmt: skip
def test_events_say_when_about_what_and_how_often(event):
    found = row({"kind": "Event", "type": "Normal", "reason": "Started"} | event)
    assert found == {
        "Last Seen": "5m", "Type": "Normal", "Reason": "Started", "Object": "pod/p", "Subobject": "",
        "Source": "kubelet, n", "Message": "hello", "First Seen": "60m", "Count": 4, "Name": "x",
    }  # fmt: skip


def test_jobs_and_autoscalers_and_quotas():
    job = row(
        {
            "kind": "Job", "apiVersion": "batch/v1", "spec": {"completions": 3},
            "status": {"succeeded": 1, "startTime": LONG_AGO, "conditions": [{"type": "Suspended", "status": "True"}]},
        }
    )  # fmt: skip
    assert [job[c] for c in ("Status", "Completions", "Duration")] == ["Suspended", "1/3", "5m"]
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    scaler = {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 4, "metrics": [metric]}
    found = row({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", "spec": scaler})
    assert (found["Reference"], found["Targets"]) == ("Deployment/d", "cpu: <unknown>/50%")
    status = {"hard": {"pods": "4", "limits.cpu": "2"}, "used": {"pods": "1", "limits.cpu": "500m"}}
    quota = row({"kind": "ResourceQuota", "apiVersion": "v1", "status": status})
    assert (quota["Request"], quota["Limit"]) == ("pods: 1/4", "limits.cpu: 500m/2")


@pytest.mark.parametrize("kind", [k for k in kinds.BUILT_IN if "list" in k.verbs], ids=str)
def test_every_kind_has_a_table_that_an_empty_object_fits(kind):
    printer = tables.for_kind(kind)
    assert len(printer.cells(kind.type(), NOW)) == len(printer.columns)
    assert printer.type in ("", kind.type.__name__)


async def test_a_row_carries_as_much_of_its_object_as_is_asked_for():
    document = meta.encode(Pod(metadata={"name": "x"}))
    listing = Listing("9", [Item("", "x", 1, document)], "more", 5)
    for include, expected in (("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Pod")):
        table = json.loads(await tables.of_listing(listing, tables.printer_of(document), NOW, include))
        assert table["rows"][0].get("object", {}).get("kind") == expected
        assert table["metadata"] == {"resourceVersion": "9", "continue": "more", "remainingItemCount": 5}


def test_a_finished_pod_says_so_in_its_row():
    document = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"status":{"phase":"Succeeded"}}'
    table = json.loads(tables.of_object(document, tables.printer_of(document), NOW, "None"))
    assert table["rows"][0]["conditions"][0]["type"] == "Completed"
