"""A signing key, and a world of accounts, pods and nodes as the cache has them."""

from pathlib import Path

import pytest

from api.types import Node, ObjectMeta, Pod, PodSpec, ServiceAccount
from apiserver.authentication import Accounts, Authenticator, Keys
from apiserver.registry.tokens import Tokens
from machinery.certificates import signing_pair
from machinery.testing import FakeClock
from tests.unit.apiserver.admission.worlds import Memory

ISSUER = "https://kubernetes.default.svc.cluster.local"
PAIR = signing_pair()


@pytest.fixture
def signing(tmp_path: Path) -> Path:
    path = tmp_path / "sa.key"
    path.write_bytes(PAIR.private)
    return path


@pytest.fixture
def keys(signing: Path) -> Keys:
    return Keys(ISSUER, signing)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def world() -> Memory:
    return Memory(
        ServiceAccount(metadata=ObjectMeta(name="default", namespace="ns", uid="a1")),
        Pod(
            metadata=ObjectMeta(name="web", namespace="ns", uid="p1"),
            spec=PodSpec(serviceAccountName="default", nodeName="n1"),
        ),
        Node(metadata=ObjectMeta(name="n1", uid="m1")),
    )


@pytest.fixture
def accounts(keys: Keys, world: Memory, clock: FakeClock) -> Accounts:
    return Accounts(keys, world, clock)


@pytest.fixture
def tokens(accounts: Accounts, world: Memory, clock: FakeClock) -> Tokens:
    return Tokens(Authenticator(accounts=accounts), world, clock)
