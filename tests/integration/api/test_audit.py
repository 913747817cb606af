"""Who did what is told, as much as the policy asks for, of both doors."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio

from api import errors
from api.types import Lease, ObjectMeta, Pod, Secret
from machinery.channels import channel
from machinery.client import connect
from machinery.testing import ControlPlane, control_plane
from proto import node_pb2
from proto.resources_pb2_grpc import ResourcesStub

from .people import Person, person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "/api/v1/namespaces/default"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [system:apiserver]}
- {level: None, nonResourceURLs: ["/readyz*"]}
- {level: Request, resources: [{group: "", resources: [pods]}]}
- {level: RequestResponse, omitManagedFields: true, namespaces: [default]}
- {level: Metadata, omitStages: [ResponseComplete], resources: [{group: "", resources: [nodes]}]}
- {level: Metadata}
"""


class Scene(NamedTuple):
    plane: ControlPlane
    admin: Person
    log: Path

    async def events(self, **facts: Any) -> list[dict[str, Any]]:
        """The events that have these facts, once there are any."""
        for _ in range(200):
            whole, _, _ = self.log.read_text().rpartition("\n")  # the last line may be on its way
            events = [json.loads(line) for line in whole.splitlines()]
            if found := [e for e in events if facts.items() <= e.items()]:
                return found
            await self.admin("GET", "/readyz")  # a turn of the server's loop
        raise AssertionError(f"nothing told of {facts}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place = tmp_path_factory.mktemp("audit")
    (place / "policy.yaml").write_text(POLICY)
    (place / "tokens").write_text('jane-token,jane,u1,"dev"\n')
    flags = (f"--audit-policy-file={place / 'policy.yaml'}", f"--audit-log-path={place / 'audit.log'}",
             f"--token-auth-file={place / 'tokens'}")  # fmt: skip
    async with control_plane(place, *flags) as plane, person(plane, "admin") as admin:
        yield Scene(plane, admin, place / "audit.log")


async def test_an_event_says_who_what_and_why_it_was_permitted(scene: Scene) -> None:
    metadata = {"name": "one", "namespace": "default", "labels": {"a": "b"}}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    answer = await scene.admin("POST", f"{HERE}/serviceaccounts?fieldManager=me", body, User_Agent="tests/1.0")
    [event] = await scene.events(auditID=answer.headers["Audit-Id"])
    assert (event["kind"], event["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert (event["level"], event["stage"], event["verb"]) == ("RequestResponse", "ResponseComplete", "create")
    assert event["requestURI"] == f"{HERE}/serviceaccounts?fieldManager=me"
    [known_by] = event["user"].pop("extra")["authentication.kubernetes.io/credential-id"]
    assert known_by.startswith("X509SHA256=")
    assert event["user"] == {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]}
    assert (event["sourceIPs"], event["userAgent"]) == (["127.0.0.1"], "tests/1.0")
    place = {"resource": "serviceaccounts", "namespace": "default", "name": "one", "apiVersion": "v1"}
    assert event["objectRef"] == place
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["requestObject"] == body
    assert event["responseObject"]["metadata"]["uid"] == answer.body["metadata"]["uid"]
    assert "managedFields" in answer.body["metadata"]
    assert "managedFields" not in event["responseObject"]["metadata"]
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]


async def test_a_refusal_is_told_with_its_status(scene: Scene) -> None:
    async with person(scene.plane, token="jane-token") as jane:
        answer = await jane("GET", f"{HERE}/secrets/x")
    [event] = await scene.events(auditID=answer.headers["Audit-Id"])
    assert event["user"] == {"username": "jane", "uid": "u1", "groups": ["dev", "system:authenticated"]}
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    status = event["responseStatus"]
    assert (status["code"], status["reason"], status["message"]) == (403, "Forbidden", answer.body["message"])


async def test_who_is_not_known_is_told_of_too(scene: Scene) -> None:
    async with person(scene.plane, token="wrong") as stranger:
        answer = await stranger("GET", f"{HERE}/secrets")
    assert (answer.code, answer.body["message"], answer.body["reason"]) == (401, "Unauthorized", "Unauthorized")
    [event] = await scene.events(auditID=answer.headers["Audit-Id"])
    assert (event["responseStatus"]["code"], event["user"]) == (401, {})


async def test_secrets_are_told_by_name_only_unless_a_rule_names_them(scene: Scene) -> None:
    for resource in ("secrets", "configmaps"):
        answer = await scene.admin("POST", f"{HERE}/{resource}", {"metadata": {"name": "s"}, "immutable": False})
        assert answer.code == 201
        [event] = await scene.events(auditID=answer.headers["Audit-Id"])
        assert (event["level"], "requestObject" in event) == ("Metadata", False)
    answer = await scene.admin("POST", f"{HERE}/serviceaccounts/one/token", {"spec": {}})
    [event] = await scene.events(auditID=answer.headers["Audit-Id"])
    assert event["level"] == "Metadata"
    assert answer.body["status"]["token"] not in scene.log.read_text()


async def test_the_first_rule_that_fits_decides_and_stages_are_left_out(scene: Scene) -> None:
    ready = await scene.admin("GET", "/readyz")
    nodes = await scene.admin("GET", "/api/v1/nodes")
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "one"},
    }
    pods = await scene.admin("POST", f"{HERE}/pods", pod)
    [event] = await scene.events(auditID=pods.headers["Audit-Id"])
    assert (event["level"], "requestObject" in event, "responseObject" in event) == ("Request", True, False)
    text = scene.log.read_text()
    assert ready.headers["Audit-Id"] not in text
    assert nodes.headers["Audit-Id"] not in text
    assert "RequestReceived" not in text


