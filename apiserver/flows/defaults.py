"""The flow schemas and priority levels that every cluster has, upstream's mandatory and suggested ones."""

from collections.abc import Iterator, Sequence

from api.types import (
    ExemptPriorityLevelConfiguration,
    FlowcontrolV1Subject,
    FlowDistinguisherMethod,
    FlowSchema,
    FlowSchemaSpec,
    GroupSubject,
    LimitedPriorityLevelConfiguration,
    LimitResponse,
    NonResourcePolicyRule,
    ObjectMeta,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationReference,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
    ResourcePolicyRule,
    ServiceAccountSubject,
    UserSubject,
)  # fmt: skip

AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
MANDATORY = frozenset({"exempt", "catch-all"})
_LEVELS = (
    # name, shares, percent to lend, (queues, hand size, length) or None to reject
    ("catch-all", 5, 0, None),
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
)


def priority_levels() -> Iterator[PriorityLevelConfiguration]:
    exempt = ExemptPriorityLevelConfiguration(nominalConcurrencyShares=0, lendablePercent=0)
    yield _level("exempt", PriorityLevelConfigurationSpec(type="Exempt", exempt=exempt))
    for name, shares, lent, queues in _LEVELS:
        response = LimitResponse(type="Reject")
        if queues is not None:
            count, hand, length = queues
            queuing = QueuingConfiguration(queues=count, handSize=hand, queueLengthLimit=length)
            response = LimitResponse(type="Queue", queuing=queuing)
        limited = LimitedPriorityLevelConfiguration(
            nominalConcurrencyShares=shares, lendablePercent=lent, limitResponse=response
        )
        yield _level(name, PriorityLevelConfigurationSpec(type="Limited", limited=limited))


def _metadata(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, annotations={AUTOUPDATE: "true"})


def _level(name: str, spec: PriorityLevelConfigurationSpec) -> PriorityLevelConfiguration:
    return PriorityLevelConfiguration(metadata=_metadata(name), spec=spec)


def _groups(*names: str) -> list[FlowcontrolV1Subject]:
    return [FlowcontrolV1Subject(kind="Group", group=GroupSubject(name=name)) for name in names]


def _users(*names: str) -> list[FlowcontrolV1Subject]:
    return [FlowcontrolV1Subject(kind="User", user=UserSubject(name=name)) for name in names]


def _accounts(*names: str) -> list[FlowcontrolV1Subject]:
    return [
        FlowcontrolV1Subject(
            kind="ServiceAccount", serviceAccount=ServiceAccountSubject(name=name, namespace="kube-system")
        )
        for name in names
    ]


ALL = ["*"]
LEADING = ["get", "create", "update"]
EVERYBODY = _groups("system:unauthenticated", "system:authenticated")
MANAGER, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
USER, NAMESPACE = "ByUser", "ByNamespace"


def _rule(
    verbs: list[str], group: str, resources: list[str], namespaces: Sequence[str] = ("*",), *, cluster: bool = False
) -> ResourcePolicyRule:
    return ResourcePolicyRule(
        verbs=verbs, apiGroups=[group], resources=resources, namespaces=list(namespaces), clusterScope=cluster or None
    )


LEASES = _rule(LEADING, "coordination.k8s.io", ["leases"])


def _schema(
    name: str,
    level: str,
    precedence: int,
    method: str,
    subjects: list[FlowcontrolV1Subject],
    rules: Sequence[ResourcePolicyRule] | None = None,
    paths: list[NonResourcePolicyRule] | None = None,
) -> FlowSchema:
    """Without rules and paths: everything."""
    if rules is None and paths is None:
        rules = [_rule(ALL, "*", ALL, cluster=True)]
        paths = [NonResourcePolicyRule(verbs=ALL, nonResourceURLs=ALL)]
    whole = PolicyRulesWithSubjects(subjects=subjects, resourceRules=list(rules or ()), nonResourceRules=paths or [])
    return FlowSchema(
        metadata=_metadata(name),
        spec=FlowSchemaSpec(
            priorityLevelConfiguration=PriorityLevelConfigurationReference(name=level),
            matchingPrecedence=precedence,
            distinguisherMethod=FlowDistinguisherMethod(type=method) if method else None,
            rules=[whole],
        ),
    )


def flow_schemas() -> Iterator[FlowSchema]:
    yield _schema("exempt", "exempt", 1, "", _groups("system:masters"))
    yield _schema("catch-all", "catch-all", 10000, USER, EVERYBODY)
    probes = NonResourcePolicyRule(verbs=["get"], nonResourceURLs=["/healthz", "/readyz", "/livez"])
    yield _schema("probes", "exempt", 2, "", EVERYBODY, paths=[probes])
    leaders = [*_users(MANAGER, SCHEDULER), *_accounts("*")]
    yield _schema("system-leader-election", "leader-election", 100, USER, leaders, [LEASES])
    endpoints = [_rule(LEADING, "", ["endpoints"])]
    controllers = [*_users(MANAGER), *_accounts("endpoint-controller", "endpointslicemirroring-controller")]
    yield _schema("endpoint-controller", "workload-high", 150, USER, controllers, endpoints)
    yield _schema("workload-leader-election", "leader-election", 200, USER, _accounts("*"), [LEASES])
    nodes = [
        _rule(ALL, "", ["nodes", "nodes/status"], cluster=True),
        _rule(ALL, "coordination.k8s.io", ["leases"]),
    ]
    yield _schema("system-node-high", "node-high", 400, USER, _groups("system:nodes"), nodes)
    yield _schema("system-nodes", "system", 500, USER, _groups("system:nodes"))
    yield _schema("kube-controller-manager", "workload-high", 800, NAMESPACE, _users(MANAGER))
    yield _schema("kube-scheduler", "workload-high", 800, NAMESPACE, _users(SCHEDULER))
    yield _schema("kube-system-service-accounts", "workload-high", 900, NAMESPACE, _accounts("*"))
    yield _schema("service-accounts", "workload-low", 9000, USER, _groups("system:serviceaccounts"))
    yield _schema("global-default", "global-default", 9900, USER, EVERYBODY)
