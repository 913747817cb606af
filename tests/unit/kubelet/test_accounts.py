"""Who containers are by the files of their image."""

import pytest

from api.types import Container, Pod, PodSecurityContext, SecurityContext
from kubelet.containers import security
from kubelet.containers.accounts import Accounts
from kubelet.containers.fields import ConfigError
from kubelet.images.users import MOST, Users
from kubelet.runtime.simulated import Simulated
from tests.unit.kubelet.builders import container, pod

PASSWD = "root:x:0:0::/:\n\napp:x:1000:2000::/:\n1000:x:7:7::/:\nbroken:x:9\n"
GROUP = "root:x:0:\nextra:x:50000:other,app\nshort\n3003:x:0:\n5005:x:5005:\n+007:x:0:\n"
IMAGE = Accounts(PASSWD, GROUP)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0:0"), ("1000", "1000:2000"), ("app", "app:2000"), ("app:", "app:2000"), ("app:extra", "app:extra"),
        ("1000:5", "1000:5"), ("4711", "4711:0"), ("nobody", "nobody"), ("broken", "broken:0"),
    ],
)  # fmt: skip
def test_a_user_is_given_its_own_group(user: str, expected: str) -> None:
    assert IMAGE.explicit(user) == expected


def test_an_image_without_users_has_root() -> None:
    assert [Accounts().explicit(user) for user in ("", "5", "app")] == ["0:0", "5:0", "app"]


@pytest.mark.parametrize(("user", "groups"), [("1000", [50000]), ("app:7", [50000]), ("7", []), ("4711", []), ("", [])])
def test_the_groups_that_a_user_is_in(user: str, groups: list[int]) -> None:
    assert IMAGE.joined(user) == groups


def wanting(policy: str | None = None, **who: int) -> tuple[Pod, Container]:
    c = container(securityContext=SecurityContext(**who))
    context = PodSecurityContext(supplementalGroups=[60000], supplementalGroupsPolicy=policy or "")
    return pod(c, securityContext=context), c


@pytest.mark.parametrize(
    ("policy", "who", "image_user", "needed", "expected"),
    [
        (None, {"runAsUser": 1000}, "", False, ("1000", ("60000",))),
        (None, {}, "app", False, ("app", ("60000",))),
        (None, {}, "app:extra", True, ("app:extra", ("60000", "50000"))),
        ("Merge", {"runAsUser": 1000, "runAsGroup": 5}, "", True, ("1000:5", ("60000", "50000"))),
        ("Merge", {"runAsGroup": 5}, "app:extra", True, ("app:5", ("60000", "50000"))),
        ("Merge", {"runAsGroup": 5}, "", True, ("0:5", ("60000",))),
        ("Strict", {"runAsUser": 1000}, "", True, ("1000:2000", ("60000",))),
        ("Strict", {"runAsUser": 1000, "runAsGroup": 5}, "", True, ("1000:5", ("60000",))),
        ("Strict", {}, "app", True, ("app:2000", ("60000",))),
        ("Strict", {}, "", True, ("0:0", ("60000",))),
    ],
)  # fmt: skip
def test_the_images_groups_are_joined_unless_the_policy_is_strict(
    policy: str | None, who: dict[str, int], image_user: str, needed: bool, expected: tuple[str, tuple[str, ...]]
) -> None:
    of, c = wanting(policy, **who)
    assert security.needs_accounts(of, c, image_user) is needed
    assert security.identity(of, c, image_user, IMAGE) == expected


@pytest.mark.parametrize(("fields", "name"), [({"fsGroup": 3003}, "3003"), ({"runAsGroup": 7}, r"\+007")])
def test_a_group_that_the_engine_would_mistake_is_refused(fields: dict[str, int], name: str) -> None:
    of = pod(securityContext=PodSecurityContext(supplementalGroupsPolicy="Strict", **fields))
    with pytest.raises(ConfigError, match=f'has another group of the name "{name}"'):
        security.identity(of, of.spec.containers[0], "", IMAGE)


def test_a_group_whose_name_is_its_own_number_is_no_mistake() -> None:
    of = pod(securityContext=PodSecurityContext(supplementalGroupsPolicy="Strict", fsGroup=5005))
    assert security.identity(of, of.spec.containers[0], "", IMAGE) == ("0:0", ("5005",))


async def test_an_image_is_read_once_and_only_so_many_are_remembered() -> None:
    asked = []

    class Counting(Simulated):
        async def files(self, image: str, paths: object) -> list[bytes]:
            asked.append(image)
            return [b"app:x:1:2::/:", b"\xff"]

    engine = Counting("c", "n")
    users = Users(engine)
    for image in ("first", *(str(n) for n in range(MOST - 1)), "first", "one more", "first"):
        assert (await users.of(image)).explicit("app") == "app:2"
    assert asked.count("first") == 1
    await users.of("0")
    assert asked.count("0") == 2
    engine.close()
