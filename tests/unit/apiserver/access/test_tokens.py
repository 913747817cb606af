"""Service account tokens: what they say, when they hold, and when they end."""

from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from api import kinds
from api.errors import BadRequest, Conflict, Invalid, NotFound, Unauthorized
from api.types import ServiceAccount
from apiserver.authentication import Accounts, Keys, publishing
from apiserver.authentication.tokens import Bound, Untrue, Wanted
from apiserver.registry.tokens import Tokens
from apiserver.requests import Request, User
from machinery.certificates import signing_pair
from machinery.testing import FakeClock
from tests.unit.apiserver.access.conftest import ISSUER
from tests.unit.apiserver.admission.worlds import Memory

POD = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "p1"}
ADMIN = User("root", groups=("system:masters",))
PLAIN = Wanted("ns", Bound("default", "a1"), ("me",), 600)


async def admitted(_obj: Any, _old: Any) -> None:
    """Nobody objects."""


async def ask(
    tokens: Tokens, user: User = ADMIN, account: str = "default", metadata: Any = None, **spec: Any
) -> dict[str, Any]:
    head = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": metadata or {}}
    body = head | {"spec": spec}
    request = Request(user, "create", kinds.of(ServiceAccount), "ns", account, "token")
    return msgspec.json.decode(await tokens.issue(request, msgspec.json.encode(body), admitted))


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def test_a_token_says_what_upstreams_says(tokens: Tokens, clock: FakeClock) -> None:
    answer = await ask(tokens, boundObjectRef=POD, expirationSeconds=900, audiences=["vault"])
    token, now = answer["status"]["token"], int(clock.now())
    claims = claims_of(token)
    assert claims.pop("jti")
    assert claims == {
        "aud": ["vault"], "exp": now + 900, "iat": now, "nbf": now, "iss": ISSUER,
        "sub": "system:serviceaccount:ns:default",
        "kubernetes.io": {
            "namespace": "ns", "serviceaccount": {"name": "default", "uid": "a1"}, "pod": {"name": "web", "uid": "p1"},
            "node": {"name": "n1", "uid": "m1"},
        },
    }  # fmt: skip
    assert set(jwt.get_unverified_header(token)) == {"alg", "kid"}
    assert answer["status"]["expirationTimestamp"] == "2023-11-14T22:28:20Z"


async def test_the_token_that_every_pod_gets_outlives_what_it_says(tokens: Tokens, clock: FakeClock) -> None:
    answer = await ask(tokens, boundObjectRef=POD, expirationSeconds=3607)
    claims = claims_of(answer["status"]["token"])
    assert claims["exp"] == int(clock.now()) + 365 * 86400
    assert claims["kubernetes.io"]["warnafter"] == int(clock.now()) + 3607
    assert answer["status"]["expirationTimestamp"] == "2023-11-14T23:13:27Z"


async def test_its_owner_is_the_account_with_its_groups(tokens: Tokens, accounts: Accounts) -> None:
    answer = await ask(tokens, boundObjectRef=POD)
    user, audiences = await accounts.owner(answer["status"]["token"])
    assert (user.name, user.uid, audiences) == ("system:serviceaccount:ns:default", "a1", [ISSUER])
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("web",)
    assert user.extra["authentication.kubernetes.io/node-uid"] == ("m1",)
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


async def test_it_ends_with_the_pod_or_the_account_that_it_is_bound_to(
    tokens: Tokens, accounts: Accounts, world: Memory
) -> None:
    bound = (await ask(tokens, boundObjectRef=POD))["status"]["token"]
    free = (await ask(tokens))["status"]["token"]
    world.objects[1].metadata.uid = "another pod of that name"
    with pytest.raises(Unauthorized):
        await accounts.owner(bound)
    await accounts.owner(free)
    del world.objects[0]
    with pytest.raises(Unauthorized):
        await accounts.owner(free)


async def test_a_pod_that_is_being_deleted_keeps_its_token_until_it_should_be_gone(
    tokens: Tokens, accounts: Accounts, world: Memory, clock: FakeClock
) -> None:
    token = (await ask(tokens, boundObjectRef=POD))["status"]["token"]
    world.objects[1].metadata.deletionTimestamp = "2023-11-14T22:13:50Z"  # in half a minute
    await clock.advance(60)
    await accounts.owner(token)
    await clock.advance(60)
    with pytest.raises(Unauthorized):
        await accounts.owner(token)


