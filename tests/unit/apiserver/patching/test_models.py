"""Strategic merges and server-side apply of nested objects, against models written from the documentation alone.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import Conflict
from apiserver.patching import strategic_merge
from apiserver.patching.managed_fields import apply, track

Object = dict[str, Any]
Path = tuple[str, ...]
few = st.sampled_from("abc")

# --- strategic merge of a pod: maps, lists of maps by key, lists that are sets, lists that are replaced

KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
SETS = {"finalizers"}


def without_directives(value: Any) -> Any:
    """A part of a patch that stands where there was nothing."""
    if isinstance(value, dict):
        return {k: without_directives(v) for k, v in value.items() if not k.startswith("$") and v is not None}
    if isinstance(value, list):
        kept = [v for v in value if not (isinstance(v, dict) and v.get("$patch"))]
        return [without_directives(v) for v in kept]
    return value


def merged(old: Object, patch: Object) -> Object:
    if patch.get("$patch") == "replace":
        return without_directives(patch)
    if patch.get("$patch") == "delete":
        return {}
    out = copy.deepcopy(old)
    if "$retainKeys" in patch:
        out = {k: v for k, v in out.items() if k in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            target = name.partition("/")[2]
            if target in out:
                out[target] = [v for v in out[target] if v not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            out.pop(name, None)
        elif isinstance(value, dict) and isinstance(out.get(name), dict):
            out[name] = merged(out[name], value)
        elif isinstance(value, list) and name in KEYS and name in out:
            out[name] = merged_list(out[name], value, KEYS[name])
        elif isinstance(value, list) and name in SETS and name in out:
            out[name] = out[name] + [v for v in value if v not in out[name]]
        else:
            out[name] = without_directives(value)
    return out


def merged_list(old: list[Object], patch: list[Object], key: str) -> list[Object]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    out = {item[key]: copy.deepcopy(item) for item in old}
    for item in patch:
        if item.get("$patch") == "delete":
            out.pop(item[key], None)
    for item in patch:
        if "$patch" not in item:
            out[item[key]] = merged(out.get(item[key], {}), item)
    return list(out.values())


def items_of(key: str, values: st.SearchStrategy[str], **fields: st.SearchStrategy[Any]) -> Any:
    item = st.fixed_dictionaries({key: values}, optional=fields)
    return st.lists(item, max_size=3, unique_by=lambda i: i[key])


env = items_of("name", few, value=few)
mounts = items_of("mountPath", few, name=few, readOnly=st.booleans())
containers = items_of("name", few, image=few, env=env, volumeMounts=mounts, args=st.lists(few, max_size=2))
volumes = items_of("name", few, emptyDir=st.just({"medium": "Memory"}))
words = st.dictionaries(few, few, max_size=3)
pods = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": words, "finalizers": st.lists(few, max_size=3, unique=True)}
        ),
        "spec": st.fixed_dictionaries(
            {}, optional={"containers": containers, "volumes": volumes, "nodeSelector": words, "hostname": few}
        ),
    },
)


def patches_of_items(key: str, **fields: st.SearchStrategy[Any]) -> Any:
    changed = st.fixed_dictionaries({key: few}, optional=fields)
    gone = st.fixed_dictionaries({"$patch": st.just("delete"), key: few})
    several = st.lists(changed | gone, max_size=3, unique_by=lambda i: i[key])
    return several | several.map(lambda s: [{"$patch": "replace"}, *(i for i in s if "$patch" not in i)])


def or_null(value: Any) -> Any:
    return st.none() | value


word_patches = st.dictionaries(few, or_null(few), max_size=3).flatmap(
    lambda d: st.sampled_from([d, {"$patch": "replace", **d}])
)
patches = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": or_null(word_patches),
                "finalizers": st.lists(few, max_size=2, unique=True),
                "$deleteFromPrimitiveList/finalizers": st.just(["a"]),
            },
        ).filter(lambda m: "a" not in m.get("finalizers", ()) or "$deleteFromPrimitiveList/finalizers" not in m),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": patches_of_items(
                    "name", image=or_null(few), env=patches_of_items("name", value=or_null(few)),
                    volumeMounts=patches_of_items("mountPath", readOnly=st.booleans()), args=st.lists(few, max_size=2),
                ),
                "volumes": patches_of_items("name", emptyDir=st.just({}), hostPath=st.just({"path": "/a"})),
                "nodeSelector": or_null(word_patches),
                "hostname": or_null(few),
            },
        ),
    },
)  # fmt: skip


def unordered(value: Any, name: str = "") -> Any:
    """Lists that are merged without their order, of which the documentation says nothing here; nulls are nothing."""
    if isinstance(value, dict):
        return {k: unordered(value[k], k) for k in sorted(value) if value[k] is not None}
    if isinstance(value, list) and name in KEYS:
        return sorted((unordered(item) for item in value), key=repr)
    return sorted(value) if name in SETS else value


def check_strategic(pod: Object, patch: Object) -> None:
    found = strategic_merge(copy.deepcopy(pod), msgspec.json.encode(patch), "Pod")
    assert unordered(found) == unordered(merged(pod, patch))


@given(pods, patches)
def test_a_strategic_merge_does_what_the_model_does(pod: Object, patch: Object) -> None:
    check_strategic(pod, patch)


@pytest.mark.long
@settings(max_examples=20_000)
@given(pods, patches)
def test_twenty_thousand_strategic_merges_do_what_the_model_does(pod: Object, patch: Object) -> None:
    check_strategic(pod, patch)


# --- server-side apply of a deployment: leaves, items of lists by key, items of sets, lists that are one value

THERE = "there"
Leaves = dict[Path, Any]
specs = st.fixed_dictionaries(
    {},
    optional={
        "containers": items_of("name", few, image=few, env=env, args=st.lists(few, min_size=1, max_size=2)),
        "finalizers": st.lists(few, min_size=1, max_size=3, unique=True),
        "labels": st.dictionaries(few, few, min_size=1, max_size=3),
        "replicas": st.integers(1, 3),
        "nodeSelector": st.dictionaries(few, few, min_size=1, max_size=2),
    },
)
actions = st.tuples(st.sampled_from(["apply", "force", "update"]), st.sampled_from("xyz"), specs)


def deployment(wanted: Object) -> Object:
    found: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}}
    for name in ("finalizers", "labels"):
        if name in wanted:
            found["metadata"][name] = wanted[name]
    pod = {name: wanted[name] for name in ("containers", "nodeSelector") if wanted.get(name)}
    spec = {"replicas": wanted["replicas"]} if "replicas" in wanted else {}
    if pod:
        spec["template"] = {"spec": pod}
    return found | ({"spec": spec} if spec else {})


def leaves(obj: Object) -> Leaves:
    """What can be owned, and its value. `nodeSelector` and `args` are owned as a whole."""
    found: Leaves = {}
    for name in obj["metadata"].get("finalizers", []):
        found["finalizers", name] = THERE
    for name, value in obj["metadata"].get("labels", {}).items():
        found["labels", name] = value
    spec = obj.get("spec", {})
    if "replicas" in spec:
        found["replicas",] = spec["replicas"]
    pod = spec.get("template", {}).get("spec", {})
    if pod.get("nodeSelector"):
        found["nodeSelector",] = pod["nodeSelector"]
    for container in pod.get("containers", []):
        at = ("containers", container["name"])
        found[at] = THERE
        for name in ("image", "args"):
            if name in container:
                found[*at, name] = container[name]
        for variable in container.get("env", []):
            found[*at, "env", variable["name"]] = THERE
            if "value" in variable:
                found[*at, "env", variable["name"], "value"] = variable["value"]
    return found


class Model:
    """Who owns which leaf."""

    def __init__(self) -> None:
        self.values: Leaves = {}
        self.owners: dict[Path, set[tuple[str, str]]] = {}

    def apply(self, manager: str, wanted: Leaves, *, force: bool) -> bool:
        me = (manager, "Apply")
        changed = {path for path, value in wanted.items() if self.values.get(path) != value}
        if not force and any(self.owners.get(path, set()) - {me} for path in changed):
            return False
        for path in [p for p, who in self.owners.items() if me in who and p not in wanted]:
            if path not in self.owners:
                continue
            self.owners[path].discard(me)
            if not self.owners[path]:  # an item that nobody owns goes with all that is in it
                for gone in [p for p in self.owners if p[: len(path)] == path]:
                    del self.owners[gone], self.values[gone]
        for path, value in wanted.items():
            self.owners[path] = {me} if path in changed else self.owners[path] | {me}
            self.values[path] = value
        return True

    def update(self, manager: str, wanted: Leaves) -> None:
        for path, value in wanted.items():
            if self.values.get(path) != value:
                self.owners[path] = {(manager, "Update")}
        self.owners = {path: who for path, who in self.owners.items() if path in wanted}
        self.values = dict(wanted)


def check_ownership(history: list[tuple[str, str, Object]]) -> None:
    model, live = Model(), deployment({})
    owned = {"annotations": {"always": "owned"}}
    live["metadata"] |= owned
    live["metadata"]["managedFields"] = track(None, live, manager="first", now="now")
    for verb, manager, wanted in history:
        config = deployment(wanted)
        if verb == "update":
            config["metadata"] |= owned
            model.update(manager, leaves(config))
            entries = track(live, config, manager=manager, now="now")
            live = config | {"metadata": config["metadata"] | {"managedFields": entries}}
        elif model.apply(manager, leaves(config), force=verb == "force"):
            live = apply(live, config, manager=manager, force=verb == "force", now="now")
        else:
            with pytest.raises(Conflict):
                apply(live, config, manager=manager, now="now")
        assert leaves(live) == model.values


@given(st.lists(actions, max_size=6))
def test_apply_and_update_keep_what_the_model_keeps(history: list[tuple[str, str, Object]]) -> None:
    check_ownership(history)


@pytest.mark.long
@settings(max_examples=5_000)
@given(st.lists(actions, max_size=10))
def test_five_thousand_histories_of_applying_keep_what_the_model_keeps(history: list[tuple[str, str, Object]]) -> None:
    check_ownership(history)
