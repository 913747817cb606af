"""Server-side apply: merging, giving fields up, conflicts, and the way over from client-side apply."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError, BadRequest, Conflict
from apiserver.patching.last_applied import ANNOTATION
from apiserver.patching.managed_fields import apply, track

THEN, NOW = "2026-11-23T12:00:00Z", "2026-11-23T12:00:05Z"
Object = dict[str, Any]


def deployment(containers: Any = None, **spec: Any) -> Object:
    if containers is not None:
        spec["template"] = {"spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    }


def config_map(data: dict[str, str], **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n", **metadata},
        "data": data,
    }


def applied(live: Object | None, config: Object, manager: str = "me", **options: Any) -> Object:
    before = copy.deepcopy((live, config))
    result = apply(live, config, **{"manager": manager, "now": NOW} | options)
    assert (live, config) == before, "a document was changed in place"
    return result


def updated(live: Object | None, new: Object, manager: str) -> Object:
    out = copy.deepcopy(new)
    out["metadata"]["managedFields"] = track(live, new, manager=manager, now=NOW)
    return out


def entry(obj: Object, manager: str) -> Any:
    return next((e["fieldsV1"] for e in obj["metadata"].get("managedFields", []) if e["manager"] == manager), None)


def test_applying_creates_and_owns_what_was_written() -> None:
    result = applied(
        None, deployment(replicas=3, containers=[{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}])
    )
    assert result["spec"]["replicas"] == 3
    [owned] = result["metadata"]["managedFields"]
    ports = {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}
    item = {".": {}, "f:name": {}, "f:image": {}, "f:ports": ports}
    assert owned == {
        "manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": NOW, "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {'k:{"name":"a"}': item}}}}},
    }  # fmt: skip


def test_the_same_again_is_no_change() -> None:
    config = deployment(replicas=3, containers=[{"name": "a"}])
    live = applied(None, config, now=THEN)
    assert applied(live, config) == live


def test_a_null_left_over_by_a_generator_is_no_change() -> None:
    config = deployment(replicas=1)
    config["metadata"]["creationTimestamp"] = None
    config["spec"]["template"] = {"metadata": {"creationTimestamp": None, "labels": {"a": "b"}}}
    live = applied(None, config, now=THEN)
    assert live["spec"]["template"]["metadata"] == {"labels": {"a": "b"}}
    live["metadata"]["creationTimestamp"] = THEN
    assert applied(live, config) == live


def test_what_others_set_stays() -> None:
    live = updated(None, deployment(replicas=3, paused=True), "other")
    result = applied(live, deployment(minReadySeconds=5))
    assert result["spec"] == {"replicas": 3, "paused": True, "minReadySeconds": 5}


def test_a_field_given_up_is_removed() -> None:
    live = applied(None, deployment(replicas=3, minReadySeconds=5))
    assert applied(live, deployment(replicas=3))["spec"] == {"replicas": 3}


def test_a_field_given_up_stays_for_a_co_owner() -> None:
    live = applied(applied(None, deployment(replicas=3), "a"), deployment(replicas=3), "b")
    result = applied(live, deployment(paused=True), "a")
    assert result["spec"] == {"replicas": 3, "paused": True}
    assert entry(result, "a") == {"f:spec": {"f:paused": {}}}


def test_a_container_given_up_goes_and_others_containers_stay() -> None:
    live = applied(None, deployment(containers=[{"name": "a"}, {"name": "b", "image": "i"}]))
    live = applied(live, deployment(containers=[{"name": "sidecar"}]), "injector")
    result = applied(live, deployment(containers=[{"name": "a"}]))
    assert [c["name"] for c in result["spec"]["template"]["spec"]["containers"]] == ["a", "sidecar"]


def test_a_default_inside_what_stays_is_not_pruned() -> None:
    live = applied(None, deployment(containers=[{"name": "a", "image": "i", "workingDir": "/"}]))
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    result = applied(live, deployment(containers=[{"name": "a", "image": "i"}]))
    assert result["spec"]["template"]["spec"]["containers"] == [
        {"name": "a", "image": "i", "imagePullPolicy": "Always"}
    ]


def test_an_empty_struct_that_somebody_wants_stays() -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]},
    }
    live = applied(None, config)
    config["spec"]["volumes"][0]["emptyDir"] = {}
    assert applied(live, config)["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_an_atomic_list_is_taken_as_a_whole() -> None:
    live = applied(None, deployment(containers=[{"name": "a", "args": ["1", "2"]}]))
    result = applied(live, deployment(containers=[{"name": "a", "args": ["3"]}]))
    assert result["spec"]["template"]["spec"]["containers"][0]["args"] == ["3"]


def test_finalizers_are_a_set() -> None:
    live = applied(None, config_map({}, finalizers=["a/x"]), "a")
    both = applied(live, config_map({}, finalizers=["b/y"]), "b")
    assert both["metadata"]["finalizers"] == ["a/x", "b/y"]
    assert applied(both, config_map({}), "a")["metadata"]["finalizers"] == ["b/y"]


def test_owned_fields_are_written_in_upstreams_order() -> None:
    config = deployment([{"name": "a", "image": "i", "args": []}], replicas=1, paused=True)
    for document in (applied(None, config), updated(None, config, "me")):
        (entry,) = document["metadata"]["managedFields"]
        container = '"k:{\\"name\\":\\"a\\"}":{".":{},"f:args":{},"f:image":{},"f:name":{}}'
        assert container in msgspec.json.encode(entry["fieldsV1"]).decode()
        assert list(entry["fieldsV1"]["f:spec"])[-3:] == ["f:paused", "f:replicas", "f:template"]


def test_merged_items_keep_the_order_of_both_sides() -> None:
    live = applied(None, deployment(containers=[{"name": n} for n in "asbtc"]), "other")
    result = applied(live, deployment(containers=[{"name": n} for n in "cnba"]))
    assert "".join(c["name"] for c in result["spec"]["template"]["spec"]["containers"]) == "stcnba"


def test_one_conflict_in_upstreams_words() -> None:
    live = updated(None, deployment(replicas=3), "kubectl-client-side-apply")
    with pytest.raises(Conflict) as caught:
        applied(live, deployment(replicas=5))
    status = caught.value.to_status()
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
            "field": ".spec.replicas",
        }
    ]


def test_several_conflicts_in_upstreams_words() -> None:
    live = applied(None, deployment(replicas=3, containers=[{"name": "a", "image": "1"}]), "helm")
    live = updated(live, {**copy.deepcopy(live), "spec": live["spec"] | {"paused": True}}, "kubectl-edit")
    with pytest.raises(Conflict) as caught:
        applied(live, deployment(replicas=5, paused=False, containers=[{"name": "a", "image": "2"}]))
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "helm":\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="a"].image\n'
        'conflicts with "kubectl-edit" using apps/v1:\n'
        "- .spec.paused"
    )


def test_force_takes_over() -> None:
    live = applied(None, deployment(replicas=3), "a")
    result = applied(live, deployment(replicas=5), "b", force=True)
    assert result["spec"] == {"replicas": 5}
    assert [e["manager"] for e in result["metadata"]["managedFields"]] == ["b"]


def test_the_same_value_is_shared_without_a_conflict() -> None:
    live = applied(None, deployment(replicas=3), "a")
    result = applied(live, deployment(replicas=3), "b")
    assert entry(result, "a") == entry(result, "b") == {"f:spec": {"f:replicas": {}}}


def test_kubectl_takes_over_what_client_side_apply_set() -> None:
    config = deployment(replicas=3, containers=[{"name": "a", "image": "1"}])
    stored = copy.deepcopy(config)
    stored["metadata"]["annotations"] = {ANNOTATION: msgspec.json.encode(config).decode()}
    live = updated(None, stored, "kubectl-client-side-apply")
    wanted = deployment(replicas=5, containers=[{"name": "a", "image": "2"}])
    result = applied(live, wanted, "kubectl")
    assert result["spec"]["replicas"] == 5
    assert msgspec.json.decode(result["metadata"]["annotations"][ANNOTATION]) == wanted
    with pytest.raises(Conflict):
        applied(live, wanted, "another tool")


def test_kubectl_does_not_take_what_was_changed_since() -> None:
    config = deployment(replicas=3)
    stored = deployment(replicas=4)
    stored["metadata"]["annotations"] = {ANNOTATION: msgspec.json.encode(config).decode()}
    live = updated(None, stored, "autoscaler")
    with pytest.raises(Conflict, match="autoscaler"):
        applied(live, deployment(replicas=5), "kubectl")


def test_status_is_applied_through_its_subresource_only() -> None:
    live = applied(None, deployment(replicas=3), "a")
    both = deployment(replicas=9) | {"status": {"replicas": 3}}
    assert "status" not in applied(live, deployment(replicas=3) | {"status": {"replicas": 3}}, "a")
    result = applied(live, both, "controller", subresource="status")
    assert (result["spec"], result["status"]) == ({"replicas": 3}, {"replicas": 3})
    assert entry(result, "controller") == {"f:status": {"f:replicas": {}}}
    assert result["metadata"]["managedFields"][1]["subresource"] == "status"


def broken(**changes: Any) -> Object:
    return deployment(replicas=1) | changes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (broken(kind="Pod"), "invalid object type: apps/v1, Kind=Pod"),
        (broken(apiVersion="v1"), "Incorrect version specified in apply patch. Specified patch version: v1, expected: apps/v1"),
        (broken(metadata={"name": "web", "managedFields": []}), "metadata.managedFields must be nil"),
    ],
)  # fmt: skip
def test_a_configuration_about_something_else_is_a_bad_request(config: Object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        applied(None, config, definition="Deployment", api_version="apps/v1")
    assert caught.value.message == message


def test_a_configuration_as_deep_as_the_sea_is_a_bad_request() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(BadRequest, match="exceeded max depth"):
        apply(None, deployment(deep=deep), manager="m", now=NOW)


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ({"replicass": 1}, ".spec.replicass: field not declared in schema"),
        ({"replicas": "1"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"paused": "yes"}, ".spec.paused: expected boolean, got &{yes}"),
        ({"selector": []}, ".spec.selector: expected map, got &{[]}"),
        (
            {"template": {"spec": {"containers": {"a": 1}}}},
            ".spec.template.spec.containers: expected list, got &{map[a:1]}",
        ),
        (
            {"template": {"spec": {"containers": [{"name": "a", "env": [{"name": "E", "value": 1}]}]}}},
            '.spec.template.spec.containers[name="a"].env[name="E"].value: expected string, got &value.valueUnstructured{Value:1}',
        ),
        (
            {"template": {"spec": {"containers": [{"image": "a"}]}}},
            '.spec.template.spec.containers: element 0: associative list with keys has an element that omits key field "name"'
            " (and doesn't have default value)",
        ),
        (
            {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}},
            '.spec.template.spec.containers: duplicate entries for key [name="a"]',
        ),
        ({"a": 1, "b": 2}, "errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema"),
    ],
)
def test_a_configuration_that_does_not_fit_the_schema(spec: Any, faults: str) -> None:
    with pytest.raises(ApiError) as caught:
        applied(None, deployment(**spec))
    assert caught.value.code == 400
    assert caught.value.message == (
        f"failed to create typed patch object (default/web; apps/v1, Kind=Deployment): {faults}"
    )


def test_items_of_one_key_are_owned_together_and_give_way_to_the_applied_one() -> None:
    def variables(*values: str) -> Object:
        return deployment([{"name": "a", "env": [{"name": "PATH", "value": v} for v in values]}])

    def owned(obj: Object, manager: str) -> Any:
        fields = entry(obj, manager) or {}
        for step in ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"a"}', "f:env"):
            fields = fields.get(step, {})
        return fields.get('k:{"name":"PATH"}')

    made = updated(None, variables("/bin", "/usr/bin"), "create")
    assert owned(made, "create") == {}
    changed = updated(made, variables("/bin", "/sbin"), "update")
    assert (owned(changed, "create"), owned(changed, "update")) == (None, {})
    result = applied(changed, variables("/bin"), force=True)
    assert result["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "PATH", "value": "/bin"}]
    assert owned(result, "me") == {".": {}, "f:name": {}, "f:value": {}}
    assert owned(result, "update") is None


# Objects whose fields nobody owns


def test_what_stood_before_the_first_apply_is_nobodys_to_take() -> None:
    live = config_map({"k": "1", "l": "2"})
    with pytest.raises(Conflict, match='conflict with "before-first-apply" using v1'):
        applied(live, config_map({"k": "3"}))
    result = applied(live, config_map({"k": "3"}), force=True)
    assert entry(result, "before-first-apply") == {"f:data": {".": {}, "f:l": {}}}
    assert entry(result, "me") == {"f:data": {"f:k": {}}}


def test_an_object_that_nobody_owns_stays_so_until_it_is_applied_to() -> None:
    live = updated(None, config_map({"k": "1"}), "a")
    cleared = updated(live, config_map({"k": "1"}, managedFields=[{}]), "a")
    assert cleared["metadata"]["managedFields"] == []
    changed = updated(cleared, config_map({"k": "2"}), "b")
    assert changed["metadata"]["managedFields"] == []
    assert entry(applied(changed, config_map({"l": "1"})), "before-first-apply") == {"f:data": {".": {}, "f:k": {}}}


# Properties

words = st.sampled_from("abcd")
data = st.dictionaries(words, words, max_size=4)
operation = st.tuples(st.sampled_from(["apply", "force", "update"]), st.sampled_from(["x", "y", "z"]), data)


class Model:
    """Ownership of a flat map, by the rules in the documentation."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.owners: dict[str, set[tuple[str, str]]] = {}

    def apply(self, manager: str, config: dict[str, str], *, force: bool) -> bool:
        me = (manager, "Apply")
        differing = {k for k, v in config.items() if self.data.get(k) != v}
        if not force and any(self.owners.get(k, set()) - {me} for k in differing):
            return False
        for k in [k for k, who in self.owners.items() if me in who and k not in config]:
            self.owners[k].discard(me)
            if not self.owners[k]:
                del self.owners[k], self.data[k]
        for k, v in config.items():
            self.owners[k] = {me} if k in differing else self.owners[k] | {me}
            self.data[k] = v
        return True

    def update(self, manager: str, new: dict[str, str]) -> None:
        me = (manager, "Update")
        for k, v in new.items():
            if self.data.get(k) != v:
                self.owners[k] = {me}
        self.owners = {k: who for k, who in self.owners.items() if k in new}
        self.data = dict(new)


