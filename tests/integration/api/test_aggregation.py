"""API servers behind the API server, after upstream's conformance test of the aggregator."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from machinery.testing import ControlPlane
from tests.integration.api.conftest import Answer, Send
from tests.integration.api.servers import Https, endpoints, https, service

pytestmark = pytest.mark.asyncio(loop_scope="session")
GROUP, VERSION = "wardle.example.com", "v1alpha1"
HERE = f"/apis/{GROUP}/{VERSION}"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = f"{VERSION}.{GROUP}"


@dataclass
class Flunders:
    """An API server of one resource."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: list[web.Request] = field(default_factory=list)
    healthy: bool = True

    async def handle(self, http: web.Request) -> web.StreamResponse:
        if not self.healthy:
            return web.Response(status=500)
        if http.path == HERE:
            verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            one = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": verbs}
            found = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": [one],
            }
            return web.json_response(found)
        if http.path == "/openapi/v3":
            where = f"/openapi/v3{HERE}?hash=1"
            return web.json_response({"paths": {HERE[1:]: {"serverRelativeURL": where}}})
        if http.path == f"/openapi/v3{HERE}":
            return web.json_response({"openapi": "3.0.0"})
        self.seen.append(http)
        if http.headers.get("Upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(http)
            async for message in socket:
                await socket.send_str(message.data.upper())
            return socket
        if http.query.get("watch"):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(http)
            for number in range(2):
                await response.write(json.dumps({"type": "ADDED", "object": number}).encode() + b"\n")
            await asyncio.sleep(30)
        if http.method == "POST":
            obj = await http.json()
            self.objects[obj["metadata"]["name"]] = obj
            return web.json_response(obj, status=201)
        name = http.path.rpartition("/")[2]
        if name == "flunders":
            return web.json_response({"kind": "FlunderList", "items": list(self.objects.values())})
        if http.method == "DELETE":
            return web.json_response(self.objects.pop(name))
        if name not in self.objects:
            return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)
        return web.json_response(self.objects[name])


@dataclass
class World:
    send: Send
    namespace: str
    server: Https
    flunders: Flunders

    def registration(self, **spec: Any) -> dict[str, Any]:
        where = {"name": "sample-api", "namespace": self.namespace, "port": 7443}
        usual = {"group": GROUP, "version": VERSION, "groupPriorityMinimum": 2000, "versionPriority": 200}
        return {
            "metadata": {"name": NAME},
            "spec": {**usual, "service": where, "caBundle": self.server.ca_bundle, **spec},
        }

    async def register(self, **spec: Any) -> None:
        answer = await self.send("POST", API_SERVICES, self.registration(**spec))
        assert answer.code == 201, answer.body

    async def condition(self, reason: str) -> dict[str, Any]:
        """The condition Available, once it has that reason."""

        async def ask() -> Answer:
            answer = await self.send("GET", f"{API_SERVICES}/{NAME}")
            found = answer.body.get("status", {}).get("conditions") or [{}]
            return Answer(int(found[0].get("reason") == reason), found[0], [])

        return dict((await eventually(ask, 1)).body)

    async def serve(self) -> None:
        await self.send("POST", f"/api/v1/namespaces/{self.namespace}/services", service("sample-api", 7443))
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        answer = await self.send("POST", slices, endpoints("sample-api", self.server.port))
        assert answer.code == 201


async def eventually(ask: Callable[[], Awaitable[Answer]], code: int) -> Answer:
    for _ in range(200):
        answer = await ask()
        if answer.code == code:
            return answer
        await asyncio.sleep(0.05)
    pytest.fail(f"never {code}: {answer}")


