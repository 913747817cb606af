"""What roles and bindings allow, and what nobody may grant."""

from typing import Any

import pytest

from api import kinds
from api.errors import Forbidden, NotFound
from api.kinds import Kind
from api.types import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    DeviceClass,
    ObjectMeta,
    Pod,
    PolicyRule,
    ResourceClaimTemplate,
    ResourceSlice,
    ResourceV1ResourceClaim,
    Role,
    RoleBinding,
    RoleRef,
    Secret,
    Subject,
)
from apiserver.authorization import First, Masters, defaults
from apiserver.authorization.escalation import Escalation
from apiserver.authorization.rbac import GROUP, Rbac
from apiserver.authorization.rights import missing
from apiserver.requests import ANONYMOUS, Request, User
from tests.unit.apiserver.admission.worlds import Memory

BOB = User("bob", groups=("devs", "system:authenticated"))
PODS, SECRETS = kinds.of(Pod), kinds.of(Secret)
PAGE = Kind("", "", "Page", "", namespaced=False)


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> PolicyRule:
    return PolicyRule(verbs=verbs.split(), apiGroups=[group], resources=resources.split(), resourceNames=names.split())


def role(name: str, *rules: PolicyRule, namespace: str = "ns") -> Role:
    return Role(metadata=ObjectMeta(name=name, namespace=namespace), rules=list(rules))


def cluster_role(name: str, *rules: PolicyRule) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name), rules=list(rules))


def bound(ref: str, subject: str, namespace: str = "ns") -> Any:
    """`Role/NAME` or `ClusterRole/NAME` to `User NAME`; cluster-wide if `namespace` is ""."""
    kind, _, name = ref.partition("/")
    sort, _, who = subject.partition(" ")
    within, _, who = who.rpartition("/")
    type_ = RoleBinding if namespace else ClusterRoleBinding
    return type_(
        metadata=ObjectMeta(name=f"{name}-{who}", namespace=namespace),
        roleRef=RoleRef(apiGroup=GROUP, kind=kind, name=name),
        subjects=[Subject(kind=sort, name=who, namespace=within)],
    )


def authorizer(*objects: Any) -> Rbac:
    world = Memory(*objects)
    return Rbac(world, lambda: len(world.objects))


def may(rbac: Rbac, what: str, user: User = BOB, name: str = "") -> bool:
    """`VERB RESOURCE[/SUBRESOURCE] [NAMESPACE]`"""
    verb, resource, *place = what.split()
    plural, _, subresource = resource.partition("/")
    kind = Kind("", "v1", plural, plural, namespaced=bool(place))
    return rbac.decide(Request(user, verb, kind, "".join(place), name, subresource)).allowed


def test_a_role_holds_in_its_namespace_and_a_cluster_role_where_it_is_bound() -> None:
    reader = cluster_role("reader", rule("get list", "pods"))
    rbac = authorizer(role("r", rule("get", "secrets")), bound("Role/r", "User bob"), reader, bound("ClusterRole/reader", "Group devs", "other"))  # fmt: skip
    assert may(rbac, "get secrets ns")
    assert not may(rbac, "list secrets ns")
    assert not may(rbac, "get secrets other")
    assert may(rbac, "list pods other")
    assert not may(rbac, "list pods ns")
    assert not may(rbac, "list pods")
    everywhere = authorizer(reader, bound("ClusterRole/reader", "Group devs", ""))
    assert may(everywhere, "list pods")
    assert may(everywhere, "list pods ns")
    assert not may(everywhere, "list pods", ANONYMOUS)


def test_subresources_names_and_wildcards() -> None:
    rules = [
        rule("get", "pods/log */scale"), rule("update", "configmaps", names="a b"), rule("*", "services"),
        rule("create", "things", "*"),
    ]  # fmt: skip
    rbac = authorizer(role("r", *rules), bound("Role/r", "User bob"))
    assert may(rbac, "get pods/log ns")
    assert not may(rbac, "get pods ns")
    assert may(rbac, "get whatever/scale ns")
    assert may(rbac, "update configmaps ns", name="a")
    assert not may(rbac, "update configmaps ns", name="c")
    assert not may(rbac, "update configmaps ns")
    assert may(rbac, "anything services ns")
    assert not may(rbac, "get services/proxy ns")
    assert may(rbac, "create things ns")


def test_paths_are_allowed_by_cluster_role_bindings_and_by_prefix() -> None:
    urls = PolicyRule(verbs=["get"], nonResourceURLs=["/healthz", "/logs/*"])
    rbac = authorizer(cluster_role("c", urls), bound("ClusterRole/c", "User bob", ""))

    def open_to(user: User, path: str, verb: str = "get") -> bool:
        return rbac.decide(Request(user, verb, PAGE, path=path)).allowed

    assert open_to(BOB, "/healthz")
    assert open_to(BOB, "/logs/a/b")
    assert not open_to(BOB, "/healthz/x")
    assert not open_to(BOB, "/healthz", "post")
    assert not open_to(ANONYMOUS, "/healthz")


