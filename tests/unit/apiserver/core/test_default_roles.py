"""The default roles in the store."""

from api import kinds, meta
from api.types import ClusterRole, ClusterRoleBinding
from apiserver.authorization.defaults import AUTOUPDATE
from apiserver.registry import Registry, default_roles
from apiserver.requests import Request, User
from tests.unit.apiserver.core.test_registry import registry  # noqa: F401 - a fixture

ADMIN = User("root", groups=("system:masters",))
ROLES, BINDINGS = kinds.of(ClusterRole), kinds.of(ClusterRoleBinding)


async def stored(registry: Registry, kind: kinds.Kind, name: str) -> ClusterRole | ClusterRoleBinding:  # noqa: F811
    found: ClusterRole | ClusterRoleBinding = meta.decode(
        await registry.get(Request(ADMIN, "get", kind, name=name)), kind.type
    )
    return found


async def test_they_are_made_once_and_marked(registry: Registry) -> None:  # noqa: F811
    await default_roles.ensure(registry)
    admin = await stored(registry, BINDINGS, "cluster-admin")
    assert admin.metadata.labels == {"kubernetes.io/bootstrapping": "rbac-defaults"}
    assert admin.metadata.annotations == {AUTOUPDATE: "true"}
    await default_roles.ensure(registry)
    assert (await stored(registry, BINDINGS, "cluster-admin")).metadata == admin.metadata


async def test_what_was_taken_away_comes_back_unless_told_otherwise(registry: Registry) -> None:  # noqa: F811
    await default_roles.ensure(registry)
    for name, update in (("system:kube-dns", "true"), ("system:discovery", "false")):
        role = await stored(registry, ROLES, name)
        role.rules = []
        role.metadata.annotations[AUTOUPDATE] = update
        await registry.update(Request(ADMIN, "update", ROLES, name=name), meta.encode(role))
    await registry.objects.get_fresh(ROLES, "", "system:discovery")
    await default_roles.ensure(registry)
    assert (await stored(registry, ROLES, "system:kube-dns")).rules
    assert not (await stored(registry, ROLES, "system:discovery")).rules
