"""Controllers of pods: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from api import pod_defaults
from api.types import (
    CronJob,
    DaemonSet,
    Deployment,
    HorizontalPodAutoscaler,
    Job,
    JobSpec,
    MetricSpec,
    MetricTarget,
    PodTemplateSpec,
    ReplicaSet,
    ReplicationController,
    ResourceMetricSource,
    RollingUpdateDaemonSet,
    RollingUpdateDeployment,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
)  # fmt: skip
from apiserver.rules.defaulting import storages

NEVER_GIVE_UP = 2**31 - 1


def _template(template: PodTemplateSpec | None) -> None:
    if template is not None:
        pod_defaults.spec(template.spec)


def replication_controller(obj: ReplicationController) -> None:
    labels = obj.spec.template.metadata.labels if obj.spec.template is not None else {}
    # An RC without a selector, or without labels, takes its template's.
    if labels and not obj.spec.selector:
        obj.spec.selector = dict(labels)
    if labels and not obj.metadata.labels:
        obj.metadata.labels = dict(labels)
    if obj.spec.replicas is None:
        obj.spec.replicas = 1
    _template(obj.spec.template)


def replica_set(obj: ReplicaSet) -> None:
    if obj.spec.replicas is None:
        obj.spec.replicas = 1
    _template(obj.spec.template)


def deployment(obj: Deployment) -> None:
    spec = obj.spec
    if spec.replicas is None:
        spec.replicas = 1
    spec.strategy.type = spec.strategy.type or "RollingUpdate"
    if spec.strategy.type == "RollingUpdate":
        rolling = spec.strategy.rollingUpdate = spec.strategy.rollingUpdate or RollingUpdateDeployment()
        if rolling.maxUnavailable is None:
            rolling.maxUnavailable = "25%"
        if rolling.maxSurge is None:
            rolling.maxSurge = "25%"
    if spec.revisionHistoryLimit is None:
        spec.revisionHistoryLimit = 10
    if spec.progressDeadlineSeconds is None:
        spec.progressDeadlineSeconds = 600
    _template(spec.template)


def daemon_set(obj: DaemonSet) -> None:
    spec = obj.spec
    spec.updateStrategy.type = spec.updateStrategy.type or "RollingUpdate"
    if spec.updateStrategy.type == "RollingUpdate":
        rolling = spec.updateStrategy.rollingUpdate = spec.updateStrategy.rollingUpdate or RollingUpdateDaemonSet()
        if rolling.maxUnavailable is None:
            rolling.maxUnavailable = 1
        if rolling.maxSurge is None:
            rolling.maxSurge = 0
    if spec.revisionHistoryLimit is None:
        spec.revisionHistoryLimit = 10
    _template(spec.template)


def stateful_set(obj: StatefulSet) -> None:
    spec = obj.spec
    spec.podManagementPolicy = spec.podManagementPolicy or "OrderedReady"
    strategy = spec.updateStrategy
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rollingUpdate = strategy.rollingUpdate or RollingUpdateStatefulSetStrategy()
        if rolling.partition is None:
            rolling.partition = 0
        if rolling.maxUnavailable is None:
            rolling.maxUnavailable = 1
    kept = spec.persistentVolumeClaimRetentionPolicy or StatefulSetPersistentVolumeClaimRetentionPolicy()
    kept.whenDeleted = kept.whenDeleted or "Retain"
    kept.whenScaled = kept.whenScaled or "Retain"
    spec.persistentVolumeClaimRetentionPolicy = kept
    if spec.replicas is None:
        spec.replicas = 1
    if spec.revisionHistoryLimit is None:
        spec.revisionHistoryLimit = 10
    for claim in spec.volumeClaimTemplates:
        storages.claim(claim)
    _template(spec.template)


def job(obj: Job) -> None:
    labels = obj.spec.template.metadata.labels
    if labels and not obj.metadata.labels:
        obj.metadata.labels = dict(labels)
    _job_spec(obj.spec)


def _job_spec(spec: JobSpec) -> None:
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoffLimit is None:
        spec.backoffLimit = 6 if spec.backoffLimitPerIndex is None else NEVER_GIVE_UP
    spec.completionMode = spec.completionMode or "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    if not spec.podReplacementPolicy:
        spec.podReplacementPolicy = "TerminatingOrFailed" if spec.podFailurePolicy is None else "Failed"
    if spec.manualSelector is None:
        spec.manualSelector = False
    if spec.podFailurePolicy is not None:
        for rule in spec.podFailurePolicy.rules:
            for pattern in rule.onPodConditions:
                pattern.status = pattern.status or "True"
    _template(spec.template)


def cron_job(obj: CronJob) -> None:
    spec = obj.spec
    spec.concurrencyPolicy = spec.concurrencyPolicy or "Allow"
    if spec.suspend is None:
        spec.suspend = False
    if spec.successfulJobsHistoryLimit is None:
        spec.successfulJobsHistoryLimit = 3
    if spec.failedJobsHistoryLimit is None:
        spec.failedJobsHistoryLimit = 1
    if spec.jobTemplate is not None:
        pod_defaults.spec(spec.jobTemplate.spec.template.spec)


def autoscaler(obj: HorizontalPodAutoscaler) -> None:
    if obj.spec.minReplicas is None:
        obj.spec.minReplicas = 1
    if obj.apiVersion == "autoscaling/v2" and not obj.spec.metrics:
        goal = MetricTarget(type="Utilization", averageUtilization=80)
        obj.spec.metrics = [MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=goal))]
