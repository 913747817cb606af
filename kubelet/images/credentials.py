"""Which logins a pod's secrets, and the node itself, hold for an image.
https://kubernetes.io/docs/concepts/containers/images/#config-json
"""

import base64
import fnmatch
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from api.types import Secret
from kubelet.images.names import HUB, full_name
from kubelet.runtime.interfaces import Login

# In the kubelet's root directory.  Upstream looks in its working directory and in its user's home too: here those are
# whoever's who started the process, and none of the cluster's business.
NODE_FILES = {"config.json": "kubernetes.io/dockerconfigjson", ".dockercfg": "kubernetes.io/dockercfg"}


@dataclass(frozen=True, slots=True)
class Holder:
    """The Secret that a login comes from."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A login and whose it is: None is the node's own, for every pod on it."""

    login: Login
    holder: Holder | None = None

    @property
    def digest(self) -> str:
        """Tells whether it is still the same login, and nothing of what it is."""
        parts = (self.login.user, self.login.password, self.login.token)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def keys(secrets: Iterable[Secret], root: Path, image: str) -> list[Key]:
    """The pod's logins for the image, then the node's; of each the most exact first, and none twice."""
    own = [
        (size, Key(login, Holder(s.metadata.uid, s.metadata.namespace, s.metadata.name)))
        for s in secrets
        for size, login in _matching(_entries(s.type, s.data), image)
    ]
    everybodys = [(size, Key(login)) for held in _of_node(root) for size, login in _matching(held, image)]
    first: dict[Login, Key] = {}
    for found in (own, everybodys):
        for _, key in sorted(found, key=lambda pair: -pair[0]):
            first.setdefault(key.login, key)
    return list(first.values())


def _of_node(root: Path) -> list[dict[str, Any]]:
    found = []
    for name, kind in NODE_FILES.items():
        try:
            data = base64.b64encode((root / name).read_bytes()).decode()
        except OSError:
            continue  # hardly any node has one
        found.append(_entries(kind, {f".{kind.rpartition('/')[2]}": data}))
    return found


def _matching(entries: Mapping[str, Any], image: str) -> list[tuple[int, Login]]:
    """(how exact, login) of those whose registry and path are the image's."""
    places = [(_place(place), entry) for place, entry in entries.items() if isinstance(entry, dict)]
    return [(len(place), _login(entry)) for place, entry in places if _matches(place, image)]


def _entries(kind: str, data: Mapping[str, str]) -> dict[str, Any]:
    """What cannot be read holds no logins, as upstream has it."""
    try:
        if kind == "kubernetes.io/dockerconfigjson":
            document = msgspec.json.decode(base64.b64decode(data[".dockerconfigjson"]))
            document = document.get("auths")
        elif kind == "kubernetes.io/dockercfg":
            document = msgspec.json.decode(base64.b64decode(data[".dockercfg"]))
        else:
            return {}
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _place(text: str) -> str:
    """https://index.docker.io/v1/ → index.docker.io"""
    place = text.partition("://")[2] or text
    place = place.removesuffix("/")
    for version in ("/v1", "/v2"):
        place = place.removesuffix(version)
    host, slash, path = place.partition("/")
    return f"{'docker.io' if host in HUB else host}{slash}{path}"


def _matches(place: str, image: str) -> bool:
    host, _, path = place.partition("/")
    theirs, _, rest = full_name(image).partition("/")
    wanted, actual = host.split("."), theirs.split(".")
    # A star stands for one part of the name, never for a port.
    parts = len(wanted) == len(actual) and all(map(fnmatch.fnmatchcase, actual, wanted))
    return parts and (not path or rest == path or rest.startswith((f"{path}/", f"{path}:", f"{path}@")))


def _login(entry: Mapping[str, Any]) -> Login:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not user and (auth := entry.get("auth")):
        try:
            user, _, password = base64.b64decode(auth).decode().partition(":")
        except (ValueError, TypeError):
            return Login()
    return Login(user, password, str(entry.get("identitytoken") or ""))