@pytest_asyncio.fixture(loop_scope="session")
async def world(send: Send, plane: ControlPlane, tmp_path: Path) -> AsyncIterator[World]:
    namespace, flunders = f"aggregator-{uuid.uuid4().hex[:8]}", Flunders()
    ca = plane.pki / "front-proxy" / "ca.crt"
    async with https(tmp_path / "server", flunders.handle, f"sample-api.{namespace}.svc", client_ca=ca) as server:
        await send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        yield World(send, namespace, server, flunders)
        await send("DELETE", f"{API_SERVICES}/{NAME}")


async def test_what_is_served_here_is_listed_as_local(send: Send) -> None:
    async def ask() -> Answer:
        answer = await send("GET", f"{API_SERVICES}/v1.apps")
        return answer._replace(code=bool(answer.code == 200 and answer.body["status"].get("conditions")))

    answer = await eventually(ask, True)
    assert answer.body["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert answer.body["spec"] == {
        "group": "apps",
        "version": "v1",
        "groupPriorityMinimum": 17800,
        "versionPriority": 15,
    }
    (condition,) = answer.body["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Available", "True", "Local")
    for name in ("v1.", "v1.batch", "v2.autoscaling", "v1.rbac.authorization.k8s.io"):
        await eventually(lambda name=name: send("GET", f"{API_SERVICES}/{name}"), 200)  # type: ignore[misc]


async def test_a_local_api_service_comes_back(send: Send) -> None:
    place = f"{API_SERVICES}/v1.batch"
    before = (await eventually(lambda: send("GET", place), 200)).body["metadata"]["uid"]
    assert (await send("DELETE", place)).code == 200

    async def ask() -> Answer:
        answer = await send("GET", place)
        return answer._replace(code=bool(answer.code == 200 and answer.body["metadata"]["uid"] != before))

    await eventually(ask, True)


