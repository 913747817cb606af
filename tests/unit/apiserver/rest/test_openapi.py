import json

import pytest

from apiserver.catalogue import Catalogue
from apiserver.rest import openapi
from apiserver.rest.openapi.definitions import reached

PLACES = openapi._places(Catalogue())


@pytest.fixture(scope="module")
def core():
    return json.loads(openapi.version_3(PLACES["api/v1"]))


def unresolved(node, schemas, prefix):
    if isinstance(node, dict):
        if isinstance(ref := node.get("$ref"), str) and ref.removeprefix(prefix) not in schemas:
            yield ref
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from unresolved(value, schemas, prefix)


@pytest.mark.parametrize("place", PLACES)
def test_every_reference_of_a_groups_document_leads_somewhere(place):
    document = json.loads(openapi.version_3(PLACES[place]))
    assert list(unresolved(document, document["components"]["schemas"], "#/components/schemas/")) == []


def test_every_reference_of_version_2_leads_somewhere():
    document = json.loads(openapi.version_2(Catalogue()))
    assert list(unresolved(document, document["definitions"], "#/definitions/")) == []
    names = [o["operationId"] for item in document["paths"].values() for o in item.values() if isinstance(o, dict)]
    assert len(names) == len(set(names))


def test_a_kind_is_found_by_its_group_version_and_kind(core):
    pod = core["components"]["schemas"]["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    assert pod["properties"]["kind"]["type"] == "string"
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]


def test_merge_keys_are_kept(core):
    containers = core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert (containers["x-kubernetes-patch-merge-key"], containers["x-kubernetes-list-type"]) == ("name", "map")


def test_a_patch_can_be_dry_run_and_validated(core):
    patch = core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
    assert patch["x-kubernetes-action"] == "patch"
    assert patch["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert {p["name"] for p in patch["parameters"]} == {"dryRun", "fieldManager", "fieldValidation", "force"}


def test_a_definition_that_contains_itself_is_reached_once():
    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    assert name in reached([name])


async def test_documents_are_served_with_a_tag_and_not_twice(rest):
    async with rest.get("/openapi/v3") as response:
        url = json.loads(await response.read())["paths"]["apis/apps/v1"]["serverRelativeURL"]
    async with rest.get(url, headers={"Accept": "application/json"}) as response:
        assert response.status == 200
        tag = response.headers["ETag"]
        assert tag.strip('"') in url
        assert response.headers["Cache-Control"] == "public, immutable"
    async with rest.get(url, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with rest.get("/openapi/v3/apis/apps/v1?hash=OLD", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (301, url)
    async with rest.get("/openapi/v3/apis/nothing/v1") as response:
        assert response.status == 404
    async with rest.get("/openapi/v2", headers={"Accept": "application/xml"}) as r:
        assert r.status == 406