@given(st.lists(operation, max_size=12))
def test_ownership_follows_the_model(operations: list[tuple[str, str, dict[str, str]]]) -> None:
    model, live = Model(), updated(None, config_map({}, labels={"always": "owned"}), "first")
    for verb, manager, values in operations:
        if verb == "update":
            model.update(manager, values)
            live = updated(live, live | {"data": values}, manager)
        elif model.apply(manager, values, force=verb == "force"):
            live = applied(live, config_map(values), manager, force=verb == "force")
        else:
            with pytest.raises(Conflict):
                applied(live, config_map(values), manager)
        assert live.get("data", {}) == model.data
        owned = {
            (e["manager"], e["operation"], k.removeprefix("f:"))
            for e in live["metadata"].get("managedFields", [])
            for k in e["fieldsV1"].get("f:data", {})
            if k != "."
        }
        assert owned == {(m, o, k) for k, who in model.owners.items() for m, o in who}


env = st.dictionaries(words, words, max_size=3)
containers = st.dictionaries(words, env, min_size=1, max_size=3)


def listing(items: dict[str, dict[str, str]], prefix: str) -> list[Object]:
    return [
        {"name": prefix + name} | ({"env": [{"name": k, "value": v} for k, v in env.items()]} if env else {})
        for name, env in items.items()
    ]