async def test_a_watch_begins_and_ends(scene: Scene) -> None:
    answer = await scene.admin("GET", f"{HERE}/pods?watch=true&timeoutSeconds=1")
    events = await scene.events(auditID=answer.headers["Audit-Id"], stage="ResponseComplete")
    [begun] = await scene.events(auditID=answer.headers["Audit-Id"], stage="ResponseStarted")
    assert [begun["verb"], events[0]["verb"]] == ["watch", "watch"]


async def test_acting_as_somebody_else_names_both(scene: Scene) -> None:
    answer = await scene.admin("GET", "/api/v1/namespaces", Impersonate_User="joe", Impersonate_Group="dev")
    [event] = await scene.events(auditID=answer.headers["Audit-Id"])
    assert event["user"]["username"] == "kubernetes-admin"
    assert event["impersonatedUser"] == {"username": "joe", "groups": ["dev", "system:authenticated"]}


async def test_the_grpc_door_is_told_of_in_the_same_words(scene: Scene) -> None:
    async with connect(scene.plane.access("admin")) as client:
        await client.create(Lease(metadata=ObjectMeta(name="by-grpc", namespace="default")))
    [event] = await scene.events(requestURI="/apis/coordination.k8s.io/v1/namespaces/default/leases")
    assert (event["verb"], event["level"], event["responseStatus"]["code"]) == ("create", "RequestResponse", 201)
    assert event["responseObject"]["metadata"]["name"] == "by-grpc"
    assert event["objectRef"]["name"] == "by-grpc"
    assert event["user"]["username"] == "kubernetes-admin"
    assert event["sourceIPs"] == ["127.0.0.1"]


async def test_what_is_refused_at_the_grpc_door_is_told_too(scene: Scene) -> None:
    async with channel(scene.plane.access("scheduler")) as grpc_channel:
        logs = ResourcesStub(grpc_channel).Logs(
            node_pb2.LogsRequest(container=node_pb2.Container(namespace="default", pod="p"))
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await logs.read()
    [event] = await scene.events(requestURI=f"{HERE}/pods/p/log")
    assert (event["verb"], event["responseStatus"]["code"]) == ("get", 403)
    assert event["user"]["username"] == "system:kube-scheduler"
    async with connect(scene.plane.access("scheduler")) as client:
        with pytest.raises(errors.Forbidden):
            await client.get(Secret, "other", "elsewhere")
        pods = client.watch(Pod, "default", resource_version="0")
        await anext(pods)
        await pods.aclose()
    path = "/api/v1/namespaces/elsewhere/secrets/other"
    [event] = await scene.events(requestURI=path)
    assert event["responseStatus"]["reason"] == "Forbidden"
    stages = [e["stage"] for e in await scene.events(requestURI=f"{HERE}/pods", verb="watch")]
    assert "ResponseStarted" in stages
