"""Kubeconfig files: where the API server is and who one is.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
Components read the same form as `kubectl`, with the gRPC door's address as the cluster's server.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml


class Unusable(ValueError):
    """The file is missing something; the message says what."""


@dataclass(frozen=True, slots=True)
class Access:
    server: str
    """https://host:port"""
    ca: bytes
    certificate: bytes
    """PEM; empty if a token is used instead."""
    key: bytes
    token: str = ""
    token_file: Path | None = None
    """Read again for every call: whoever keeps it there renews it."""

    @property
    def target(self) -> str:
        """host:port, as gRPC wants it."""
        parts = urlsplit(self.server)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port or 443}"

    def __repr__(self) -> str:  # the key and the token must never reach a log
        return f"Access(server={self.server!r})"


def load(path: Path, pair: Path | None = None) -> Access:
    """The current context of a kubeconfig.  What stands in `pair`, a certificate and its key in one PEM file, counts
    instead of what the kubeconfig says of the user, from when that file is there.

    Raises Unusable, OSError.
    """
    cluster, user = _current(path)
    if pair is not None and pair.exists():
        user = {"client-certificate": str(pair.absolute()), "client-key": str(pair.absolute())}
    try:
        return Access(
            server=cluster["server"],
            ca=_blob(path, cluster, "certificate-authority"),
            certificate=_blob(path, user, "client-certificate"),
            key=_blob(path, user, "client-key"),
            token=user.get("token", ""),
            token_file=path.parent / user["tokenFile"] if user.get("tokenFile") else None,
        )
    except (KeyError, TypeError, ValueError) as e:
        raise Unusable(f"{path} is not a usable kubeconfig: {e!r}") from e


def files(path: Path) -> tuple[Path, ...]:
    """The kubeconfig and what it refers to; a token's file is read at every call anyway.  Raises Unusable, OSError."""
    cluster, user = _current(path)
    named = [(cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key")]
    return (path, *(path.parent / entry[name] for entry, name in named if entry.get(name)))


def _current(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cluster and the user of the current context.  Raises Unusable, OSError."""
    try:
        config = yaml.safe_load(path.read_text())
        contexts = {c["name"]: c["context"] for c in config["contexts"]}
        context = contexts[config["current-context"]]
        cluster = {c["name"]: c["cluster"] for c in config["clusters"]}[context["cluster"]]
        return cluster, {u["name"]: u["user"] for u in config["users"]}[context["user"]]
    except (KeyError, TypeError, yaml.YAMLError) as e:
        raise Unusable(f"{path} is not a usable kubeconfig: {e!r}") from e


def _blob(path: Path, entry: dict[str, Any], name: str) -> bytes:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data)
    return (path.parent / entry[name]).read_bytes() if entry.get(name) else b""


def dump(access: Access, cluster: str, user: str, pair: Path | None = None) -> str:
    """A kubeconfig with everything inlined, but for the user's certificate and key if they stand in a file, `pair`."""

    def data(blob: bytes) -> str:
        return base64.b64encode(blob).decode()

    name = f"{user}@{cluster}"
    shown = {"client-certificate-data": data(access.certificate), "client-key-data": data(access.key)}
    if pair is not None:
        shown = {"client-certificate": str(pair.absolute()), "client-key": str(pair.absolute())}
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": name,
        "clusters": [{"name": cluster, "cluster": {
            "server": access.server, "certificate-authority-data": data(access.ca)}}],
        "users": [{"name": user, "user": shown}],
        "contexts": [{"name": name, "context": {"cluster": cluster, "user": user}}],
    }, sort_keys=False)  # fmt: skip
