"""Strategic merge patch: directives, lists merged by key, upstream's refusals, and a round trip through a diff."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError, BadRequest
from apiserver.patching import strategic_merge
from apiserver.patching.schemas import Node, node_of


def patched(document: Any, patch: Any, definition: str = "Pod") -> Any:
    before = msgspec.json.encode(document)
    result = strategic_merge(document, msgspec.json.encode(patch), definition)
    assert msgspec.json.encode(document) == before, "the document was changed in place"
    return result


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def names(document: Any, field: str = "containers") -> list[str]:
    return [item["name"] for item in document["spec"][field]]


def test_containers_are_merged_by_name() -> None:
    pod = spec(containers=[{"name": "a", "image": "1"}, {"name": "b", "image": "2"}])
    result = patched(pod, spec(containers=[{"name": "b", "image": "3"}, {"name": "c", "image": "4"}]))
    assert result == spec(
        containers=[{"name": "a", "image": "1"}, {"name": "b", "image": "3"}, {"name": "c", "image": "4"}]
    )


def test_null_deletes_a_field_and_is_nothing_where_there_is_none() -> None:
    assert patched(spec(nodeName="n", hostname="h"), spec(nodeName=None, subdomain=None)) == spec(hostname="h")
    assert patched({}, spec(affinity={"nodeAffinity": None})) == spec(affinity={})


def test_an_atomic_list_is_replaced() -> None:
    pod = spec(containers=[{"name": "a", "args": ["1", "2"]}])
    assert patched(pod, spec(containers=[{"name": "a", "args": ["3"]}])) == spec(
        containers=[{"name": "a", "args": ["3"]}]
    )


def test_finalizers_are_joined_and_deleted_by_the_parallel_list() -> None:
    pod = {"metadata": {"finalizers": ["a", "b"]}}
    assert patched(pod, {"metadata": {"finalizers": ["b", "c"]}}) == {"metadata": {"finalizers": ["a", "b", "c"]}}
    assert patched(pod, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}}) == {
        "metadata": {"finalizers": ["b"]}
    }


def test_patch_delete_takes_one_item_out() -> None:
    pod = spec(containers=[{"name": "a"}, {"name": "b"}])
    assert names(patched(pod, spec(containers=[{"$patch": "delete", "name": "a"}]))) == ["b"]


def test_patch_replace_replaces_a_list() -> None:
    pod = spec(containers=[{"name": "a"}, {"name": "b"}])
    assert names(patched(pod, spec(containers=[{"name": "c"}, {"$patch": "replace"}]))) == ["c"]


def test_patch_replace_and_delete_and_merge_of_a_map() -> None:
    pod = spec(nodeSelector={"a": "1"}, hostname="h")
    assert patched(pod, spec(nodeSelector={"$patch": "replace", "b": "2"})) == spec(
        nodeSelector={"b": "2"}, hostname="h"
    )
    assert patched(pod, spec(nodeSelector={"$patch": "delete"})) == spec(nodeSelector={}, hostname="h")
    assert patched(pod, spec(nodeSelector={"$patch": "merge", "b": "2"}))["spec"]["nodeSelector"] == {
        "a": "1",
        "b": "2",
    }


def test_retain_keys_leaves_only_the_listed_fields() -> None:
    deployment = spec(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    patch = spec(strategy={"$retainKeys": ["type"], "type": "Recreate"})
    assert patched(deployment, patch, "Deployment") == spec(strategy={"type": "Recreate"})


def test_retain_keys_in_the_item_of_a_list() -> None:
    pod = spec(volumes=[{"name": "v", "emptyDir": {}}])
    patch = spec(volumes=[{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}])
    assert patched(pod, patch) == spec(volumes=[{"name": "v", "configMap": {"name": "c"}}])


def test_set_element_order_puts_the_patch_first_and_the_others_where_they_stood() -> None:
    pod = spec(containers=[{"name": n} for n in ("sidecar", "a", "injected", "b")])
    patch = spec(
        **{"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "x"}]}
    )
    result = patched(pod, patch)
    assert names(result) == ["sidecar", "injected", "b", "a"]
    assert result["spec"]["containers"][3]["image"] == "x"


def test_set_element_order_of_finalizers() -> None:
    pod = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {"metadata": {"$setElementOrder/finalizers": ["c", "a"], "$deleteFromPrimitiveList/finalizers": ["b"]}}
    assert patched(pod, patch) == {"metadata": {"finalizers": ["c", "a"]}}


def test_a_new_part_comes_without_its_directives() -> None:
    patch = spec(volumes=[{"name": "v", "$retainKeys": ["name"]}], nodeSelector={"$patch": "replace", "a": "b"})
    assert patched({}, patch) == spec(volumes=[{"name": "v"}], nodeSelector={"a": "b"})


def test_a_selector_with_the_replace_strategy_is_replaced() -> None:
    budget = spec(selector={"matchLabels": {"a": "1"}})
    patch = spec(selector={"matchLabels": {"b": "2"}})
    assert patched(budget, patch, "PodDisruptionBudget") == patch


def test_an_unknown_definition_merges_maps_and_replaces_lists() -> None:
    assert patched({"a": {"b": 1}, "l": [1]}, {"a": {"c": 2}, "l": [2]}, "Frobnicator") == {
        "a": {"b": 1, "c": 2},
        "l": [2],
    }


POD = spec(containers=[{"name": "a", "env": [{"name": "E"}]}])


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        (spec(containers=[{"image": "x"}]), 400, "map: map[image:x] does not contain declared merge key: name"),
        (spec(containers=[{"$patch": "delete"}]), 400, "map: map[$patch:delete] does not contain declared merge key: name"),
        (spec(containers=[{"$patch": "explode", "name": "a"}]), 400, "unknown patch type: explode in map: map[$patch:explode name:a]"),
        (spec(containers=[{"$patch": "merge", "name": "a"}]), 400, "merging lists cannot yet be specified in the patch"),
        (spec(containers=["a"]), 400, "list element types are not identical: [[map[env:[map[name:E]] name:a]] [a]]"),
        (spec(containers=[["a"]]), 422, "the server rejected our request due to an error in our request"),
        ({"spec": {"$patch": "x"}}, 400, "unknown patch type: x in map: map[$patch:x]"),
        ({"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": [], "hostname": "h"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$deleteFromPrimitiveList/containers": "x"}}, 400, "invalid patch format of primitive list"),
        ({"spec": {"$setElementOrder/containers": "x"}}, 400, "invalid patch format of setElementOrder list"),
        ({"spec": {"$setElementOrder/nonsense": []}}, 400, 'unable to find api field in struct PodSpec for the json field "nonsense"'),
        ({"spec": {"$setElementOrder/containers": [{}]}}, 400, "map: map[] does not contain declared merge key: name"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}},
            400,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
    ],
)  # fmt: skip
def test_refusals_in_upstreams_words(patch: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        patched(POD, patch)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize("patch", [b"", b"[]", b"nope", b"\xff", b'{"a":' * 1000])
def test_what_is_not_a_json_object_is_a_bad_request(patch: bytes) -> None:
    with pytest.raises(BadRequest):
        strategic_merge({}, patch, "Pod")


# The round trip: a diff, as kubectl computes it, turns any pod into any other.

words = st.sampled_from("abcd")
labels = st.dictionaries(words, words, max_size=3)


def keyed(items: st.SearchStrategy[dict[str, Any]], key: str = "name") -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(items, max_size=4, unique_by=lambda i: i[key])


env = keyed(st.fixed_dictionaries({"name": words}, optional={"value": words}))
containers = keyed(
    st.fixed_dictionaries({"name": words}, optional={"image": words, "args": st.lists(words, max_size=2), "env": env})
)
volumes = keyed(
    st.fixed_dictionaries({"name": words}, optional={"emptyDir": st.fixed_dictionaries({"medium": words})})
    | st.fixed_dictionaries({"name": words, "hostPath": st.fixed_dictionaries({"path": words})})
)
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({}, optional={"labels": labels, "finalizers": st.lists(words, max_size=4, unique=True)}),
        "spec": st.fixed_dictionaries({"containers": containers}, optional={"volumes": volumes, "nodeSelector": labels, "hostname": words}),
    }
)  # fmt: skip


def diff(old: dict[str, Any], new: dict[str, Any], node: Node, *, retain: bool = False) -> dict[str, Any]:
    out: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before, child = old.get(name), node.child(name)
        if before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            out[name] = diff(before, value, child)
        elif isinstance(value, list) and isinstance(before, list) and child.strategy == "merge":
            out |= list_diff(name, before, value, child)
        else:
            out[name] = value
    if retain and out:
        out["$retainKeys"] = sorted(new)
    return out


def list_diff(name: str, old: list[Any], new: list[Any], node: Node) -> dict[str, Any]:
    if not node.merge_key:
        gone = [v for v in old if v not in new]
        out: dict[str, Any] = {f"$setElementOrder/{name}": new}
        if gone:
            out[f"$deleteFromPrimitiveList/{name}"] = gone
        added = [v for v in new if v not in old]
        return out | ({name: added} if added else {})
    key = node.merge_key
    before = {i[key]: i for i in old}
    changes: list[Any] = []
    for item in new:
        if item[key] not in before:
            changes.append(item)
        elif changed := diff(before[item[key]], item, node.element or node, retain=name == "volumes"):
            changes.append({key: item[key], **changed})
    wanted = {i[key] for i in new}
    changes += [{"$patch": "delete", key: k} for k in before if k not in wanted]
    out = {f"$setElementOrder/{name}": [{key: i[key]} for i in new]}
    return out | ({name: changes} if changes else {})


@given(pods, pods)
def test_a_diff_turns_any_pod_into_any_other(old: Any, new: Any) -> None:
    assert patched(old, diff(old, new, node_of("Pod"))) == new


@given(pods, pods)
def test_a_second_time_changes_nothing(old: Any, new: Any) -> None:
    patch = diff(old, new, node_of("Pod"))
    once = patched(old, patch)
    assert patched(once, patch) == once
