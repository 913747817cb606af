"""Who owns what after creates and updates."""

import copy
from typing import Any

import pytest

from apiserver.patching.managed_fields import track, unchanged

THEN, NOW = "2026-11-23T12:00:00Z", "2026-11-23T12:00:05Z"


def deployment(**spec: Any) -> dict[str, Any]:
    container = {"name": "web", "image": "web:1", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "default", "uid": "1", "generation": 1, "creationTimestamp": THEN,
            "labels": {"app": "web"},
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], "dnsPolicy": "ClusterFirst"}},
        } | spec,
        "status": {},
    }  # fmt: skip


def written(
    old: dict[str, Any] | None, new: dict[str, Any], manager: str = "kubectl", **options: Any
) -> dict[str, Any]:
    """`new` with its managedFields, as it would be stored."""
    out = copy.deepcopy(new)
    entries = track(old, new, **{"manager": manager, "now": NOW} | options)
    out["metadata"]["managedFields"] = entries
    return out


def changed(old: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    new = copy.deepcopy(old)
    at = new
    for step in path[:-1]:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return new


def fields(obj: dict[str, Any]) -> dict[str, Any]:
    """Entries by who they are of; the operation and subresource only where they are not the usual ones."""
    out = {}
    for e in obj["metadata"]["managedFields"]:
        who = e["manager"] + (f"/{e['subresource']}" if "subresource" in e else "")
        out[who] = e["fieldsV1"]
    return out


def test_a_create_owns_what_it_sets_as_upstream_writes_it() -> None:
    [entry] = track(None, deployment(), manager="kubectl-create", now=NOW)
    assert entry == {
        "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": NOW,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"web"}': {
                                ".": {},
                                "f:name": {},
                                "f:image": {},
                                "f:ports": {
                                    ".": {},
                                    'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
                                },
                                "f:resources": {},
                            }
                        },
                        "f:dnsPolicy": {},
                    },
                },
            },
        },
    }  # fmt: skip


def test_a_changed_field_goes_to_who_changed_it() -> None:
    old = written(None, deployment(), "creator", now=THEN)
    new = written(old, changed(old, "spec", "replicas", to=5), "scaler")
    assert fields(new)["scaler"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in fields(new)["creator"]["f:spec"]
    assert [e["time"] for e in new["metadata"]["managedFields"]] == [THEN, NOW]


def test_a_removed_field_leaves_everybody() -> None:
    old = written(None, deployment(), "creator")
    new = written(old, changed(old, "metadata", "labels", to=None), "editor")
    assert list(fields(new)) == ["creator"]
    assert "f:metadata" not in fields(new)["creator"]


def test_an_entry_without_fields_vanishes() -> None:
    old = written(None, deployment(), "creator")
    labelled = written(old, changed(old, "metadata", "labels", "x", to="1"), "labeller")
    assert set(fields(labelled)) == {"creator", "labeller"}
    bare = written(labelled, changed(labelled, "metadata", "labels", "x", to=None), "editor")
    assert set(fields(bare)) == {"creator"}


def test_a_write_that_changes_no_field_changes_no_time() -> None:
    old = written(None, deployment(), "creator", now=THEN)
    again = changed(changed(old, "metadata", "resourceVersion", to="7"), "metadata", "generation", to=2)
    assert track(old, again, manager="creator", now=NOW) is old["metadata"]["managedFields"]


def test_the_order_of_keyed_items_is_nobodys() -> None:
    template = {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    old = written(None, deployment(template=template))
    swapped = changed(old, "spec", "template", "spec", "containers", to=template["spec"]["containers"][::-1])
    assert track(old, swapped, manager="other", now=NOW) == old["metadata"]["managedFields"]


def test_status_is_tracked_only_through_its_subresource() -> None:
    old = written(None, deployment(), "creator")
    new = changed(old, "status", to={"replicas": 3, "conditions": [{"type": "Available", "status": "True"}]})
    assert track(old, new, manager="controller", now=NOW) == old["metadata"]["managedFields"]
    stored = written(old, new, "controller", subresource="status")
    assert fields(stored)["controller/status"] == {
        "f:status": {
            "f:replicas": {},
            "f:conditions": {".": {}, 'k:{"type":"Available"}': {".": {}, "f:type": {}, "f:status": {}}},
        }
    }


def test_the_status_subresource_owns_nothing_of_the_spec() -> None:
    old = written(None, deployment(), "creator")
    assert (
        track(old, changed(old, "spec", "replicas", to=9), manager="c", now=NOW, subresource="status")
        == old["metadata"]["managedFields"]
    )


def test_nor_of_the_metadata_that_a_kind_keeps_from_it() -> None:
    old = written(None, deployment(), "creator")
    marked = changed(old, "metadata", "labels", to={"app": "other"})
    marked["metadata"]["annotations"] = {"a": "b"}
    stored = written(old, marked, "c", subresource="status")
    assert fields(stored)["c/status"] == {"f:metadata": {"f:annotations": {".": {}, "f:a": {}}}}
    schema = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "f"}}
    labelled = schema | {"metadata": {"name": "f", "labels": {"a": "b"}}}
    assert track(schema, labelled, manager="c", now=NOW, subresource="status") == []


