"""KubeSchedulerConfiguration: profiles, which plug-ins they have, and what those are told.

https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/ . Faults are told in upstream's words. Without
effect is what is harmless: `parallelism`, since all nodes are looked at at once, and limits of the client.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from api.paths import Fault, Path, duplicate, invalid, required
from machinery.flags import duration
from machinery.leases import Timing
from machinery.running import CannotGoOn
from scheduler import extender_documents
from scheduler.arguments import BY_PLUGIN
from scheduler.extender_documents import Extender
from scheduler.filters import FILTERS
from scheduler.plugins import Plugins, enabled
from scheduler.profiles import DEFAULT as PROFILE
from scheduler.profiles import Profile
from scheduler.queues import FIRST_BACKOFF, LONGEST_BACKOFF
from scheduler.scores import SCORES

API_VERSION: Literal["kubescheduler.config.k8s.io/v1"] = "kubescheduler.config.k8s.io/v1"
KIND: Literal["KubeSchedulerConfiguration"] = "KubeSchedulerConfiguration"
FIT, PREEMPTION, GATES, BINDING = "NodeResourcesFit", "DefaultPreemption", "SchedulingGates", "VolumeBinding"
CLAIMS, GANGS = "DynamicResources", "GangScheduling"
FILTERING, SCORING = dict(FILTERS), {name: score for name, _, score in SCORES}
# Upstream's default, "as many as are worth the time", is all of them here: the time does not depend on it.
ALL = 100


class PluginConfig(Struct, forbid_unknown_fields=True):
    name: str
    args: dict[str, Any] = {}


class ProfileDocument(Struct, forbid_unknown_fields=True):
    schedulerName: str = PROFILE.name
    percentageOfNodesToScore: int | None = None
    plugins: Plugins = field(default_factory=Plugins)
    pluginConfig: list[PluginConfig] = []


class Document(Struct, forbid_unknown_fields=True):
    apiVersion: Literal["kubescheduler.config.k8s.io/v1"]
    kind: Literal["KubeSchedulerConfiguration"]
    clientConnection: dict[str, Any] = {}
    leaderElection: dict[str, Any] = {}
    profiles: list[ProfileDocument] = []
    podInitialBackoffSeconds: int = int(FIRST_BACKOFF)
    podMaxBackoffSeconds: int = int(LONGEST_BACKOFF)
    percentageOfNodesToScore: int | None = None
    parallelism: int = 16
    extenders: list[Extender] = []


@dataclass(frozen=True, slots=True)
class Configuration:
    profiles: tuple[Profile, ...] = (PROFILE,)
    first_backoff: float = FIRST_BACKOFF
    longest_backoff: float = LONGEST_BACKOFF
    kubeconfig: File | None = None
    leader_elect: bool | None = None
    lease: str = ""
    timing: Timing | None = None
    extenders: tuple[Extender, ...] = ()
    document: Document | None = None

    def described(self) -> bytes:
        """What is in force, with what was not said, as upstream's /configz has it under the group's name."""
        document = self.document or Document(API_VERSION, KIND, profiles=[ProfileDocument()])
        return msgspec.json.encode({"kubescheduler.config.k8s.io": document})


DEFAULT = Configuration()


def load(path: File) -> Configuration:
    """Raises CannotGoOn."""
    try:
        return parse(path.read_bytes())
    except (OSError, msgspec.MsgspecError, ValueError) as e:
        raise CannotGoOn(f"the configuration {path} cannot be used: {e}") from e


def parse(text: bytes) -> Configuration:
    """Raises ValueError, and what decoding raises."""
    document = msgspec.yaml.decode(text, type=Document)
    if not document.profiles:
        document.profiles = [ProfileDocument()]
    faults = [*_faults(document)]
    if faults:
        raise ValueError(str(faults[0]) if len(faults) == 1 else f"[{', '.join(map(str, faults))}]")
    for profile in document.profiles:
        _leave_to_extenders(profile, document.extenders)
    profiles = tuple(_profile(p, document.percentageOfNodesToScore) for p in document.profiles)
    kubeconfig = document.clientConnection.get("kubeconfig")
    return Configuration(
        profiles, document.podInitialBackoffSeconds, document.podMaxBackoffSeconds,
        File(kubeconfig) if kubeconfig else None, document.leaderElection.get("leaderElect"),
        document.leaderElection.get("resourceName", ""),
        _timing(document.leaderElection), tuple(document.extenders), document,
    )  # fmt: skip


def _leave_to_extenders(profile: ProfileDocument, extenders: Sequence[Extender]) -> None:
    """Resources that only an extender looks at are ignored by NodeResourcesFit."""
    resources = [r.name for extender in extenders for r in extender.managedResources if r.ignoredByScheduler]
    if not resources:
        return
    config = next((c for c in profile.pluginConfig if c.name == FIT), None)
    if config is None:
        config = PluginConfig(FIT)
        profile.pluginConfig.append(config)
    config.args["ignoredResources"] = [*config.args.get("ignoredResources", ()), *resources]


def _timing(given: dict[str, Any]) -> Timing | None:
    names = {"leaseDuration": "duration", "renewDeadline": "renew_deadline", "retryPeriod": "retry"}
    said = {attribute: duration(given[name]) for name, attribute in names.items() if name in given}
    return replace(Timing(), **said) if said else None


def _faults(document: Document) -> Iterator[Fault]:
    root, profiles = Path(), Path("profiles")
    if document.parallelism <= 0:
        why = "should be an integer value greater than zero"
        yield invalid(root.child("parallelism"), document.parallelism, why)
    names: dict[str, int] = {}
    for at, profile in enumerate(document.profiles):
        here = profiles.index(at)
        if not profile.schedulerName:
            yield required(here.child("schedulerName"))
        yield from _percentage_faults(here, profile.percentageOfNodesToScore)
        yield from _argument_faults(here.child("pluginConfig"), profile.pluginConfig)
        if profile.schedulerName in names:
            first = profiles.index(names[profile.schedulerName])
            yield duplicate(here.child("schedulerName"), str(first.child("schedulerName")))
        names[profile.schedulerName] = at
        if profile.plugins.queueSort != document.profiles[0].plugins.queueSort:
            given = msgspec.to_builtins(profile.plugins.queueSort)
            yield invalid(here.child("plugins", "queueSort"), given, "must be the same for all profiles")
    yield from _percentage_faults(root, document.percentageOfNodesToScore)
    if document.podInitialBackoffSeconds <= 0:
        where = root.child("podInitialBackoffSeconds")
        yield invalid(where, document.podInitialBackoffSeconds, "must be greater than 0")
    if document.podMaxBackoffSeconds < document.podInitialBackoffSeconds:
        why = "must be greater than or equal to PodInitialBackoffSeconds"
        yield invalid(root.child("podMaxBackoffSeconds"), document.podMaxBackoffSeconds, why)
    yield from extender_documents.faults(document.extenders)


def _percentage_faults(path: Path, percentage: int | None) -> Iterator[Fault]:
    if percentage is not None and not 0 <= percentage <= 100:
        yield invalid(path.child("percentageOfNodesToScore"), percentage, "not in valid range [0-100]")


def _argument_faults(path: Path, given: list[PluginConfig]) -> Iterator[Fault]:
    seen: set[str] = set()
    for at, config in enumerate(given):
        if config.name in seen:
            yield duplicate(path.index(at), config.name)
        seen.add(config.name)
        if config.name in BY_PLUGIN:
            yield from BY_PLUGIN[config.name](config.args).faults(path.index(at).child("args"))


def _profile(document: ProfileDocument, percentage: int | None) -> Profile:
    chosen = enabled(document.plugins, document.schedulerName)
    filters, scores, reserves = chosen.at("filter"), chosen.at("score"), chosen.at("reserve")
    if document.percentageOfNodesToScore is not None:
        percentage = document.percentageOfNodesToScore
    profile = replace(
        PROFILE,
        name=document.schedulerName,
        filters=tuple((name, FILTERING[name]) for name in filters if name in FILTERING),
        scores=tuple((name, weight, SCORING[name]) for name, weight in scores.items()),
        preempts=PREEMPTION in chosen.at("postFilter"),
        claims=CLAIMS in chosen.at("postFilter"),
        gates=GATES in chosen.at("preEnqueue"),
        gangs=GANGS in chosen.at("preEnqueue"),
        binds_volumes=BINDING in reserves and BINDING in chosen.at("preBind"),
        binds_devices=CLAIMS in reserves and CLAIMS in chosen.at("preBind"),
        awaits_claims=CLAIMS in chosen.at("preEnqueue"),
        percent_of_nodes=percentage or ALL,
    )
    for config in document.pluginConfig:
        if config.name in BY_PLUGIN:
            profile = BY_PLUGIN[config.name](config.args).applied(profile)
    return profile
