"""Who one is: certificates, tokens, what a proxy says, and acting as somebody else; at both doors."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio

from api import errors
from api.types import Node, Pod, SelfSubjectReview
from machinery.certificates import Authority, Subject
from machinery.channels import channel
from machinery.client import connect
from machinery.kubeconfigs import Access
from machinery.testing import ControlPlane, control_plane, free_port
from proto import resources_pb2 as pb

from .people import Answer, Person, person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "/api/v1/namespaces/default"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
PROXIES = Authority.create("proxies")


class Scene(NamedTuple):
    plane: ControlPlane
    admin: Person
    place: Path
    token_port: int

    def proxy(self, name: str) -> tuple[Path, Path]:
        """The certificate of somebody whom the proxies' authority has signed."""
        pair = PROXIES.issue(Subject(name))
        files = self.place / f"{name}.crt", self.place / f"{name}.key"
        files[0].write_bytes(pair.certificate)
        files[1].write_bytes(pair.key)
        return files

    async def token(self, account: str, **spec: Any) -> str:
        await self.admin("POST", f"{HERE}/serviceaccounts", {"metadata": {"name": account}})
        answer = await self.admin("POST", f"{HERE}/serviceaccounts/{account}/token", {"spec": spec})
        token: str = answer.body["status"]["token"]
        return token

    def by_token(self, token: str) -> Access:
        ca = (self.plane.pki / "admin" / "ca.crt").read_bytes()
        return Access(f"https://127.0.0.1:{self.token_port}", ca, b"", b"", token)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place, port = tmp_path_factory.mktemp("identities"), free_port()
    (place / "proxies.crt").write_bytes(PROXIES.pair.certificate)
    flags = (
        f"--requestheader-client-ca-file={place / 'proxies.crt'}", "--requestheader-allowed-names=front,other",
        "--requestheader-uid-headers=X-Remote-Uid", f"--grpc-token-port={port}",
    )  # fmt: skip
    async with control_plane(place, *flags) as plane, person(plane, "admin") as admin:
        yield Scene(plane, admin, place, port)


async def who(one: Person, **headers: str) -> Any:
    answer = await one("POST", WHO, {}, **headers)
    return answer.body["status"]["userInfo"] if answer.code == 201 else answer


async def test_a_proxy_says_who_asks(scene: Scene) -> None:
    async with person(scene.plane, pair=scene.proxy("front")) as proxy:
        said = {"X_Remote_User": "jane", "X_Remote_Group": "dev", "X_Remote_Uid": "7"}
        found = await who(proxy, **said, **{"X-Remote-Extra-Acme.com%2Fproject": "p"})
        assert found == {
            "username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"],
            "extra": {"acme.com/project": ["p"]},
        }  # fmt: skip
        # A proxy that says nothing is nobody: its own certificate is none of a client.
        assert (await who(proxy)).code == 401


async def test_others_can_look_up_how_the_server_knows_who_asks(scene: Scene) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    async with person(scene.plane, "scheduler") as scheduler:
        data = (await scheduler("GET", path)).body["data"]
    assert data["client-ca-file"] == (scene.plane.pki / "admin" / "ca.crt").read_text()
    assert data["requestheader-client-ca-file"] == PROXIES.pair.certificate.decode()
    assert data["requestheader-allowed-names"] == '["front","other"]'
    assert data["requestheader-username-headers"] == '["X-Remote-User"]'


async def test_nobody_else_is_believed(scene: Scene) -> None:
    async with person(scene.plane, pair=scene.proxy("stranger")) as stranger:
        assert (await who(stranger, X_Remote_User="jane")).code == 401
    async with person(scene.plane, "scheduler") as scheduler:
        assert (await who(scheduler, X_Remote_User="jane"))["username"] == "system:kube-scheduler"
    async with person(scene.plane) as nobody:
        answer = await nobody("GET", f"{HERE}/pods", X_Remote_User="kubernetes-admin", X_Remote_Group="system:masters")
        assert (answer.code, 'User "system:anonymous"' in answer.body["message"]) == (403, True)


async def test_the_anonymous_see_what_upstream_leaves_open(scene: Scene) -> None:
    async with person(scene.plane) as nobody:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await nobody("GET", path)).code == 200
        for path in ("/api", "/openapi/v2", "/metrics", "/.well-known/openid-configuration", f"{HERE}/pods"):
            assert (await nobody("GET", path)).code == 403
        assert (await nobody("GET", "/healthz", Authorization="Basic abc")).code == 200


