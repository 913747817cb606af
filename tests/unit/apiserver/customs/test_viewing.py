"""Stored documents in the version that was asked for."""

import json
from typing import Any

import pytest

from api import custom
from api.errors import InternalError
from apiserver.customs.shapes import Definition
from apiserver.customs.viewing import Views
from apiserver.requests import Event
from tests.unit.apiserver.customs.definitions import definition, version

TEXT = {"type": "string"}
OLD = {"type": "object", "properties": {"a": TEXT, "d": {**TEXT, "default": "old"}}}
NEW = {"type": "object", "properties": {"a": TEXT, "b": TEXT}}
WEBHOOK = {
    "strategy": "Webhook",
    "webhook": {"clientConfig": {"url": "https://localhost/"}, "conversionReviewVersions": ["v1"]},
}


class Webhook:
    """Answers conversion reviews; `change` may spoil an answer."""

    def __init__(self, change: Any = None) -> None:
        self.calls = 0
        self.change = change

    async def call(self, client_config: Any, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.calls += 1
        request = json.loads(json.dumps(body["request"]))
        for each in request["objects"]:
            each["apiVersion"] = request["desiredAPIVersion"]
            each["spec"]["b"] = "converted"
        response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": request["objects"]}
        answer = {"apiVersion": body["apiVersion"], "kind": body["kind"], "response": response}
        if self.change is not None:
            self.change(answer)
        return answer


def two_versions(**more: Any) -> Definition:
    return definition(version("v1", OLD), version("v2", NEW, storage=False), **more)


def document(name: str = "x", version: str = "v1", **spec: Any) -> bytes:
    tree = {
        "apiVersion": f"example.com/{version}",
        "kind": "Widget",
        "metadata": {"name": name, "uid": "u"},
        "spec": spec,
    }
    return json.dumps(tree, separators=(",", ":")).encode()


async def test_what_needs_nothing_is_the_very_same_document() -> None:
    kind = two_versions().kinds["v1"]
    stored = document(a="1", d="2")
    assert await Views().document(kind, stored) is stored


async def test_defaults_and_pruning_of_today_apply_to_what_was_stored_yesterday() -> None:
    kind = two_versions().kinds["v1"]
    assert json.loads(await Views().document(kind, document(a="1", gone="2")))["spec"] == {"a": "1", "d": "old"}


async def test_without_a_webhook_the_version_changes_and_unknown_fields_go() -> None:
    found = json.loads(await Views().document(two_versions().kinds["v2"], document(a="1")))
    assert (found["apiVersion"], found["spec"]) == ("example.com/v2", {"a": "1"})


async def test_a_webhook_is_asked_once_for_many_and_once_for_each_revision() -> None:
    webhook = Webhook()
    views, kind = Views(webhook), two_versions(conversion=WEBHOOK).kinds["v2"]
    stored = [document(str(n), a="1") for n in range(3)]
    found = [json.loads(each)["spec"] for each in await views.documents(kind, stored)]
    assert found == [{"a": "1", "b": "converted"}] * 3
    await views.documents(kind, stored)
    assert webhook.calls == 1


async def test_events_are_converted_and_bookmarks_renamed() -> None:
    views, kind = Views(), two_versions().kinds["v2"]
    events = [Event("ADDED", document(a="1")), Event("BOOKMARK", document()), Event("ERROR", b"{}")]
    found = await views.events(kind, events)
    assert [json.loads(e.document).get("apiVersion") for e in found] == ["example.com/v2", "example.com/v2", None]
    assert (await views.events(kind, events[:1]))[0] is found[0]


async def test_objects_are_stored_in_the_storage_version_and_say_if_they_are_not() -> None:
    found, views = two_versions(), Views()
    obj, outdated = await views.object(found.kinds["v2"], document(version="v2", a="1"))
    assert outdated
    stored = await views.stored(found.kinds["v2"], obj)
    assert (stored.apiVersion, stored.content) == ("example.com/v1", {"spec": {"a": "1"}})
    assert obj == custom.from_tree(json.loads(document(version="v2", a="1")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["response"].update(result={"status": "Failed", "message": "no"}), "no"),
        (lambda a: a["response"].update(uid="other"), "invalid response: expected response.uid="),
        (lambda a: a["response"].update(convertedObjects=[]), "webhook returned 0 objects, expected 1"),
        (lambda a: a["response"]["convertedObjects"][0].update(kind="Other"), "invalid converted object at index 0: invalid kind"),
        (lambda a: a["response"]["convertedObjects"][0]["metadata"].update(name="y"), "invalid converted object at index 0: must have the same name"),
        (lambda a: a.pop("response"), "invalid response: no response provided"),
    ],
)  # fmt: skip
async def test_a_webhook_that_answers_something_else_is_an_error(change: Any, message: str) -> None:
    kind = two_versions(conversion=WEBHOOK).kinds["v2"]
    with pytest.raises(InternalError) as e:
        await Views(Webhook(change)).document(kind, document(a="1"))
    assert e.value.message.startswith(f"conversion webhook for example.com/v1, Kind=Widget failed: {message}")


async def test_of_metadata_only_labels_and_annotations_are_the_webhooks() -> None:
    def change(answer: Any) -> None:
        metadata = answer["response"]["convertedObjects"][0]["metadata"]
        metadata |= {"labels": {"a": "b"}, "finalizers": ["x.y/z"]}

    kind = two_versions(conversion=WEBHOOK).kinds["v2"]
    found = json.loads(await Views(Webhook(change)).document(kind, document(a="1")))
    assert found["metadata"] == {"name": "x", "uid": "u", "labels": {"a": "b"}}
