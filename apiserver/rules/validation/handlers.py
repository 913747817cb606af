"""Probes and lifecycle hooks: ways to ask or tell a container something."""

from typing import Any

from api import names
from api.paths import Path, forbidden, invalid, not_supported, required
from api.types import HTTPGetAction, Lifecycle, Probe
from apiserver.rules.validation.values import Faults, formed, nonnegative, port

COUNTS = "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"
SCHEMES = {"HTTP", "HTTPS"}


def liveness(path: Path, it: Probe, grace: int | None) -> Faults:
    """A liveness or startup probe."""
    yield from _probe(path, it, grace)
    if it.successThreshold != 1:
        yield invalid(path.child("successThreshold"), it.successThreshold, "must be 1")


def readiness(path: Path, it: Probe, grace: int | None) -> Faults:
    yield from _probe(path, it, grace)
    if it.terminationGracePeriodSeconds is not None:
        at = path.child("terminationGracePeriodSeconds")
        yield invalid(at, it.terminationGracePeriodSeconds, "must not be set for readinessProbes")


def lifecycle(path: Path, it: Lifecycle, grace: int | None) -> Faults:
    if it.postStart is not None:
        yield from _handler(path.child("postStart"), it.postStart, grace)
    if it.preStop is not None:
        yield from _handler(path.child("preStop"), it.preStop, grace)


def _probe(path: Path, it: Probe, grace: int | None) -> Faults:
    yield from _handler(path, it, grace)
    for name in COUNTS:
        yield from nonnegative(path.child(name), getattr(it, name))
    seconds = it.terminationGracePeriodSeconds
    if seconds is not None and seconds <= 0:
        yield invalid(path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0")


def _handler(path: Path, it: Any, grace: int | None) -> Faults:
    found = False
    for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep"):
        action = getattr(it, name, None)
        if action is None:
            continue
        if found:
            yield forbidden(path.child(name), "may not specify more than 1 handler type")
            continue
        found = True
        match name:
            case "exec" if not action.command:
                yield required(path.child(name, "command"))
            case "httpGet":
                yield from _http_get(path.child(name), action)
            case "tcpSocket" | "grpc":
                yield from port(path.child(name, "port"), action.port)
            case "sleep" if grace is not None and not 0 <= (action.seconds or 0) <= grace:
                why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                yield invalid(path.child(name), action.seconds, why)
    if not found:
        yield required(path, "must specify a handler type")


def _http_get(path: Path, it: HTTPGetAction) -> Faults:
    if not it.path:
        yield required(path.child("path"))
    yield from port(path.child("port"), it.port)
    if it.scheme not in SCHEMES:
        yield not_supported(path.child("scheme"), it.scheme, SCHEMES)
    for header in it.httpHeaders:
        yield from formed(path.child("httpHeaders"), header.name, names.header_name_faults)
