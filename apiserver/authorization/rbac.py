"""Roles and bindings, as the cache has them, turned into the rights of whoever asks.

The index is made anew when a role or a binding has changed, and the rights of a user when they first ask after that: a
decision is then one look into a dict.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

from api import errors, kinds
from api.types import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from apiserver.admission.reading import Reader
from apiserver.authorization.deciding import Authorizer, Decision
from apiserver.authorization.rights import Grant, Rights
from apiserver.requests import Request, User

ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = KINDS = tuple(
    kinds.of(t) for t in (Role, ClusterRole, RoleBinding, ClusterRoleBinding)
)
GROUP = "rbac.authorization.k8s.io"
USERS_REMEMBERED = 4096


class Binding(NamedTuple):
    namespace: str
    """"" for a cluster role binding."""
    role: RoleRef
    reason: str


class Rbac(Authorizer):
    """`version` changes whenever any role or binding does."""

    def __init__(self, reader: Reader, version: Callable[[], Hashable]) -> None:
        self._reader = reader
        self._version = version
        self._seen: Hashable = None
        self._bindings: dict[str, list[Binding]] = {}
        self._rights: dict[tuple[str, tuple[str, ...]], Rights] = {}

    def decide(self, request: Request) -> Decision:
        return self.rights(request.user).decide(request)

    def rules(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        rights = self.rights(user)
        return [grant.rule for grant in rights.grants(namespace)], rights.refusals(namespace)

    def rights(self, user: User) -> Rights:
        version = self._version()
        if version != self._seen:
            self._bindings = self._index()
            self._rights.clear()
            self._seen = version
        key = (user.name, user.groups)
        found = self._rights.get(key)
        if found is None:
            if len(self._rights) >= USERS_REMEMBERED:
                self._rights.clear()
            found = self._rights[key] = self._of(user)
        return found

    def role_rules(self, ref: RoleRef, namespace: str) -> list[PolicyRule]:
        """The rules of the role that a binding in `namespace` refers to.  Raises NotFound."""
        kind, within = (ROLES, namespace) if ref.kind == "Role" else (CLUSTER_ROLES, "")
        role = self._reader.get_cached(kind, within, ref.name)
        if role is None:
            raise errors.not_found(f"{kind.singular}.{GROUP}", ref.name)
        rules: list[PolicyRule] = role.rules
        return rules

    def _index(self) -> dict[str, list[Binding]]:
        """Bindings by subject; a subject's key begins with its sort, which no name can do."""
        found: dict[str, list[Binding]] = {}
        for kind in (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS):
            for binding in self._reader.list_cached(kind):
                for key, each in _entries(binding):
                    found.setdefault(key, []).append(each)
        return found

    def _of(self, user: User) -> Rights:
        everywhere: list[Grant] = []
        within: dict[str, list[Grant]] = {}
        faults: dict[str, list[str]] = {}
        for binding in self._held(user):
            try:
                rules = self.role_rules(binding.role, binding.namespace)
            except errors.NotFound as e:
                faults.setdefault(binding.namespace, []).append(e.message)
                continue
            grants = within.setdefault(binding.namespace, []) if binding.namespace else everywhere
            grants += [Grant(rule, binding.reason) for rule in rules]
        return Rights(everywhere, within, faults)

    def _held(self, user: User) -> Iterator[Binding]:
        seen: set[tuple[str, str]] = set()
        for key in (f"User {user.name}", *(f"Group {group}" for group in user.groups)):
            for binding in self._bindings.get(key, ()):
                # One binding may name a user in several ways.
                if (at := (binding.namespace, binding.reason.partition(" to ")[0])) not in seen:
                    seen.add(at)
                    yield binding


def _entries(binding: Any) -> Iterable[tuple[str, Binding]]:
    namespace, name, role = binding.metadata.namespace, binding.metadata.name, binding.roleRef
    by = f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
    for subject in binding.subjects:
        reason = f'RBAC: allowed by {by} of {role.kind} "{role.name}" to {_described(subject, namespace)}'
        yield _key(subject, namespace), Binding(namespace, role, reason)


def _key(subject: Subject, namespace: str) -> str:
    if subject.kind == "ServiceAccount":
        return f"User system:serviceaccount:{subject.namespace or namespace}:{subject.name}"
    return f"{subject.kind} {subject.name}"


def _described(subject: Subject, namespace: str) -> str:
    if subject.kind == "ServiceAccount":
        return f'ServiceAccount "{subject.name}/{subject.namespace or namespace}"'
    return f'{subject.kind} "{subject.name}"'
