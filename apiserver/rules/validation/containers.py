"""Containers of a pod: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container"""

from dataclasses import dataclass

from api import names
from api.paths import Path, duplicate, forbidden, invalid, not_found, not_supported, required, too_many
from api.types import Container, ContainerPort, EphemeralContainer, PodSpec
from apiserver.rules.validation import environments, handlers, resources, security, volumes
from apiserver.rules.validation.values import PROTOCOLS, Faults, formed, one_of, port_number

MESSAGE_POLICIES = {"File", "FallbackToLogsOnError"}
PROBES = "livenessProbe", "readinessProbe", "startupProbe"
RULE_ACTIONS = ("Restart", "RestartAllContainers")
MOST_RULES, MOST_CODES = 20, 255
NOT_IN_INIT = "may not be set for init containers without restartPolicy=Always"
NOT_IN_EPHEMERAL = "cannot be set for an Ephemeral Container"
EPHEMERAL_EXCLUDES = "ports", "resources", "lifecycle", *PROBES, "resizePolicy", "restartPolicy", "restartPolicyRules"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What containers refer to in their pod."""

    spec: PodSpec
    volumes: volumes.Volumes
    claims: set[str]

    @property
    def grace(self) -> int | None:
        return self.spec.terminationGracePeriodSeconds


def regular(path: Path, around: Surroundings) -> Faults:
    containers = around.spec.containers
    if not containers:
        yield required(path)
        return
    seen: set[str] = set()
    for i, it in enumerate(containers):
        at = path.index(i)
        yield from _common(at, it, around)
        if it.name in seen:
            yield duplicate(at.child("name"), it.name)
        seen.add(it.name)
        yield from _hooks(at, it, around)
        yield from _restarts(at, it)
    yield from _host_ports(path, containers)


def initial(path: Path, around: Surroundings) -> Faults:
    spec = around.spec
    seen = {c.name for c in spec.containers}
    for i, it in enumerate(spec.initContainers):
        at = path.index(i)
        yield from _common(at, it, around)
        yield from _restarts(at, it)
        if it.name in seen:
            yield duplicate(at.child("name"), it.name)
        elif it.name:
            seen.add(it.name)
        # They run one after the other, so that only ports of one container can collide.
        yield from _host_ports(path, [it])
        if it.restartPolicy == "Always":
            yield from _hooks(at, it, around)
            continue
        for name in ("lifecycle", *PROBES):
            if getattr(it, name) is not None:
                yield forbidden(at.child(name), NOT_IN_INIT)


def ephemeral(path: Path, around: Surroundings) -> Faults:
    spec = around.spec
    others = {c.name for c in (*spec.containers, *spec.initContainers)}
    seen = set(others)
    for i, it in enumerate(spec.ephemeralContainers):
        at = path.index(i)
        yield from _common(at, it, around)
        yield from trimmed_image(at, it.image)
        if it.name in seen:
            yield duplicate(at.child("name"), it.name)
        seen.add(it.name)
        if it.targetContainerName and it.targetContainerName not in others:
            yield not_found(at.child("targetContainerName"), it.targetContainerName)
        for name in EPHEMERAL_EXCLUDES:
            value = getattr(it, name, None)
            if value and not (name == "resources" and not (value.limits or value.requests or value.claims)):
                yield forbidden(at.child(name), NOT_IN_EPHEMERAL)
        for j, mount in enumerate(it.volumeMounts):
            for name in ("subPath", "subPathExpr"):
                if getattr(mount, name):
                    yield forbidden(at.child("volumeMounts").index(j).child(name), NOT_IN_EPHEMERAL)


def trimmed_image(path: Path, image: str | None) -> Faults:
    if image and image != image.strip():
        yield invalid(path.child("image"), image, "must not have leading or trailing whitespace")


def _common(path: Path, it: Container | EphemeralContainer, around: Surroundings) -> Faults:
    if not it.name:
        yield required(path.child("name"))
    else:
        yield from formed(path.child("name"), it.name, names.dns_label_faults)
    if not it.image:
        yield required(path.child("image"))
    if it.terminationMessagePolicy not in MESSAGE_POLICIES:
        yield from one_of(path.child("terminationMessagePolicy"), it.terminationMessagePolicy, MESSAGE_POLICIES)
    if it.ports:
        yield from _ports(path.child("ports"), it.ports)
    if it.env:
        yield from environments.variables(path.child("env"), it.env, around.volumes)
    if it.envFrom:
        yield from environments.sources(path.child("envFrom"), it.envFrom)
    if it.volumeMounts:
        yield from volumes.mounts(path.child("volumeMounts"), it, around.volumes)
    if it.volumeDevices:
        yield from volumes.devices(path.child("volumeDevices"), it, around.volumes)
    if it.imagePullPolicy not in volumes.PULL_POLICIES:
        yield from one_of(path.child("imagePullPolicy"), it.imagePullPolicy, volumes.PULL_POLICIES)
    if it.resources is not None:
        yield from resources.requirements(path.child("resources"), it.resources, around.claims)
    if it.resizePolicy:
        yield from _resize(path.child("resizePolicy"), it, around.spec.restartPolicy)
    if it.securityContext is not None:
        host_users = around.spec.hostUsers is not False
        yield from security.of_container(path.child("securityContext"), it.securityContext, host_users=host_users)


def _hooks(path: Path, it: Container, around: Surroundings) -> Faults:
    if it.lifecycle is not None:
        yield from handlers.lifecycle(path.child("lifecycle"), it.lifecycle, around.grace)
    if it.livenessProbe is not None:
        yield from handlers.liveness(path.child("livenessProbe"), it.livenessProbe, around.grace)
    if it.readinessProbe is not None:
        yield from handlers.readiness(path.child("readinessProbe"), it.readinessProbe, around.grace)
    if it.startupProbe is not None:
        yield from handlers.liveness(path.child("startupProbe"), it.startupProbe, around.grace)


def _restarts(path: Path, it: Container) -> Faults:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules"""
    if it.restartPolicy:
        yield from one_of(path.child("restartPolicy"), it.restartPolicy, ("Always", "OnFailure", "Never"))
    elif it.restartPolicyRules:
        yield required(path.child("restartPolicy"), "must specify restartPolicy when restartPolicyRules are used")
    at = path.child("restartPolicyRules")
    if len(it.restartPolicyRules) > MOST_RULES:
        yield too_many(at, len(it.restartPolicyRules), MOST_RULES)
    for i, rule in enumerate(it.restartPolicyRules):
        if rule.action not in RULE_ACTIONS:
            yield not_supported(at.index(i).child("action"), rule.action or "", RULE_ACTIONS)
        codes = at.index(i).child("exitCodes")
        if rule.exitCodes is None:
            yield required(codes, "must be specified")
            continue
        if rule.exitCodes.operator not in ("In", "NotIn"):
            yield not_supported(codes.child("operator"), rule.exitCodes.operator or "", ("In", "NotIn"))
        if len(rule.exitCodes.values) > MOST_CODES:
            yield too_many(codes.child("values"), len(rule.exitCodes.values), MOST_CODES)


