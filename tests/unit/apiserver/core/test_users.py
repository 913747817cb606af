"""Who a request is from, and what that allows."""

import ssl
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from api import kinds
from api.errors import Forbidden, Unauthorized
from api.types import Node, Pod
from apiserver.authentication import Authenticator
from apiserver.authorization import Groups
from apiserver.requests import ANONYMOUS, Request, User
from machinery.certificates import LIFETIME, Authority, Subject
from machinery.testing import FakeClock


async def test_a_certificate_names_a_user_and_groups_and_itself() -> None:
    pair = Authority.create("ca").issue(Subject("system:node:n1", ("system:nodes", "more")))
    user = await Authenticator()(pair.certificate, "")
    known_by = f"X509SHA256={sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.decode())).hexdigest()}"
    extra = {"authentication.kubernetes.io/credential-id": (known_by,)}
    assert user == User("system:node:n1", groups=("system:nodes", "more", "system:authenticated"), extra=extra)


async def test_a_certificate_that_has_expired_or_is_of_nobody_who_is_trusted_names_nobody(tmp_path: Path) -> None:
    old, new, ca, clock = Authority.create("old"), Authority.create("new"), tmp_path / "ca.crt", FakeClock()
    ca.write_bytes(old.pair.certificate)
    authenticate = Authenticator(client_ca=ca, clock=clock)
    pair = old.issue(Subject("jane"), datetime.fromtimestamp(clock.now(), UTC))
    assert (await authenticate(pair.certificate, "")).name == "jane"
    with pytest.raises(Unauthorized):
        await authenticate(new.issue(Subject("jane")).certificate, "")
    await clock.advance(LIFETIME.total_seconds())
    with pytest.raises(Unauthorized):
        await authenticate(pair.certificate, "")
    renewed = old.issue(Subject("jane"), datetime.fromtimestamp(clock.now(), UTC))
    assert (await authenticate(renewed.certificate, "")).name == "jane"
    ca.write_bytes(new.pair.certificate)
    with pytest.raises(Unauthorized):
        await authenticate(renewed.certificate, "")


async def test_a_token_names_a_user_and_a_wrong_one_nobody(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text('secret,jane,1,"dev,ops"\nother,joe,2\n')
    authenticate = Authenticator(tmp_path / "tokens")
    assert await authenticate(None, "Bearer secret") == User("jane", "1", ("dev", "ops", "system:authenticated"))
    assert (await authenticate(None, "bearer other")).groups == ("system:authenticated",)
    for wrong in ("Bearer wrong", "Bearer \udcff"):  # which stands for a byte that is no text
        with pytest.raises(Unauthorized):
            await authenticate(None, wrong)
    for nothing in ("Bearer ", "Basic secret"):
        assert await authenticate(None, nothing) is ANONYMOUS


async def test_who_says_nothing_is_anonymous() -> None:
    assert await Authenticator()(None, "") is ANONYMOUS


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        (User("root", groups=("system:masters",)), True),
        (User("system:kube-scheduler"), True),
        (User("system:node:n1", groups=("system:nodes",)), True),
        (User("system:apiserver"), True),
        (User("system:serviceaccount:default:default", groups=("system:authenticated",)), False),
        (ANONYMOUS, False),
    ],
)
def test_administrators_and_components_may_and_others_may_not(user: User, allowed: bool) -> None:
    request = Request(user, "create", kinds.of(Pod), "default", "", "")
    if allowed:
        Groups().authorize(request)
        return
    with pytest.raises(Forbidden):
        Groups().authorize(request)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Request(User("jane"), "update", kinds.of(Pod), "default", "a", "status"),
            'pods/status "a" is forbidden: User "jane" cannot update resource "pods/status" in API group "" '
            'in the namespace "default"',
        ),
        (
            Request(User("jane"), "list", kinds.of(Node)),
            'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope',
        ),
    ],
)
def test_a_refusal_says_what_was_asked(request_: Request, message: str) -> None:
    with pytest.raises(Forbidden) as refused:
        Groups().authorize(request_)
    assert refused.value.message == message
