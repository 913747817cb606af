"""Tokens of service accounts in secrets, and what upstream's conformance suite asks of service accounts."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import jwt
import pytest
import pytest_asyncio

from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import controller_manager

from .people import Person, person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "/api/v1/namespaces/default"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
MERGE = "application/merge-patch+json"


class Scene(NamedTuple):
    plane: ControlPlane
    admin: Person

    async def until(self, path: str, holds: Callable[[Any], Any]) -> Any:
        """What is at the path, once it is so."""
        for _ in range(300):
            answer = await self.admin("GET", path)
            if holds(answer):
                return answer.body
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path} stays {answer}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place = tmp_path_factory.mktemp("tokens")
    async with control_plane(place) as plane, person(plane, "admin") as admin, controller_manager(plane, place):
        yield Scene(plane, admin)


def secret(name: str, account: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": account}}
    return {"metadata": metadata, "type": "kubernetes.io/service-account-token"}


async def test_a_secret_gets_the_token_of_its_account_and_goes_with_it(scene: Scene) -> None:
    account = (await scene.admin("POST", f"{HERE}/serviceaccounts", {"metadata": {"name": "old"}})).body
    await scene.admin("POST", f"{HERE}/secrets", secret("old-token", "old"))
    path = f"{HERE}/secrets/old-token"
    found = await scene.until(path, lambda answer: "token" in answer.body.get("data", {}))
    assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
    data = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    assert data["namespace"] == "default"
    assert "BEGIN CERTIFICATE" in data["ca.crt"]
    async with person(scene.plane, token=data["token"]) as robot:
        info = (await robot("POST", WHO, {})).body["status"]["userInfo"]
        assert info["username"] == "system:serviceaccount:default:old"
        await scene.admin("DELETE", f"{HERE}/serviceaccounts/old")
        assert (await robot("POST", WHO, {})).code == 401
    await scene.until(path, lambda answer: answer.code == 404)


async def test_a_secret_for_an_account_that_is_not_there_goes(scene: Scene) -> None:
    await scene.admin("POST", f"{HERE}/secrets", secret("lost", "nobody"))
    await scene.until(f"{HERE}/secrets/lost", lambda answer: answer.code == 404)


async def test_a_secret_must_say_whose_token_it_wants(scene: Scene) -> None:
    answer = await scene.admin("POST", f"{HERE}/secrets", {"metadata": {"name": "x"}, "type": secret("", "")["type"]})
    assert "metadata.annotations[kubernetes.io/service-account.name]: Required value" in answer.body["message"]


# --- [sig-auth] ServiceAccounts


async def test_no_secret_is_made_for_an_account(scene: Scene) -> None:
    made = await scene.admin("POST", f"{HERE}/serviceaccounts", {"metadata": {"name": "plain"}})
    await scene.until(f"{HERE}/configmaps/kube-root-ca.crt", lambda answer: answer.code == 200)
    seen = (await scene.admin("GET", f"{HERE}/serviceaccounts/plain")).body
    assert "secrets" not in made.body
    assert "secrets" not in seen


async def test_accounts_run_through_their_life(scene: Scene) -> None:
    namespace = "/api/v1/namespaces/lives"
    await scene.admin("POST", "/api/v1/namespaces", {"metadata": {"name": "lives"}})
    await scene.until(f"{namespace}/serviceaccounts/default", lambda answer: answer.code == 200)
    wanted = {
        "metadata": {"name": "testserviceaccount", "labels": {"test": "static"}},
        "automountServiceAccountToken": False,
    }
    made = (await scene.admin("POST", f"{namespace}/serviceaccounts", wanted)).body
    watch = f"{namespace}/serviceaccounts?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dtestserviceaccount"
    events = await scene.admin("GET", f"{watch}&resourceVersion={int(made['metadata']['resourceVersion']) - 1}")
    assert '"ADDED"' in (events.body if isinstance(events.body, str) else str(events.body)).replace("'", '"')
    patch = {"automountServiceAccountToken": True}
    patched = await scene.admin("PATCH", f"{namespace}/serviceaccounts/testserviceaccount", patch, MERGE)
    assert patched.body["automountServiceAccountToken"] is True
    listed = (await scene.admin("GET", "/api/v1/serviceaccounts?labelSelector=test%3Dstatic")).body["items"]
    assert [item["metadata"]["uid"] for item in listed] == [made["metadata"]["uid"]]
    await scene.admin("DELETE", f"{namespace}/serviceaccounts?labelSelector=test%3Dstatic")
    gone = await scene.admin("GET", f"{namespace}/serviceaccounts/testserviceaccount")
    assert gone.code == 404


async def test_the_root_certificate_is_in_every_namespace_and_is_put_right(scene: Scene) -> None:
    await scene.admin("POST", "/api/v1/namespaces", {"metadata": {"name": "rooted"}})
    path = "/api/v1/namespaces/rooted/configmaps/kube-root-ca.crt"
    right = (await scene.until(path, lambda answer: answer.code == 200))["data"]
    await scene.admin("DELETE", path)
    await scene.until(path, lambda answer: answer.code == 200 and answer.body["data"] == right)
    await scene.admin("PATCH", path, {"data": {"ca.crt": "", "more": "x"}}, MERGE)
    await scene.until(path, lambda answer: answer.code == 200 and answer.body["data"] == right)


async def test_tokens_can_be_verified_by_those_who_find_the_issuer(scene: Scene) -> None:
    await scene.admin("POST", f"{HERE}/serviceaccounts", {"metadata": {"name": "oidc"}})
    asked = {"spec": {"audiences": ["oidc-discovery-test"], "expirationSeconds": 600}}
    status = (await scene.admin("POST", f"{HERE}/serviceaccounts/oidc/token", asked)).body["status"]
    own = (await scene.admin("POST", f"{HERE}/serviceaccounts/oidc/token", {"spec": {}})).body["status"]["token"]
    async with person(scene.plane, token=own) as robot:
        discovery = (await robot("GET", "/.well-known/openid-configuration")).body
        keys = (await robot("GET", "/openid/v1/jwks")).body["keys"]
    assert discovery["jwks_uri"].endswith("/openid/v1/jwks")
    head = jwt.get_unverified_header(status["token"])
    [key] = [jwt.PyJWK(key) for key in keys if key["kid"] == head["kid"]]
    claims = jwt.decode(status["token"], key, issuer=discovery["issuer"], audience="oidc-discovery-test")
    assert claims["sub"] == "system:serviceaccount:default:oidc"
    assert claims["exp"] - claims["iat"] == 600


async def test_a_token_is_reviewed_for_an_audience(scene: Scene) -> None:
    await scene.admin("POST", f"{HERE}/serviceaccounts", {"metadata": {"name": "reviewed"}})
    asked = {"spec": {"audiences": ["vault"]}}
    token = (await scene.admin("POST", f"{HERE}/serviceaccounts/reviewed/token", asked)).body["status"]["token"]

    async def review(**spec: Any) -> Any:
        return (await scene.admin("POST", REVIEWS, {"spec": {"token": token, **spec}})).body["status"]

    good = await review(audiences=["else", "vault"])
    assert (good["authenticated"], good["audiences"]) == (True, ["vault"])
    assert good["user"]["username"] == "system:serviceaccount:default:reviewed"
    for bad in (await review(), await review(audiences=["else"])):
        assert not bad.get("authenticated")
        assert bad["error"]


async def test_a_pod_gets_its_token_mounted_unless_it_or_its_account_says_no(scene: Scene) -> None:
    for name, mounts in (("mount", True), ("nomount", False)):
        wanted = {"metadata": {"name": name}, "automountServiceAccountToken": mounts}
        await scene.admin("POST", f"{HERE}/serviceaccounts", wanted)
    cases = [("mount", None, True), ("mount", True, True), ("mount", False, False)]
    cases += [("nomount", None, False), ("nomount", True, True), ("nomount", False, False)]
    for account, said, expected in cases:
        spec: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": account}
        if said is not None:
            spec["automountServiceAccountToken"] = said
        pod = (await scene.admin("POST", f"{HERE}/pods?dryRun=All", {"metadata": {"name": "p"}, "spec": spec})).body
        mounts = [m["mountPath"] for m in pod["spec"]["containers"][0].get("volumeMounts", ())]
        assert (mounts == ["/var/run/secrets/kubernetes.io/serviceaccount"]) is expected, (account, said)
