"""A token of a service account at both doors of a real API server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest_asyncio

from api import meta
from api.types import ObjectMeta, RoleBinding, RoleRef, ServiceAccount, Subject, TokenRequest
from machinery.channels import channel
from machinery.client import connect
from machinery.testing import ControlPlane, control_plane
from proto import resources_pb2 as pb
from proto.resources_pb2_grpc import ResourcesStub

PODS = "/api/v1/namespaces/default/pods"
GROUP = "rbac.authorization.k8s.io"
BINDING = RoleBinding(
    metadata=ObjectMeta(name="viewers", namespace="default"),
    roleRef=RoleRef(apiGroup=GROUP, kind="ClusterRole", name="system:aggregate-to-view"),
    subjects=[Subject(kind="ServiceAccount", name="robot", namespace="default")],
)


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as found:
        yield found


async def status(plane: ControlPlane, path: str, token: str = "") -> tuple[int, str]:
    trust = ssl.create_default_context(cadata=plane.access().ca.decode())
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(plane.rest + path, ssl=trust) as answer:
        return answer.status, await answer.text()


async def over_grpc(plane: ControlPlane, token: str) -> Any:
    """As somebody with a certificate who shows a token: the token counts."""
    pods = pb.ListRequest(resource=pb.Resource(version="v1", plural="pods", namespace="default"))
    async with channel(plane.access("node1-kube-proxy")) as found:
        try:
            await ResourcesStub(found).List(pods, metadata=(("authorization", f"Bearer {token}"),))
        except grpc.aio.AioRpcError as e:
            return e.code()
    return grpc.StatusCode.OK


async def test_a_token_opens_what_its_account_may(plane: ControlPlane) -> None:
    async with connect(plane.access()) as client:
        await client.create(ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default")))
        answer = await client.create_subresource(ServiceAccount, "robot", "default", "token", TokenRequest())
        token = meta.decode(answer, TokenRequest).status.token
        code, body = await status(plane, PODS, token)
        assert code == 403
        assert 'User \\"system:serviceaccount:default:robot\\" cannot list resource \\"pods\\"' in body
        assert await over_grpc(plane, token) is grpc.StatusCode.PERMISSION_DENIED
        await client.create(BINDING)
        async with asyncio.timeout(5):
            while (await status(plane, PODS, token))[0] != 200:
                await client.list(ServiceAccount, "default")  # until the server has seen the binding
        assert await over_grpc(plane, token) is grpc.StatusCode.OK
        assert await over_grpc(plane, token + "x") is grpc.StatusCode.UNAUTHENTICATED
        assert (await status(plane, "/openid/v1/jwks", token))[0] == 200
        await client.delete(ServiceAccount, "robot", "default")
        await client.list(ServiceAccount, "default")
        assert (await status(plane, PODS, token))[0] == 401


async def test_who_shows_nothing_sees_health_and_version(plane: ControlPlane) -> None:
    codes = {path: (await status(plane, path))[0] for path in ("/readyz", "/version", "/apis", PODS, "/openid/v1/jwks")}
    assert codes == {"/readyz": 200, "/version": 200, "/apis": 403, PODS: 403, "/openid/v1/jwks": 403}
