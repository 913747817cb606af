"""The audit policy: the first rule that fits a request says how much is told of it.

https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Policy
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import msgspec
import yaml

from apiserver.requests import Request, User

KIND = ("audit.k8s.io/v1", "Policy")


class Level(IntEnum):
    NONE = 0
    METADATA = 1
    REQUEST = 2
    RESPONSE = 3


LEVELS = {
    "None": Level.NONE, "Metadata": Level.METADATA, "Request": Level.REQUEST, "RequestResponse": Level.RESPONSE,
}  # fmt: skip
NAMES = {level: name for name, level in LEVELS.items()}
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
SECRETIVE = frozenset({"/secrets", "/configmaps", "/serviceaccounts/token", "authentication.k8s.io/tokenreviews"})
"""GROUP/RESOURCE of what should not get into a log by a rule that does not name it."""


class GroupResources(msgspec.Struct, forbid_unknown_fields=True):
    group: str = ""
    resources: list[str] = []
    resourceNames: list[str] = []


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    level: str
    users: list[str] = []
    userGroups: list[str] = []
    verbs: list[str] = []
    resources: list[GroupResources] = []
    namespaces: list[str] = []
    nonResourceURLs: list[str] = []
    omitStages: list[str] = []
    omitManagedFields: bool | None = None


class Document(msgspec.Struct):
    apiVersion: str
    kind: str
    rules: list[Rule]
    omitStages: list[str] = []
    omitManagedFields: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    level: Level
    omitted: frozenset[str] = frozenset()
    """Stages."""
    omit_managed_fields: bool = False


SILENT = Verdict(Level.NONE)


class Policy:
    """Raises ValueError for a document that makes no sense."""

    def __init__(self, document: Document) -> None:
        if (document.apiVersion, document.kind) != KIND:
            raise ValueError(f"expected kind {KIND[1]} of {KIND[0]}, found {document.kind} of {document.apiVersion}")
        if not document.rules:
            raise ValueError("loaded illegal policy with 0 rules")
        for rule in document.rules:
            _check(rule)
        _check_stages(document.omitStages)
        self._rules = [(rule, self._verdict(document, rule)) for rule in document.rules]

    def _verdict(self, document: Document, rule: Rule) -> Verdict:
        omit = rule.omitManagedFields
        return Verdict(
            LEVELS[rule.level],
            frozenset(document.omitStages) | frozenset(rule.omitStages),
            document.omitManagedFields if omit is None else omit,
        )

    def judge(self, user: User, request: Request) -> Verdict:
        """Of a request by `user`, who may act as somebody else in it."""
        for rule, verdict in self._rules:
            if _fits(rule, user, request):
                if verdict.level > Level.METADATA and _is_secretive(rule, request):
                    return Verdict(Level.METADATA, verdict.omitted)
                return verdict
        return SILENT


def load(path: Path) -> Policy:
    """Raises ValueError in words about the file, OSError."""
    try:
        return Policy(msgspec.convert(yaml.load(path.read_bytes(), yaml.CSafeLoader), Document))
    except (yaml.YAMLError, ValueError) as e:
        raise ValueError(f"audit policy {path}: {e}") from e


def _check(rule: Rule) -> None:
    if rule.level not in LEVELS:
        raise ValueError(f"rules: level {rule.level!r} is none of {', '.join(LEVELS)}")
    if rule.nonResourceURLs and (rule.resources or rule.namespaces):
        raise ValueError("rules: rules cannot apply to both regular resources and non-resource URLs")
    for group in rule.resources:
        if group.resourceNames and not group.resources:
            raise ValueError("rules: using resourceNames requires at least one resource")
    for url in rule.nonResourceURLs:
        if url != "*" and (not url.startswith("/") or "*" in url[:-1]):
            raise ValueError(f"rules: {url!r} is no path, nor one with a * at its end")
    _check_stages(rule.omitStages)


def _check_stages(stages: Collection[str]) -> None:
    for stage in stages:
        if stage not in STAGES:
            raise ValueError(f"omitStages: there is no stage {stage!r}")


def _fits(rule: Rule, user: User, request: Request) -> bool:
    if rule.users and user.name not in rule.users:
        return False
    if rule.userGroups and not any(group in user.groups for group in rule.userGroups):
        return False
    if rule.verbs and request.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return not request.path and _fits_resource(rule, request)
    if rule.nonResourceURLs:
        return bool(request.path) and any(_fits_path(url, request.path) for url in rule.nonResourceURLs)
    return True


def _fits_path(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url[:-1]))


def _fits_resource(rule: Rule, request: Request) -> bool:
    if rule.namespaces and request.namespace not in rule.namespaces:
        return False
    if not rule.resources:
        return True
    plural, subresource = request.kind.plural, request.subresource
    names = {f"{plural}/{subresource}", f"*/{subresource}", f"{plural}/*"} if subresource else {plural, f"{plural}/*"}
    for group in rule.resources:
        if group.group != request.kind.group:
            continue
        if not group.resources:
            return True
        named = not group.resourceNames or request.name in group.resourceNames
        if named and any(resource == "*" or resource in names for resource in group.resources):
            return True
    return False


def _is_secretive(rule: Rule, request: Request) -> bool:
    if request.path:
        return False
    resource = f"{request.kind.plural}/{request.subresource}" if request.subresource else request.kind.plural
    if f"{request.kind.group}/{resource}" not in SECRETIVE:
        return False
    return not any(g.group == request.kind.group and resource in g.resources for g in rule.resources)