def test_a_service_account_is_bound_by_its_own_name() -> None:
    rbac = authorizer(role("r", rule("get", "pods")), bound("Role/r", "ServiceAccount x/robot"))
    assert may(rbac, "get pods ns", User("system:serviceaccount:x:robot"))
    assert not may(rbac, "get pods ns", User("system:serviceaccount:ns:robot"))


def test_a_change_counts_at_once() -> None:
    world = Memory(role("r", rule("get", "pods")))
    rbac = Rbac(world, lambda: len(world.objects))
    assert not may(rbac, "get pods ns")
    world.objects.append(bound("Role/r", "User bob"))
    assert may(rbac, "get pods ns")
    world.objects.pop()
    assert not may(rbac, "get pods ns")


def test_reasons_are_upstreams() -> None:
    rbac = authorizer(
        role("r", rule("get", "pods")), bound("Role/r", "User bob"), bound("ClusterRole/gone", "User bob")
    )
    allowed = rbac.decide(Request(BOB, "get", PODS, "ns", "a"))
    assert allowed.reason == 'RBAC: allowed by RoleBinding "r-bob/ns" of Role "r" to User "bob"'
    with pytest.raises(Forbidden) as refused:
        rbac.authorize(Request(BOB, "list", SECRETS, "ns"))
    assert refused.value.message == (
        'secrets is forbidden: User "bob" cannot list resource "secrets" in API group "" in the namespace "ns": '
        'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    )
    with pytest.raises(Forbidden) as refused:
        rbac.authorize(Request(BOB, "get", PAGE, path="/metrics"))
    assert refused.value.message == 'forbidden: User "bob" cannot get path "/metrics"'
    assert refused.value.to_status()["details"] == {}


# --- the default roles


DEFAULTS = [
    *defaults.cluster_roles(), *defaults.cluster_role_bindings(), *defaults.roles(), *defaults.role_bindings(),
]  # fmt: skip


@pytest.mark.parametrize(
    ("user", "what", "allowed"),
    [
        ("system:kube-scheduler", "create pods/binding ns", True),
        ("system:kube-scheduler", "list nodes", True),
        ("system:kube-scheduler", "get secrets ns", False),
        ("system:kube-scheduler", "create pods ns", False),
        ("system:kube-controller-manager", "delete secrets ns", True),
        ("system:kube-proxy", "watch services", True),
        ("system:kube-proxy", "list secrets", False),
        ("system:kube-dns", "create services kube-system", True),
        ("system:kube-dns", "create services ns", False),
        ("jane", "get pods ns", False),
    ],
)
def test_components_have_what_they_need_and_others_nothing(user: str, what: str, allowed: bool) -> None:
    assert may(authorizer(*DEFAULTS), what, User(user, groups=("system:authenticated",))) is allowed


SCHEDULER = User("system:kube-scheduler")
CONTROLLER = User("system:serviceaccount:kube-system:resource-claim-controller")
TAINTS = User("system:serviceaccount:kube-system:device-taint-eviction-controller")


@pytest.mark.parametrize(
    ("user", "what", "more", "allowed"),
    [
        (SCHEDULER, ResourceV1ResourceClaim, "list watch update patch", True),
        (SCHEDULER, ResourceV1ResourceClaim, "update/status update/binding patch/binding", True),
        (SCHEDULER, ResourceSlice, "get list watch", True),
        (SCHEDULER, DeviceClass, "get list watch", True),
        (SCHEDULER, ResourceSlice, "create update delete", False),
        (SCHEDULER, ResourceV1ResourceClaim, "delete arbitrary-node:update/driver associated-node:update/driver", False),
        (CONTROLLER, ResourceV1ResourceClaim, "list watch create delete update", True),
        (CONTROLLER, ResourceV1ResourceClaim, "update/status update/binding", True),
        (CONTROLLER, ResourceV1ResourceClaim, "arbitrary-node:update/driver", False),
        (CONTROLLER, ResourceClaimTemplate, "list watch", True),
        (CONTROLLER, Pod, "list watch patch/status", True),
        (CONTROLLER, Pod, "create delete", False),
        (TAINTS, ResourceV1ResourceClaim, "list watch", True),
        (TAINTS, ResourceSlice, "list watch", True),
        (TAINTS, Pod, "list watch delete patch/status", True),
        (TAINTS, ResourceV1ResourceClaim, "update update/status", False),
    ],
)  # fmt: skip
def test_who_handles_claims_for_devices_may_do_so(user: User, what: type[Any], more: str, allowed: bool) -> None:
    rbac, kind = authorizer(*DEFAULTS), kinds.of(what)
    for each in more.split():
        verb, _, subresource = each.partition("/")
        namespace = "ns" if kind.namespaced else ""
        assert rbac.decide(Request(user, verb, kind, namespace, "x", subresource)).allowed is allowed, each


@pytest.mark.parametrize(
    ("role", "verbs"),
    [("edit", {"create", "delete", "deletecollection", "patch", "update"}), ("view", set(defaults.READ))],
)
@pytest.mark.parametrize("resource", ["resourceclaims", "resourceclaimtemplates"])
def test_people_of_a_namespace_have_claims_for_devices(role: str, verbs: set[str], resource: str) -> None:
    found = next(r for r in defaults.cluster_roles() if r.metadata.name == f"system:aggregate-to-{role}")
    [rule] = [r for r in found.rules if r.apiGroups == ["resource.k8s.io"] and resource in r.resources]
    assert set(rule.verbs) == verbs


def test_who_says_nothing_may_look_at_health_and_version_only() -> None:
    rbac = authorizer(*DEFAULTS)
    open_ = [
        path
        for path in ("/healthz", "/livez", "/readyz", "/version", "/", "/api", "/apis", "/openapi/v2", "/metrics")
        if rbac.decide(Request(ANONYMOUS, "get", PAGE, path=path)).allowed
    ]
    assert open_ == ["/healthz", "/livez", "/readyz", "/version"]
    assert not any(
        rbac.decide(Request(ANONYMOUS, verb, kind, "ns", "x")).allowed for kind in kinds.BUILT_IN for verb in kind.verbs
    )


def test_default_roles_are_named_once_and_bindings_name_roles() -> None:
    names = [r.metadata.name for r in defaults.cluster_roles()]
    assert len(names) == len(set(names))
    assert {b.roleRef.name for b in defaults.cluster_role_bindings()} <= set(names)
    view = next(r for r in defaults.cluster_roles() if r.metadata.name == "system:aggregate-to-view")
    assert not any("secrets" in r.resources for r in view.rules)


# --- escalation


ESCALATING = [
    cluster_role("editor", rule("get list", "pods"), rule("create update", "roles rolebindings", GROUP)),
    bound("ClusterRole/editor", "User bob", ""),
    cluster_role("secrets", rule("get", "secrets")),
]


def guard(*objects: Any) -> Escalation:
    rbac = authorizer(*ESCALATING, *objects)
    return Escalation(First([Masters(), rbac]), rbac)


async def granted(obj: Any, *objects: Any, user: User = BOB) -> None:
    kind = kinds.of(type(obj))
    await guard(*objects).admit(Request(user, "create", kind, obj.metadata.namespace, obj.metadata.name), obj, None)


async def test_one_can_grant_what_one_has_and_nothing_else() -> None:
    await granted(role("r", rule("get", "pods")))
    with pytest.raises(Forbidden) as refused:
        await granted(role("r", rule("get delete", "pods secrets")))
    assert refused.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "bob" (groups=["devs" "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}'
    )
    await granted(role("r", rule("*", "*", "*")), user=User("root", groups=("system:masters",)))


async def test_a_binding_grants_what_its_role_does() -> None:
    await granted(bound("ClusterRole/editor", "User eve"))
    with pytest.raises(Forbidden, match="not currently held"):
        await granted(bound("ClusterRole/secrets", "User eve"))
    with pytest.raises(NotFound, match=r'clusterrole.rbac.authorization.k8s.io "gone" not found'):
        await granted(bound("ClusterRole/gone", "User eve"))
    binder = cluster_role("binder", rule("bind", "clusterroles", GROUP, "secrets"))
    await granted(bound("ClusterRole/secrets", "User eve"), binder, bound("ClusterRole/binder", "User bob", ""))


async def test_the_verb_escalate_allows_it() -> None:
    escalator = [cluster_role("e", rule("escalate", "roles", GROUP)), bound("ClusterRole/e", "User bob", "")]
    await granted(role("r", rule("get", "secrets")), *escalator)


async def test_an_aggregation_rule_is_for_cluster_administrators() -> None:
    wanted = ClusterRole(metadata=ObjectMeta(name="sum"), aggregationRule=AggregationRule())
    with pytest.raises(Forbidden, match="must have cluster-admin privileges to use the aggregationRule"):
        await granted(wanted)


async def test_an_update_that_grants_nothing_new_is_free() -> None:
    before, after = role("r", rule("get", "secrets")), role("r", rule("get", "secrets"))
    after.metadata.labels = {"a": "b"}
    await guard().admit(Request(BOB, "update", kinds.of(Role), "ns", "r"), after, before)


def test_rules_cover_each_other_piece_by_piece() -> None:
    held = [rule("get", "pods"), rule("*", "secrets", names="a"), rule("get", "*/status")]
    assert missing(held, [rule("get", "pods"), rule("get", "secrets", names="a"), rule("get", "nodes/status")]) == []
    assert missing(held, [rule("get", "secrets")]) == [rule("get", "secrets")]
    assert len(missing(held, [rule("get list", "pods services")])) == 3
