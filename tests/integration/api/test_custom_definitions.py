"""CustomResourceDefinitions: what they must say, what becomes of them, and how they end."""

import asyncio
import copy
import json
from typing import Any

import aiohttp
import pytest

from tests.integration.api.conftest import Send
from tests.integration.api.customs import CRDS, conditions, define, definition, schema, until, version

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_definition_is_established_and_says_so_in_upstreams_words(send: Send) -> None:
    widgets = await define(send, definition(names={"shortNames": ["wd"], "categories": ["all"]}))
    found = (await send("GET", widgets.crd_path)).body
    told = {c["type"]: (c["status"], c["reason"], c["message"]) for c in found["status"]["conditions"]}
    assert told == {
        "NamesAccepted": ("True", "NoConflicts", "no conflicts found"),
        "Established": ("True", "InitialNamesAccepted", "the initial names have been accepted"),
    }
    assert found["status"]["acceptedNames"] == found["spec"]["names"]
    assert found["status"]["acceptedNames"]["listKind"] == "WidgetList"
    assert found["status"]["storedVersions"] == ["v1"]
    assert found["spec"]["conversion"] == {"strategy": "None"}
    assert (await widgets.create("one", spec={"replicas": 1})).code == 201


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["versions"][0].pop("schema"), "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"),
        (lambda s: s["versions"][0].update(storage=False), "must have exactly one version marked as storage version"),
        (lambda s: s["versions"].append(copy.deepcopy(s["versions"][0])), "must contain unique version names"),
        (lambda s: s.update(scope="Both"), 'spec.scope: Unsupported value: "Both": supported values: "Cluster", "Namespaced"'),
        (lambda s: s["names"].update(kind="A_b"), 'spec.names.kind: Invalid value: "A_b": may have mixed case, but should otherwise match: '),
        (lambda s: s["names"].update(listKind="Widget"), 'spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same'),
        (lambda s: s.update(preserveUnknownFields=True), "spec.preserveUnknownFields: Invalid value: true: cannot set to true"),
        (lambda s: s["versions"][0]["schema"].update(openAPIV3Schema={"type": "array", "items": {"type": "string"}}),
         'spec.validation.openAPIV3Schema.type: Invalid value: "array": must be object at the root'),
        (lambda s: s["versions"][0]["schema"].update(openAPIV3Schema=schema({"properties": {}})),
         "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"),
        (lambda s: s["versions"][0].update(subresources={"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ".status.y"}}),
         "specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec"),
        (lambda s: s["versions"][0].update(additionalPrinterColumns=[{"name": "a", "type": "thing", "jsonPath": ".a"}]),
         'type: Invalid value: "thing": must be one of integer,number,string,boolean,date'),
        (lambda s: s["versions"][0]["schema"].update(openAPIV3Schema=schema({"type": "object", "x-kubernetes-validations": [{"rule": "self.x +"}]})),
         "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: "),
        (lambda s: s.update(conversion={"strategy": "Webhook"}), "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook"),
        (lambda s: s["versions"][0].update(selectableFields=[{"jsonPath": ".spec.none"}]),
         'selectableFields[0].jsonPath: Invalid value: ".spec.none": does not point to a valid field'),
    ],
)  # fmt: skip
async def test_a_definition_that_makes_no_sense_is_refused(send: Send, change: Any, message: str) -> None:
    crd = definition()
    change(crd["spec"])
    answer = await send("POST", CRDS, crd)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert message in answer.body["message"]


async def test_a_definition_has_the_name_that_its_names_make(send: Send) -> None:
    crd = definition()
    crd["metadata"]["name"] = "other.example.com"
    answer = await send("POST", CRDS, crd)
    assert (
        'metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group'
        in answer.body["message"]
    )