async def test_time_and_audience_count(tokens: Tokens, accounts: Accounts, clock: FakeClock) -> None:
    token = (await ask(tokens, expirationSeconds=600))["status"]["token"]
    other = (await ask(tokens, audiences=["vault"]))["status"]["token"]
    with pytest.raises(Unauthorized):
        await accounts.owner(other)
    assert (await accounts.owner(other, ["vault", "else"]))[1] == ["vault"]
    await clock.advance(660)
    await accounts.owner(token)
    await clock.advance(1)
    with pytest.raises(Unauthorized):
        await accounts.owner(token)


async def test_a_token_of_a_server_whose_clock_is_a_little_ahead_is_accepted(
    tokens: Tokens, accounts: Accounts, clock: FakeClock
) -> None:
    token = (await ask(tokens))["status"]["token"]
    clock.jump(-60)
    await accounts.owner(token)
    clock.jump(-1)
    with pytest.raises(Unauthorized):
        await accounts.owner(token)


def test_only_our_keys_sign(keys: Keys, tmp_path: Path) -> None:
    foreign, pair = tmp_path / "foreign.key", signing_pair()
    foreign.write_bytes(pair.private)
    theirs = Keys(ISSUER, foreign).issue(PLAIN, 0)
    with pytest.raises(Untrue, match="not known here"):
        keys.read(theirs, ["me"], 1)
    head, body, signature = keys.issue(PLAIN, 0).split(".")
    for forged in (f"{head}.{body}.AAAA{signature[4:]}", f"{head}.{body}.", "nonsense", ""):
        with pytest.raises(Untrue):
            keys.read(forged, ["me"], 1)
    unsigned = jwt.encode({"iss": ISSUER}, None, "none", headers={"kid": next(iter(keys.public))})
    with pytest.raises(Untrue):
        keys.read(unsigned, ["me"], 1)
    (tmp_path / "foreign.pub").write_bytes(pair.public)
    both = Keys(ISSUER, tmp_path / "sa.key", [tmp_path / "foreign.pub"])
    assert both.read(theirs, ["me"], 1)[1] == ["me"]


def test_an_rsa_key_serves_too_and_the_public_keys_are_published(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "rsa.key").write_bytes(private)
    keys = Keys(ISSUER, tmp_path / "rsa.key")
    token = keys.issue(PLAIN, 0)
    keys.read(token, ["me"], 1)
    pages = publishing.pages(keys, "192.0.2.1:6443")
    published = msgspec.json.decode(pages["/openid/v1/jwks"]()[1])["keys"]
    key = jwt.PyJWK(published[0])
    assert jwt.decode(token, key, audience="me", options={"verify_exp": False})["iss"] == ISSUER
    assert published[0]["kid"] == jwt.get_unverified_header(token)["kid"]
    discovery = msgspec.json.decode(pages["/.well-known/openid-configuration"]()[1])
    assert discovery["jwks_uri"] == "https://192.0.2.1:6443/openid/v1/jwks"
    assert discovery["id_token_signing_alg_values_supported"] == ["RS256"]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"expirationSeconds": 599}, Invalid, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**32 + 1}, Invalid, r"may not specify a duration larger than 2\^32 seconds"),
        ({"boundObjectRef": POD | {"uid": "x"}}, Conflict, "does not match the UID in record"),
        ({"boundObjectRef": POD | {"name": "x"}}, NotFound, 'pods "x" not found'),
        ({"boundObjectRef": POD | {"kind": "ConfigMap"}}, BadRequest, "cannot bind token to object of type /v1, Kind="),
        ({"account": "else", "expirationSeconds": 1}, NotFound, 'serviceaccounts "else" not found'),
        (
            {"metadata": {"name": "foo"}},
            Invalid,
            'TokenRequest.authentication.k8s.io "default" is invalid: metadata.name: Invalid value: "foo": must match the '
            "service account name if specified",
        ),
        (
            {"metadata": {"name": "default", "namespace": "bar"}},
            Invalid,
            'metadata.namespace: Invalid value: "bar": must match the service account namespace if specified',
        ),
    ],
)
async def test_what_cannot_be_granted_is_refused(tokens: Tokens, spec: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        await ask(tokens, **spec)


async def test_a_review_tells_whose_a_token_is(tokens: Tokens) -> None:
    async def review(token: str) -> Any:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        return msgspec.json.decode(await tokens.review(msgspec.json.encode(body), admitted))["status"]

    good = await review((await ask(tokens))["status"]["token"])
    assert (good["authenticated"], good["user"]["username"]) == (True, "system:serviceaccount:ns:default")
    assert good["audiences"] == [ISSUER]
    bad = await review("x")
    assert not bad.get("authenticated")
    assert bad["error"]