def _ports(path: Path, ports: list[ContainerPort]) -> Faults:
    seen: set[str] = set()
    for i, it in enumerate(ports):
        at = path.index(i)
        if it.name:
            faults = names.port_name_faults(it.name)
            for why in faults:
                yield invalid(at.child("name"), it.name, why)
            if not faults and it.name in seen:
                yield duplicate(at.child("name"), it.name)
            seen.add(it.name)
        if not it.containerPort:
            yield required(at.child("containerPort"))
        else:
            yield from port_number(at.child("containerPort"), it.containerPort)
        if it.hostPort:
            yield from port_number(at.child("hostPort"), it.hostPort)
        yield from one_of(at.child("protocol"), it.protocol, PROTOCOLS)


def _host_ports(path: Path, containers: list[Container]) -> Faults:
    seen: set[str] = set()
    for i, container in enumerate(containers):
        for j, port in enumerate(container.ports):
            if not port.hostPort:
                continue
            shown = f"{port.protocol}/{port.hostIP}/{port.hostPort}"
            if shown in seen:
                yield duplicate(path.index(i).child("ports").index(j).child("hostPort"), shown)
            seen.add(shown)


def _resize(path: Path, it: Container | EphemeralContainer, restart_policy: str) -> Faults:
    seen: set[str] = set()
    for i, policy in enumerate(it.resizePolicy):
        if policy.resourceName in seen:
            yield duplicate(path.index(i), policy.resourceName)
        seen.add(policy.resourceName)
        yield from one_of(path, policy.resourceName, ("cpu", "memory"))
        yield from one_of(path, policy.restartPolicy, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and policy.restartPolicy != "NotRequired":
            why = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            yield invalid(path, policy.restartPolicy or "", why)
