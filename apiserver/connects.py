"""What somebody asks for who connects to a pod, a service or a node: the options of the request as an object, which
admission looks at.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec


class PodExecOptions(msgspec.Struct, omit_defaults=True, kw_only=True):
    kind: str = msgspec.field(default_factory=lambda: "PodExecOptions")
    apiVersion: str = msgspec.field(default_factory=lambda: "v1")
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    container: str = ""
    command: list[str] = []


class PodAttachOptions(msgspec.Struct, omit_defaults=True, kw_only=True):
    kind: str = msgspec.field(default_factory=lambda: "PodAttachOptions")
    apiVersion: str = msgspec.field(default_factory=lambda: "v1")
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    container: str = ""


class PodPortForwardOptions(msgspec.Struct, omit_defaults=True, kw_only=True):
    kind: str = msgspec.field(default_factory=lambda: "PodPortForwardOptions")
    apiVersion: str = msgspec.field(default_factory=lambda: "v1")
    ports: list[int] = []


class ProxyOptions(msgspec.Struct, omit_defaults=True, kw_only=True):
    """PodProxyOptions, ServiceProxyOptions, NodeProxyOptions."""

    kind: str
    apiVersion: str = msgspec.field(default_factory=lambda: "v1")
    path: str = ""


def terminal(subresource: str, streams: Mapping[str, Any], container: str, command: Sequence[str]) -> Any:
    """Of exec and attach; `streams` says which of stdin, stdout, stderr and tty there are."""
    if subresource == "attach":
        return PodAttachOptions(container=container, **streams)
    return PodExecOptions(container=container, command=list(command), **streams)


def forwarding(query: str) -> PodPortForwardOptions:
    """Ports may be named in the query, and need not be."""
    named = [port for name, value in parse_qsl(query) if name == "ports" for port in value.split(",")]
    return PodPortForwardOptions(ports=[int(port) for port in named if port.isdigit()])


def proxying(kind: str, path: str) -> ProxyOptions:
    """`kind` is Pod, Service or Node; `path` is what comes after /proxy."""
    return ProxyOptions(kind=f"{kind}ProxyOptions", path=path)
