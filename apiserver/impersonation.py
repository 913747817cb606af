"""Acting as somebody else, for those who may.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from urllib.parse import unquote

from multidict import CIMultiDictProxy

from api import kinds
from api.errors import BadRequest
from api.kinds import Kind
from api.types import ServiceAccount
from apiserver.authentication import AUTHENTICATED, UNAUTHENTICATED
from apiserver.authorization import Authorizer
from apiserver.requests import ANONYMOUS, Request, User

ACCOUNTS = kinds.of(ServiceAccount)
USERS = Kind("", "v1", "User", "users", namespaced=False)
GROUPS = Kind("", "v1", "Group", "groups", namespaced=False)
UIDS = Kind("authentication.k8s.io", "v1", "UID", "uids", namespaced=False)
EXTRAS = Kind("authentication.k8s.io", "v1", "UserExtra", "userextras", namespaced=False)
EXTRA = "impersonate-extra-"
MARK = "impersonate-"


def effective(user: User, headers: CIMultiDictProxy[str], authorizer: Authorizer) -> User:
    """Whom the request counts as: `user`, or whom the headers name.  Raises Forbidden, BadRequest."""
    if not any(name[0] in "Ii" and name.lower().startswith(MARK) for name in headers):
        return user
    asked = [(name.lower(), value) for name, value in headers.items() if name.lower().startswith(MARK)]
    name = headers.get("Impersonate-User", "")
    groups = headers.getall("Impersonate-Group", [])
    uid = headers.get("Impersonate-Uid", "")
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in asked:
        if header.startswith(EXTRA):
            key = unquote(header.removeprefix(EXTRA)).lower()
            extra[key] = (*extra.get(key, ()), value)
    if not name:
        raise BadRequest("requested impersonation without impersonating a user")
    wanted = [_identity(name), *((GROUPS, "", g, "") for g in groups), *([(UIDS, "", uid, "")] if uid else [])]
    wanted += [(EXTRAS, "", value, key) for key, values in extra.items() for value in values]
    for kind, namespace, which, subresource in wanted:
        authorizer.authorize(Request(user, "impersonate", kind, namespace, which, subresource))
    if not groups and name != ANONYMOUS.name:
        groups = _groups_of(name)
    own = UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED
    said = own in groups or UNAUTHENTICATED in groups
    return User(name, uid, tuple(groups) if said else (*groups, own), extra)


def _identity(name: str) -> tuple[Kind, str, str, str]:
    """What it takes the right to impersonate: a service account is an object in a namespace, a user just a name."""
    parts = name.split(":")
    if len(parts) == 4 and name.startswith("system:serviceaccount:"):
        return ACCOUNTS, parts[2], parts[3], ""
    return USERS, "", name, ""


def _groups_of(name: str) -> list[str]:
    """A service account belongs to its groups even when nobody says so."""
    parts = name.split(":")
    if len(parts) == 4 and name.startswith("system:serviceaccount:"):
        return ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"]
    return []
