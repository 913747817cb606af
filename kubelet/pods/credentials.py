"""Which logins a pod's secrets hold for an image.
https://kubernetes.io/docs/concepts/containers/images/#config-json
"""

import base64
import binascii
import fnmatch
from collections.abc import Iterable
from typing import Any

import msgspec

from api.types import Secret
from kubelet.runtime.interfaces import Login

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def logins(secrets: Iterable[Secret], image: str) -> list[Login]:
    """Those whose registry and path are the image's, the most exact first."""
    found = []
    for secret in secrets:
        for place, entry in _entries(secret).items():
            wanted = _place(place)
            if isinstance(entry, dict) and _matches(wanted, image):
                found.append((len(wanted), _login(entry)))
    found.sort(key=lambda pair: -pair[0])
    return list(dict.fromkeys(login for _, login in found))


def _entries(secret: Secret) -> dict[str, Any]:
    """What cannot be read holds no logins, as upstream has it."""
    try:
        if secret.type == "kubernetes.io/dockerconfigjson":
            document = msgspec.json.decode(base64.b64decode(secret.data[".dockerconfigjson"]))
            return dict(document.get("auths") or {})
        if secret.type == "kubernetes.io/dockercfg":
            return dict(msgspec.json.decode(base64.b64decode(secret.data[".dockercfg"])))
    except (KeyError, ValueError, AttributeError, TypeError, msgspec.DecodeError):
        return {}
    return {}


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


def full_name(image: str) -> str:
    """With its registry, which an image of docker.io may leave out."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"docker.io/{rest}" if first in HUB else image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _login(entry: dict[str, Any]) -> Login:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not user and (auth := entry.get("auth")):
        try:
            user, _, password = base64.b64decode(auth).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Login()
    return Login(user, password, str(entry.get("identitytoken") or ""))