async def test_custom_groups_have_api_services_as_long_as_they_are_served(send: Send) -> None:
    names = {"plural": "gizmos", "singular": "gizmo", "kind": "Gizmo", "listKind": "GizmoList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "gizmos.example.com", "scope": "Namespaced", "names": names, "versions": versions}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await send("POST", definitions, {"metadata": {"name": "gizmos.gizmos.example.com"}, "spec": spec})
    place = f"{API_SERVICES}/v1.gizmos.example.com"
    found = await eventually(lambda: send("GET", place), 200)
    assert found.body["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    await send("DELETE", f"{definitions}/gizmos.gizmos.example.com")
    await eventually(lambda: send("GET", place), 404)


async def test_availability_says_what_is_missing(world: World) -> None:
    await world.register()
    condition = await world.condition("ServiceNotFound")
    assert condition["status"] == "False"
    assert condition["message"] == f'service/sample-api in "{world.namespace}" is not present'
    answer = await world.send("GET", f"{HERE}/flunders")
    assert (answer.code, answer.body["message"]) == (503, "service unavailable")
    await world.send("POST", f"/api/v1/namespaces/{world.namespace}/services", service("sample-api", 7443))
    await world.condition("EndpointsNotFound")
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{world.namespace}/endpointslices"
    await world.send("POST", slices, endpoints("sample-api", world.server.port))
    condition = await world.condition("Passed")
    assert (condition["status"], condition["message"]) == ("True", "all checks passed")


async def test_a_server_without_trust_is_not_available(world: World) -> None:
    await world.serve()
    await world.register(caBundle=None)
    condition = await world.condition("FailedDiscoveryCheck")
    assert condition["message"].startswith("failing or missing response from https://sample-api.")
    assert condition["message"].endswith("x509: certificate signed by unknown authority")
    merge = "application/merge-patch+json"
    await world.send("PATCH", f"{API_SERVICES}/{NAME}", {"spec": {"insecureSkipTLSVerify": True}}, merge)
    await world.condition("Passed")


async def test_requests_go_there_and_say_who_asks(world: World) -> None:
    await world.serve()
    await world.register()
    await world.condition("Passed")
    place = f"{HERE}/namespaces/{world.namespace}/flunders"
    flunder = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Flunder", "metadata": {"name": "rest-flunder"}}
    assert (await world.send("POST", place, flunder, **{"X-Remote-User": "impostor"})).code == 201
    assert (await world.send("GET", f"{place}?limit=5")).body["items"] == [flunder]
    assert (await world.send("GET", f"{place}/rest-flunder")).body == flunder
    assert (await world.send("DELETE", f"{place}/rest-flunder")).code == 200
    assert (await world.send("GET", f"{place}/rest-flunder")).code == 404
    first = world.flunders.seen[0]
    assert first.headers.getall("X-Remote-User") == ["kubernetes-admin"]
    assert sorted(first.headers.getall("X-Remote-Group")) == ["system:authenticated", "system:masters"]
    assert first.transport is not None
    subject = first.transport.get_extra_info("peercert")["subject"]
    assert subject == ((("commonName", "front-proxy-client"),),)
    assert world.flunders.seen[1].path_qs == f"{place}?limit=5"
    other = await world.send("GET", place, **{"Impersonate-User": "nobody"})
    assert other.code == 403
    assert other.body["message"] == (
        'flunders.wardle.example.com is forbidden: User "nobody" cannot list resource "flunders" in API group '
        f'"wardle.example.com" in the namespace "{world.namespace}"'
    )


async def test_discovery_knows_what_others_serve(world: World) -> None:
    await world.serve()
    await world.register()
    await world.condition("Passed")
    groups = (await world.send("GET", "/apis")).body["groups"]
    (group,) = [g for g in groups if g["name"] == GROUP]
    assert group["versions"] == [{"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}]
    assert (await world.send("GET", f"/apis/{GROUP}")).body["preferredVersion"]["version"] == VERSION
    assert (await world.send("GET", HERE)).body["resources"][0]["name"] == "flunders"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def item() -> dict[str, Any]:
        found = (await world.send("GET", "/apis", Accept=accept)).body["items"]
        return dict(next(i for i in found if i["metadata"].get("name") == GROUP)["versions"][0])

    found = await item()
    assert found["freshness"] == "Current"
    assert found["resources"][0]["responseKind"] == {"group": GROUP, "version": VERSION, "kind": "Flunder"}
    index = (await world.send("GET", "/openapi/v3")).body["paths"]
    assert index[HERE[1:]] == {"serverRelativeURL": f"/openapi/v3{HERE}?hash=1"}
    assert (await world.send("GET", f"/openapi/v3{HERE}?hash=1")).body == {"openapi": "3.0.0"}
    world.flunders.healthy = False
    await world.condition("FailedDiscoveryCheck")
    assert (await item())["freshness"] == "Stale"
    await world.send("DELETE", f"{API_SERVICES}/{NAME}")
    await eventually(lambda: world.send("GET", f"/apis/{GROUP}"), 404)


async def test_watches_and_upgrades_go_through(world: World, plane: ControlPlane) -> None:
    import ssl

    await world.serve()
    await world.register()
    await world.condition("Passed")
    own = plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        async with asyncio.timeout(10), session.get(f"{plane.rest}{HERE}/flunders?watch=1") as response:
            lines = [json.loads(await response.content.readline()) for _ in range(2)]
            assert [line["object"] for line in lines] == [0, 1]
        async with asyncio.timeout(10), session.ws_connect(f"{plane.rest}{HERE}/flunders/x/talk") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "HELLO"


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"group": "other"}, 'metadata.name: Invalid value: "v1alpha1.wardle.example.com": must be `spec.version+"."+spec.group`: "v1alpha1.other"'),
        ({"groupPriorityMinimum": 0}, "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000"),
        ({"insecureSkipTLSVerify": True}, "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"),
    ],
)  # fmt: skip
async def test_faults_of_api_services_are_told(world: World, spec: dict[str, Any], fault: str) -> None:
    answer = await world.send("POST", API_SERVICES, world.registration(**spec))
    assert answer.code == 422
    assert fault in answer.body["message"]
