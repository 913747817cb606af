"""ConfigMaps, Secrets and ServiceAccounts."""

import base64
from collections.abc import Iterable, Mapping

import msgspec

from api import names
from api.paths import Path, forbidden, invalid, required, too_long
from api.types import ConfigMap, Secret
from apiserver import syntax
from apiserver.rules.validation.values import Faults, formed, immutable

LIMIT = 1024 * 1024
FROZEN = "field is immutable when `immutable` is set"
ACCOUNT = "kubernetes.io/service-account.name"
DOCKER = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
DATA = Path("data")


def config_map(it: ConfigMap) -> Faults:
    for key in it.data:
        yield from formed(DATA.key(key), key, names.config_key_faults)
        if key in it.binaryData:
            yield invalid(DATA.key(key), key, "duplicate of key present in binaryData")
    for key in it.binaryData:
        yield from formed(Path("binaryData").key(key), key, names.config_key_faults)
    size = sum(len(text.encode()) for text in it.data.values()) + _decoded(it.binaryData.values())
    if size > LIMIT:
        yield too_long(Path("[]"), LIMIT)  # so upstream prints the path of the whole


def config_map_updated(new: ConfigMap, old: ConfigMap) -> Faults:
    if old.immutable:
        yield from _frozen(new, old, "data", "binaryData")
    yield from config_map(new)


def secret(it: Secret) -> Faults:
    for key in it.data:
        yield from formed(DATA.key(key), key, names.config_key_faults)
    if _decoded(it.data.values()) > LIMIT:
        yield too_long(DATA, LIMIT)
    match it.type:
        case "kubernetes.io/service-account-token":
            if not it.metadata.annotations.get(ACCOUNT):
                yield required(Path("metadata").child("annotations").key(ACCOUNT))
        case "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson":
            yield from _docker(it.data, DOCKER[it.type])
        case "kubernetes.io/basic-auth":
            if "username" not in it.data and "password" not in it.data:
                yield required(DATA.key("username"))
                yield required(DATA.key("password"))
        case "kubernetes.io/ssh-auth":
            if not it.data.get("ssh-privatekey"):
                yield required(DATA.key("ssh-privatekey"))
        case "kubernetes.io/tls":
            for key in ("tls.crt", "tls.key"):
                if key not in it.data:
                    yield required(DATA.key(key))


def secret_updated(new: Secret, old: Secret) -> Faults:
    yield from immutable(Path("type"), new.type, old.type)
    if old.immutable:
        yield from _frozen(new, old, "data")
    yield from secret(new)


def _docker(data: Mapping[str, str], key: str) -> Faults:
    if key not in data:
        yield required(DATA.key(key))
        return
    document = base64.b64decode(data[key])
    try:
        held = msgspec.json.decode(document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        yield invalid(DATA.key(key), "<secret contents redacted>", syntax.fault_of(document))
        return
    if not isinstance(held, dict) and held is not None:
        why = f"json: cannot unmarshal {_KINDS[type(held)]} into Go value of type map[string]interface {{}}"
        yield invalid(DATA.key(key), "<secret contents redacted>", why)


_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}


def _frozen(new: ConfigMap | Secret, old: ConfigMap | Secret, *fields: str) -> Faults:
    if not new.immutable:
        yield forbidden(Path("immutable"), FROZEN)
    for field in fields:
        if getattr(new, field) != getattr(old, field):
            yield forbidden(Path(field), FROZEN)


def _decoded(values: Iterable[str]) -> int:
    """How many bytes these base64 texts stand for."""
    return sum(len(text) * 3 // 4 - text[-2:].count("=") for text in values)