def test_scale_owns_replicas_under_its_own_name() -> None:
    old = written(None, deployment(), "creator")
    new = written(old, changed(old, "spec", "replicas", to=9), "kubectl", subresource="scale")
    assert fields(new)["kubectl/scale"] == {"f:spec": {"f:replicas": {}}}


def test_one_updater_has_one_entry_for_each_api_version() -> None:
    old = written(None, deployment(), "m", api_version="apps/v1beta1")
    new = track(old, changed(old, "spec", "replicas", to=9), manager="m", now=NOW, api_version="apps/v1")
    assert [(e["manager"], e["apiVersion"]) for e in new] == [("m", "apps/v1"), ("m", "apps/v1beta1")]


def test_a_client_may_clear_managed_fields_and_rewrite_them() -> None:
    old = written(None, deployment(), "creator")
    assert track(old, changed(old, "metadata", "managedFields", to=[{}]), manager="m", now=NOW) == []
    mine = [
        {
            "manager": "new",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": THEN,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }
    ]
    assert track(old, changed(old, "metadata", "managedFields", to=mine), manager="m", now=NOW) == mine


@pytest.mark.parametrize(
    "nonsense",
    [["x"], [{"manager": "m"}], [{"operation": "Update", "fieldsType": "FieldsV2"}], [{"operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"what": {}}}]],
)  # fmt: skip
def test_managed_fields_that_make_no_sense_are_ignored(nonsense: Any) -> None:
    old = written(None, deployment(), "creator")
    assert (
        track(old, changed(old, "metadata", "managedFields", to=nonsense), manager="m", now=NOW)
        == old["metadata"]["managedFields"]
    )


def test_an_update_that_forgets_managed_fields_keeps_them() -> None:
    old = written(None, deployment(), "creator")
    assert (
        track(old, changed(old, "metadata", "managedFields", to=None), manager="m", now=NOW)
        == old["metadata"]["managedFields"]
    )


def test_more_than_ten_updaters_are_joined_into_ancient_changes() -> None:
    obj = written(None, deployment(), "m00", now="2026-01-01T00:00:00Z")
    for i in range(1, 13):
        obj = written(
            obj, changed(obj, "metadata", "labels", f"l{i}", to="x"), f"m{i:02}", now=f"2026-01-01T00:00:{i:02}Z"
        )
    assert len(fields(obj)) == 10
    assert fields(obj)["ancient-changes"]["f:metadata"]["f:labels"] == {
        ".": {},
        "f:app": {},
        "f:l1": {},
        "f:l2": {},
        "f:l3": {},
    }
    assert {"m00", "m01", "m02", "m03"}.isdisjoint(fields(obj))


def test_a_kind_without_a_published_schema_is_tracked_as_it_looks() -> None:
    custom = {
        "apiVersion": "x.io/v1",
        "kind": "Frob",
        "metadata": {"name": "f", "labels": {"a": "b"}},
        "spec": {"list": [{"a": 1}], "map": {"k": 1}},
    }
    assert fields(written(None, custom))["kubectl"] == {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {".": {}, "f:list": {}, "f:map": {".": {}, "f:k": {}}},
    }


def test_items_that_cannot_be_told_apart_are_owned_as_one_list() -> None:
    odd = deployment(template={"spec": {"containers": [{"image": "nameless"}]}})
    assert fields(written(None, odd))["kubectl"]["f:spec"]["f:template"] == {"f:spec": {"f:containers": {}}}


def test_two_documents_that_differ_only_in_times_are_unchanged() -> None:
    old = written(None, deployment(), now=THEN)
    later = written(None, deployment(), now=NOW)
    assert unchanged(old, later)
    assert not unchanged(old, changed(later, "spec", "replicas", to=8))
    assert not unchanged(old, written(None, deployment(), "somebody else", now=THEN))


def test_what_admission_adds_belongs_to_nobody_and_what_it_takes_back_was_not_changed() -> None:
    old = written(None, deployment(), "creator")
    asked = changed(changed(old, "spec", "replicas", to=5), "spec", "strategy", "type", to="Recreate")
    outcome = changed(changed(asked, "spec", "strategy", "type", to="RollingUpdate"), "spec", "paused", to=True)
    mine = fields(written(old, asked, "scaler", outcome=outcome))["scaler"]
    assert mine == {"f:spec": {"f:replicas": {}}}


def test_many_items_that_one_step_leads_to_are_owned_as_one():
    """Each copied all that came before it once, which took minutes."""
    ports = [{"containerPort": 80, "protocol": "TCP"} for _ in range(100_000)]
    spec = {"template": {"spec": {"containers": [{"name": "web", "image": "web:1", "ports": ports}]}}}
    (entry,) = track(None, deployment(**spec), manager="kubectl", now=NOW)
    container = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"web"}']
    assert container["f:ports"] == {".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': {}}
