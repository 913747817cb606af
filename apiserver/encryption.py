"""The file that says what is encrypted in etcd, and with which keys: EncryptionConfiguration.

https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/#apiserver-config-k8s-io-v1-EncryptionConfiguration
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from apiserver.storage.ciphers import Cbc, Ciphers, Gcm, Key, Keys, Plain

KIND = ("apiserver.config.k8s.io/v1", "EncryptionConfiguration")
SIZES = (16, 24, 32)
MAKERS: dict[str, Callable[[str, bytes], Key]] = {"aesgcm": Gcm, "aescbc": Cbc}
REFUSED = {
    "secretbox": "secretbox is not supported here (no XSalsa20 among the libraries in use); use aesgcm",
    "kms": "kms plug-ins are not supported here; use aesgcm",
}


class NamedKey(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    secret: str


class KeyList(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[NamedKey]


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    resources: list[str]
    providers: list[dict[str, Any]]


class Configuration(msgspec.Struct):
    apiVersion: str
    kind: str
    resources: list[Entry]


def load(path: Path) -> Ciphers:
    """Raises ValueError in words about the file, OSError."""
    try:
        found = msgspec.convert(yaml.load(path.read_bytes(), yaml.CSafeLoader), Configuration)
        if (found.apiVersion, found.kind) != KIND:
            raise ValueError(f"expected kind {KIND[1]} of {KIND[0]}, found {found.kind} of {found.apiVersion}")
        entries = [(_checked(entry.resources), Keys(list(_keys(entry)))) for entry in found.resources]
    except (yaml.YAMLError, ValueError) as e:
        raise ValueError(f"encryption configuration {path}: {e}") from e

    def choose(resource: str) -> Keys | None:
        return next((keys for names, keys in entries if not names.isdisjoint(_names(resource))), None)

    return Ciphers(choose)


def _checked(resources: list[str]) -> frozenset[str]:
    if not resources:
        raise ValueError("resources: at least one is required")
    for name in resources:
        plural, dot, group = name.partition(".")
        if (plural == "*" and not dot) or "*" in plural[1:] or ("*" in group and name != "*.*"):
            raise ValueError(f"resources: {name!r} is not PLURAL, PLURAL.GROUP, *.GROUP, *. or *.*")
    return frozenset(resources)


def _names(resource: str) -> set[str]:
    """What the file may call a resource: by its name, or by a wildcard."""
    group, slash, plural = resource.rpartition("/")
    return {f"{plural}.{group}" if slash else plural, f"*.{group}", "*.*"}


def _keys(entry: Entry) -> Iterator[Key]:
    if not entry.providers:
        raise ValueError("providers: at least one is required")
    for provider in entry.providers:
        if len(provider) != 1:
            raise ValueError("providers: each names exactly one kind of encryption")
        [(sort, options)] = provider.items()
        if sort == "identity":
            yield Plain()
        elif sort in REFUSED:
            raise ValueError(f"providers: {REFUSED[sort]}")
        elif sort not in MAKERS:
            raise ValueError(f"providers: there is no {sort!r}; known are {', '.join(MAKERS)} and identity")
        else:
            for key in msgspec.convert(options, KeyList).keys:
                yield MAKERS[sort](_name(key), _secret(key))


def _name(key: NamedKey) -> str:
    if not key.name or ":" in key.name:
        raise ValueError(f"keys: {key.name!r} is no name of a key")
    return key.name


def _secret(key: NamedKey) -> bytes:
    try:
        secret = base64.b64decode(key.secret, validate=True)
    except binascii.Error as e:
        raise ValueError(f"keys: the secret of {key.name!r} is not base64") from e
    if len(secret) not in SIZES:
        raise ValueError(f"keys: the secret of {key.name!r} has {len(secret)} bytes, it needs 16, 24 or 32")
    return secret
