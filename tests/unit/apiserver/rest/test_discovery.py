import json

from api import kinds
from apiserver.catalogue import Catalogue
from apiserver.rest.discovery import Discovery

AGGREGATED = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}


async def got(rest, path, **headers):
    async with rest.get(path, headers=headers) as response:
        assert response.status == 200
        return json.loads(await response.read()), response.headers["Content-Type"]


async def test_the_core_groups_resources_are_listed(rest):
    document, _ = await got(rest, "/api/v1")
    found = {r["name"]: r for r in document["resources"]}
    assert found["pods"]["shortNames"] == ["po"]
    assert found["pods"]["categories"] == ["all"]
    assert found["pods/eviction"] == {
        "name": "pods/eviction", "singularName": "", "namespaced": True, "group": "policy", "version": "v1",
        "kind": "Eviction", "verbs": ["create"],
    }  # fmt: skip
    assert found["replicationcontrollers/scale"]["kind"] == "Scale"
    assert found["replicationcontrollers/scale"]["group"] == "autoscaling"
    assert found["serviceaccounts/token"]["kind"] == "TokenRequest"
    assert found["namespaces/finalize"]["verbs"] == ["update"]
    assert found["pods/log"]["verbs"] == ["get"]


async def test_everything_comes_in_one_document_to_those_who_ask(rest):
    document, media = await got(rest, "/apis", **AGGREGATED)
    assert media == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    apps = next(i for i in document["items"] if i["metadata"]["name"] == "apps")
    deployments = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
    assert (deployments["singularResource"], deployments["scope"]) == ("deployment", "Namespaced")
    assert [s["subresource"] for s in deployments["subresources"]] == ["scale", "status"]
    core, _ = await got(rest, "/api", **AGGREGATED)
    assert [i["versions"][0]["version"] for i in core["items"]] == ["v1"]


async def test_the_one_document_is_sent_once_to_those_who_keep_it(rest):
    async with rest.get("/apis", headers=AGGREGATED) as response:
        tag = response.headers["ETag"]
        assert (response.headers["Vary"], response.headers["Cache-Control"]) == ("Accept", "public")
    async with rest.get("/apis", headers={**AGGREGATED, "If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with rest.get("/api", headers={**AGGREGATED, "If-None-Match": tag}) as response:
        assert response.status == 200


async def test_plain_discovery_is_there_for_older_clients(rest):
    assert (await got(rest, "/api"))[0]["versions"] == ["v1"]
    groups = (await got(rest, "/apis"))[0]["groups"]
    autoscaling = next(g for g in groups if g["name"] == "autoscaling")
    assert autoscaling["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}
    assert (await got(rest, "/apis/batch"))[0]["kind"] == "APIGroup"
    assert (await got(rest, "/apis/batch/v1/"))[0]["groupVersion"] == "batch/v1"
    assert "/apis/apps/v1" in (await got(rest, "/"))[0]["paths"]


async def test_events_are_looked_for_in_the_core_group_first(rest):
    groups = [g["name"] for g in (await got(rest, "/apis"))[0]["groups"]]
    assert groups[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]


async def test_the_version_is_one_that_kubectl_does_not_warn_about(rest):
    version, _ = await got(rest, "/version")
    assert (version["major"], version["minor"]) == ("1", "37")
    assert version["gitVersion"].startswith("v1.37.0")
    assert version["goVersion"].startswith("python3.")


def test_every_kind_is_in_some_document():
    discovery = Discovery(Catalogue())
    listed = {
        (g, v, r["name"])
        for g in ("", *discovery.groups())
        for v in discovery.versions(g)
        for r in json.loads(discovery.document(f"/apis/{g}/{v}" if g else "/api/v1", "") or b"")["resources"]
    }
    assert {(k.group, k.version, k.plural) for k in kinds.BUILT_IN} <= listed


def test_what_a_feature_gate_opens_is_listed_behind_the_stable_version_only_where_it_is_on() -> None:
    def versions(*gates: str) -> list[str]:
        return Discovery(Catalogue(kinds.served(gates))).versions("scheduling.k8s.io")

    assert versions() == ["v1"]
    assert versions("GenericWorkload") == ["v1", "v1beta1"]