async def test_a_rule_that_cannot_be_compiled_says_where(send: Send) -> None:
    rule = {"rule": "self.replicas <= self.none"}
    crd = definition(
        version(
            tree=schema(
                {"type": "object", "properties": {"replicas": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
            )
        )
    )
    answer = await send("POST", CRDS, crd)
    assert "compilation failed: ERROR: <input>:1:22: undefined field 'none'" in answer.body["message"]


async def test_a_protected_group_needs_an_approval(send: Send) -> None:
    crd = definition()
    crd["spec"]["group"], crd["metadata"]["name"] = "wherry.k8s.io", "widgets.wherry.k8s.io"
    answer = await send("POST", CRDS, crd)
    assert (
        "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have"
        in answer.body["message"]
    )
    crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/1"}
    widgets = await define(send, crd)
    found = (await conditions(widgets))["KubernetesAPIApprovalPolicyConformant"]
    assert (found["status"], found["reason"]) == ("True", "ApprovedAnnotation")
    await widgets.gone()


async def test_a_second_definition_with_the_same_kind_is_not_established(send: Send) -> None:
    first = await define(send, definition())
    crd = copy.deepcopy(first.crd)
    crd["metadata"]["name"] = crd["metadata"]["name"].replace("widgets", "gadgets")
    crd["spec"]["names"] |= {"plural": "gadgets", "singular": "gadget"}
    assert (await send("POST", CRDS, crd)).code == 201
    answer = await until(
        send, f"{CRDS}/{crd['metadata']['name']}", lambda a: bool(a.body.get("status", {}).get("conditions"))
    )
    found = answer.body
    told = {c["type"]: (c["status"], c["reason"], c["message"]) for c in found["status"]["conditions"]}
    assert told["NamesAccepted"] == ("False", "ListKindConflict", '"WidgetList" is already in use')
    assert told["Established"] == ("False", "NotAccepted", "not all names are accepted")
    await first.gone()
    await until(send, first.path.replace("widgets", "gadgets"), lambda a: a.code == 200)


async def test_a_deleted_definition_takes_its_objects_along_and_can_come_again_at_once(send: Send) -> None:
    widgets = await define(send, definition())
    for name in ("one", "two"):
        await widgets.create(name, spec={"replicas": 1})
    await widgets.gone()
    await until(send, widgets.path, lambda answer: answer.code == 404)
    again = await define(send, widgets.crd)
    assert (await send("GET", again.path)).body["items"] == []
    assert (await again.create("one")).code == 201


async def test_a_definition_waits_for_objects_with_finalizers_and_takes_no_new_ones(send: Send) -> None:
    widgets = await define(send, definition())
    await widgets.create("held", metadata={"finalizers": ["example.com/hold"]})
    await send("DELETE", widgets.crd_path)
    await until(send, f"{widgets.path}/held", lambda a: "deletionTimestamp" in a.body["metadata"])
    assert (await conditions(widgets))["Terminating"]["status"] == "True"
    answer = await widgets.create("late")
    assert (answer.code, answer.body["message"]) == (
        405,
        "create not allowed while custom resource definition is terminating",
    )
    await widgets.patch("held", {"metadata": {"finalizers": None}})
    await widgets.gone()


async def test_watches_end_with_their_definition_after_the_last_object_went(
    send: Send, session: aiohttp.ClientSession
) -> None:
    widgets = await define(send, definition())
    await widgets.create("one")
    async with session.get(f"{widgets.path}?watch=true") as watch:
        await widgets.gone()
        async with asyncio.timeout(5):
            events = [json.loads(line) async for line in watch.content]
    assert events[-1]["type"] == "DELETED"
    assert events[-1]["object"]["metadata"]["name"] == "one"


async def test_a_new_schema_applies_at_once(send: Send) -> None:
    widgets = await define(send, definition())

    def limit(crd: Any) -> None:
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"][
            "maximum"
        ] = 3

    assert (await widgets.create("before", spec={"replicas": 9})).code == 201
    await widgets.redefine(limit)
    answer = await widgets.create("after", spec={"replicas": 9})
    assert (
        "spec.replicas: Invalid value: 9: spec.replicas in body should be less than or equal to 3"
        in answer.body["message"]
    )
    # What has not changed may stay as it is.
    assert (await widgets.patch("before", {"spec": {"image": "x"}})).code == 200
    assert (await widgets.patch("before", {"spec": {"replicas": 8}})).code == 422


async def test_immutable_parts_of_a_definition(send: Send) -> None:
    widgets = await define(send, definition())
    answer = await widgets.redefine(lambda crd: crd["spec"].update(scope="Cluster"))
    assert 'spec.scope: Invalid value: "Cluster": field is immutable' in answer.body["message"]
    answer = await widgets.redefine(lambda crd: crd["spec"]["versions"].__setitem__(0, version("v2")))
    assert (
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously'
        in answer.body["message"]
    )