def by_name(obj: Object) -> Any:
    found = obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return sorted(found, key=lambda c: c["name"])


@given(containers, containers, containers)
def test_managers_of_different_containers_do_not_care_who_comes_first(a: Any, b: Any, base: Any) -> None:
    live = applied(None, deployment(containers=listing(base, "base-")), "base")
    mine, theirs = deployment(containers=listing(a, "a-")), deployment(containers=listing(b, "b-"))
    one = applied(applied(live, mine, "a"), theirs, "b")
    other = applied(applied(live, theirs, "b"), mine, "a")
    assert by_name(one) == by_name(other)
    assert all(entry(one, m) == entry(other, m) for m in ("a", "b", "base"))


@given(containers, containers)
def test_applying_nothing_takes_back_everything(a: Any, b: Any) -> None:
    live = applied(None, deployment(containers=listing(a, "a-")), "a")
    both = applied(live, deployment(containers=listing(b, "b-")), "b")
    back = applied(both, {k: v for k, v in deployment().items() if k != "spec"}, "b")
    assert by_name(back) == by_name(live)
    assert entry(back, "b") is None
    assert entry(back, "a") == entry(live, "a")


@given(containers, containers)
def test_what_is_applied_is_there_and_again_changes_nothing(a: Any, b: Any) -> None:
    live = applied(None, deployment(containers=listing(a, "")), "me")
    config = deployment(containers=listing(b, ""))
    result = applied(live, config, "me")
    assert by_name(result) == by_name(config)
    assert applied(result, config, "me", now="later") == result