async def test_a_websocket_brings_its_token_among_its_protocols(scene: Scene) -> None:
    token = await scene.token("browser")
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    offered = f"base64url.bearer.authorization.k8s.io.{encoded}, binary.k8s.io"
    async with person(scene.plane) as nobody:
        answer = await nobody(
            "GET", f"{HERE}/pods?watch=1", Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Protocol=offered
        )
        assert answer.code == 403
        assert 'User "system:serviceaccount:default:browser"' in answer.body["message"]


async def test_a_token_opens_the_grpc_door_without_a_certificate(scene: Scene) -> None:
    token = await scene.token("robot")
    async with connect(scene.by_token(token)) as client:
        review = await client.create(SelfSubjectReview())
        assert review.status.userInfo.username == "system:serviceaccount:default:robot"
        with pytest.raises(errors.Forbidden, match=r'User "system:serviceaccount:default:robot" cannot list'):
            await client.list(Pod, "default")
    for wrong in ("", "wrong"):
        async with connect(scene.by_token(wrong)) as client:
            with pytest.raises(errors.Unauthorized):
                await client.list(Pod, "default")


async def test_the_grpc_door_lets_one_act_as_somebody_else(scene: Scene) -> None:
    async def call(component: str, *metadata: tuple[str, str]) -> Any:
        async with channel(scene.plane.access(component)) as grpc_channel:
            create = grpc_channel.unary_unary(
                "/wherry.v1.Resources/Create",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=pb.Object.FromString,
            )
            resource = pb.Resource(group="authentication.k8s.io", version="v1", plural="selfsubjectreviews")
            return await create(pb.CreateRequest(resource=resource, object=b"{}"), metadata=metadata)

    metadata = (("impersonate-user", "jane"), ("impersonate-group", "a"), ("impersonate-group", "b"))
    answer = await call("admin", *metadata)
    assert b'"username":"jane"' in answer.json
    assert b'"groups":["a","b","system:authenticated"]' in answer.json
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call("scheduler", *metadata)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_acting_as_somebody_else_takes_a_right_for_each_part(scene: Scene) -> None:
    token = await scene.token("actor")
    rules = [
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["jane"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/reason"]},
    ]
    group = "/apis/rbac.authorization.k8s.io/v1"
    await scene.admin("POST", f"{group}/clusterroles", {"metadata": {"name": "actor"}, "rules": rules})
    binding = {
        "metadata": {"name": "actor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "actor"},
        "subjects": [{"kind": "ServiceAccount", "name": "actor", "namespace": "default"}],
    }
    await scene.admin("POST", f"{group}/clusterrolebindings", binding)
    async with person(scene.plane, token=token) as actor:
        found = await who(actor, Impersonate_User="jane", Impersonate_Extra_Reason="why")
        assert (found["username"], found["extra"]) == ("jane", {"reason": ["why"]})
        for headers in ({"Impersonate_User": "joe"}, {"Impersonate_User": "jane", "Impersonate_Uid": "1"},
                        {"Impersonate_User": "jane", "Impersonate_Group": "x"}):  # fmt: skip
            refused: Answer = await who(actor, **headers)
            assert (refused.code, "cannot impersonate resource" in refused.body["message"]) == (403, True)
        alone: Answer = await who(actor, Impersonate_Group="x")
        assert alone.code == 500 or "without impersonating a user" in alone.body["message"]


async def test_a_token_is_worth_nothing_when_its_object_is_gone(scene: Scene) -> None:
    secret = await scene.admin("POST", f"{HERE}/secrets", {"metadata": {"name": "anchor"}})
    ref = {"apiVersion": "v1", "kind": "Secret", "name": "anchor", "uid": secret.body["metadata"]["uid"]}
    bound = await scene.token("mortal", boundObjectRef=ref)
    free = await scene.token("mortal")
    async with person(scene.plane, token=bound) as one, person(scene.plane, token=free) as other:
        extra = (await who(one))["extra"]
        assert extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
        await scene.admin("DELETE", f"{HERE}/secrets/anchor")
        assert (await who(one)).code == 401
        assert (await who(other))["username"].endswith(":mortal")
        await scene.admin("DELETE", f"{HERE}/serviceaccounts/mortal")
        assert (await who(other)).code == 401


async def test_a_token_may_be_bound_to_a_node(scene: Scene) -> None:
    async with connect(scene.plane.access("admin")) as client:
        node = Node()
        node.metadata.name = "bound"
        made = await client.create(node)
    ref = {"apiVersion": "v1", "kind": "Node", "name": "bound", "uid": made.metadata.uid}
    async with person(scene.plane, token=await scene.token("noded", boundObjectRef=ref)) as one:
        assert (await who(one))["extra"]["authentication.kubernetes.io/node-name"] == ["bound"]
        await scene.admin("DELETE", "/api/v1/nodes/bound")
        assert (await who(one)).code == 401
