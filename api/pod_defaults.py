"""What a pod is where its document says nothing: upstream's SetDefaults_* functions of pods and what is in them.

The API server fills these in for what it stores, and a kubelet for the manifests that it reads by itself.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from api.types import (
    Container,
    EmptyDirVolumeSource,
    EphemeralContainer,
    ObjectFieldSelector,
    PersistentVolumeClaimSpec,
    Pod,
    PodSecurityContext,
    PodSpec,
    Probe,
    ResourceRequirements,
    Volume,
)  # fmt: skip

MODE = 0o644


def pod(obj: Pod) -> None:
    """A pod itself, which has more defaults than the template of one."""
    it = obj.spec
    for each in (*it.containers, *it.initContainers):
        _requests(each.resources)
    if it.resources is not None:
        _requests(it.resources)
    if it.enableServiceLinks is None:
        it.enableServiceLinks = True
    if it.hostNetwork:
        _host_ports(it)
    spec(it)
    if (it.terminationGracePeriodSeconds or 0) < 0:
        it.terminationGracePeriodSeconds = 1
    if not obj.status.phase:
        obj.status.phase = "Pending"


def spec(it: PodSpec) -> None:
    """A pod's or a template's spec."""
    it.dnsPolicy = it.dnsPolicy or "ClusterFirst"
    it.restartPolicy = it.restartPolicy or "Always"
    it.schedulerName = it.schedulerName or "default-scheduler"
    if it.securityContext is None:
        it.securityContext = PodSecurityContext()
    if it.terminationGracePeriodSeconds is None:
        it.terminationGracePeriodSeconds = 30
    # The two names are one field; older clients know only the first.
    it.serviceAccountName = it.serviceAccount = it.serviceAccountName or it.serviceAccount
    for each in it.initContainers:
        _container(each)
    for each in it.containers:
        _container(each)
    for ephemeral in it.ephemeralContainers:
        _container(ephemeral)
    for each_volume in it.volumes:
        _volume(each_volume)


def _requests(resources: ResourceRequirements) -> None:
    """What is limited is requested, unless less is asked for."""
    for name, limit in resources.limits.items():
        resources.requests.setdefault(name, limit)


def _host_ports(it: PodSpec) -> None:
    for each in (*it.containers, *it.initContainers):
        for port in each.ports:
            if not port.hostPort:
                port.hostPort = port.containerPort


def _container(it: Container | EphemeralContainer) -> None:
    if not it.imagePullPolicy:
        it.imagePullPolicy = pull_policy(it.image)
    it.terminationMessagePath = it.terminationMessagePath or "/dev/termination-log"
    it.terminationMessagePolicy = it.terminationMessagePolicy or "File"
    for port in it.ports:
        port.protocol = port.protocol or "TCP"
    for probe in (it.livenessProbe, it.readinessProbe, it.startupProbe):
        if probe is not None:
            _probe(probe)
    for variable in it.env:
        if variable.valueFrom is not None and variable.valueFrom.fieldRef is not None:
            _field(variable.valueFrom.fieldRef)
    if it.lifecycle is not None:
        for handler in (it.lifecycle.postStart, it.lifecycle.preStop):
            if handler is not None and handler.httpGet is not None:
                handler.httpGet.path = handler.httpGet.path or "/"
                handler.httpGet.scheme = handler.httpGet.scheme or "HTTP"


def pull_policy(image: str) -> str:
    """Always for `latest`, which is meant where an image has neither tag nor digest."""
    name = (image or "").rpartition("/")[2]
    named, _, tag = name.partition(":")
    return "Always" if tag == "latest" or (not tag and "@" not in named) else "IfNotPresent"


def _probe(it: Probe) -> None:
    it.timeoutSeconds = it.timeoutSeconds or 1
    it.periodSeconds = it.periodSeconds or 10
    it.successThreshold = it.successThreshold or 1
    it.failureThreshold = it.failureThreshold or 3
    if it.httpGet is not None:
        it.httpGet.path = it.httpGet.path or "/"
        it.httpGet.scheme = it.httpGet.scheme or "HTTP"


def _field(it: ObjectFieldSelector) -> None:
    it.apiVersion = it.apiVersion or "v1"


def _volume(it: Volume) -> None:
    if not any(getattr(it, source) is not None for source in SOURCES):
        it.emptyDir = EmptyDirVolumeSource()
        return
    for source in (it.configMap, it.secret, it.downwardAPI, it.projected):
        if source is not None and source.defaultMode is None:
            source.defaultMode = MODE
    if it.downwardAPI is not None:
        for file in it.downwardAPI.items:
            if file.fieldRef is not None:
                _field(file.fieldRef)
    if it.projected is not None:
        for part in it.projected.sources:
            if part.serviceAccountToken is not None and not part.serviceAccountToken.expirationSeconds:
                part.serviceAccountToken.expirationSeconds = 3600
            if part.downwardAPI is not None:
                for file in part.downwardAPI.items:
                    if file.fieldRef is not None:
                        _field(file.fieldRef)
    if it.image is not None and not it.image.pullPolicy:
        it.image.pullPolicy = pull_policy(it.image.reference)
    if it.ephemeral is not None and it.ephemeral.volumeClaimTemplate is not None:
        claim_spec(it.ephemeral.volumeClaimTemplate.spec)


def claim_spec(it: PersistentVolumeClaimSpec) -> None:
    it.volumeMode = it.volumeMode or "Filesystem"


SOURCES = tuple(name for name in Volume.__struct_fields__ if name != "name")
