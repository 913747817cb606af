"""Admission policies where no server is needed: what is looked at when, and what holds nobody up."""

import asyncio
import threading
from typing import Any

import pytest

from api import kinds
from api.errors import Invalid
from api.types import (
    ConfigMap,
    MatchResources,
    NamedRuleWithOperations,
    Namespace,
    ObjectMeta,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec,
    Validation,
    Variable,
)  # fmt: skip
from apiserver.admission.policies import compiling
from apiserver.admission.policies.assembling import AdmissionPolicies
from apiserver.admission.webhooks.forms import Served
from apiserver.authorization import Authorizer, Decision
from apiserver.requests import Request, User

from .worlds import Memory

POLICIES, MAPS = kinds.of(ValidatingAdmissionPolicy), kinds.of(ConfigMap)


class Cache(Memory):
    revision = 0

    def version(self, kind: Any) -> int:
        return self.revision


class Asked(Authorizer):
    """Notes in which thread it is asked."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def decide(self, request: Request) -> Decision:
        self.threads.append(threading.get_ident())
        return Decision(request.verb == "get")


def policy(*expressions: str, name: str = "p", resource: str = "configmaps") -> ValidatingAdmissionPolicy:
    rule = NamedRuleWithOperations(
        operations=["*"], apiGroups=[""], apiVersions=["v1"], resources=[resource], scope="*"
    )
    return ValidatingAdmissionPolicy(
        metadata=ObjectMeta(name=name, uid=name, generation=1),
        spec=ValidatingAdmissionPolicySpec(
            failurePolicy="Fail",
            matchConstraints=MatchResources(resourceRules=[rule], matchPolicy="Equivalent"),
            validations=[Validation(expression=e) for e in expressions],
        ),
    )


def binding(name: str = "p") -> ValidatingAdmissionPolicyBinding:
    return ValidatingAdmissionPolicyBinding(
        metadata=ObjectMeta(name=name),
        spec=ValidatingAdmissionPolicyBindingSpec(policyName=name, validationActions=["Deny"]),
    )


def world(*objects: Any, authorizer: Authorizer | None = None) -> tuple[Cache, AdmissionPolicies]:
    cache = Cache(Namespace(metadata=ObjectMeta(name="default")), *objects)
    return cache, AdmissionPolicies(cache, Served(), authorizer or Asked(), kinds.by_name)


def creation(obj: ConfigMap) -> Request:
    return Request(User("somebody"), "create", MAPS, "default", obj.metadata.name)


def config_map(**data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="x", namespace="default"), data=data)


async def test_a_policy_is_compiled_once_for_each_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    real = compiling.policy
    monkeypatch.setattr(compiling, "policy", lambda source: compiled.append(source.metadata.name) or real(source))
    source = policy("true")
    cache, policies = world(source, binding(), policy("true", name="unbound"))
    for _ in range(3):
        cache.revision += 1
        await policies.validating.judge(creation(obj := config_map()), obj, None)
    assert compiled == ["p"]
    source.metadata.generation = 2
    cache.revision += 1
    await policies.validating.judge(creation(obj), obj, None)
    assert compiled == ["p", "p"]


async def test_nothing_is_looked_at_for_a_resource_that_no_policy_names(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, policies = world(policy("false", resource="secrets"), binding())
    await policies.validating.judge(creation(obj := config_map()), obj, None)
    monkeypatch.setattr(cache, "list_cached", lambda kind: pytest.fail("looked"))
    await policies.validating.judge(creation(obj), obj, None)


async def test_policies_do_not_apply_to_policies() -> None:
    everything = policy("false", resource="*")
    everything.spec.matchConstraints.resourceRules[0].apiGroups = ["*"]  # type: ignore[union-attr]
    _, policies = world(everything, binding())
    request = Request(User("somebody"), "delete", POLICIES, "", "p")
    await policies.validating.judge(request, None, everything)
    obj = config_map()
    with pytest.raises(Invalid, match="with binding 'p' denied request: failed expression: false"):
        await policies.validating.judge(creation(obj), obj, None)


async def test_what_takes_long_is_evaluated_elsewhere_and_asks_the_authorizer_here() -> None:
    loops = "object.data.all(a, object.data.all(b, object.data.all(c, a != '')))"
    may = "authorizer.group('').resource('pods').check('get').allowed()"
    authorizer = Asked()
    _, policies = world(policy(f"{loops} && {may}"), binding(), authorizer=authorizer)
    obj = config_map(**{f"k{i}": "" for i in range(40)})
    task = asyncio.create_task(policies.validating.judge(creation(obj), obj, None))
    await task
    assert set(authorizer.threads) == {threading.get_ident()}


async def test_a_variable_that_nobody_asks_for_is_not_evaluated() -> None:
    source = policy("variables.good == 1 || variables.bad == 1")
    source.spec.variables = [
        Variable(name="good", expression="1"),
        Variable(name="bad", expression="object.nothing.at.all"),
    ]
    _, policies = world(source, binding())
    await policies.validating.judge(creation(obj := config_map()), obj, None)


async def test_a_policy_that_does_not_compile_is_judged_by_its_failure_policy() -> None:
    source = policy("variables.nothing")
    cache, policies = world(source, binding())
    obj = config_map()
    with pytest.raises(Invalid, match="compilation failed: ERROR: <input>:1:10: undefined field 'nothing'"):
        await policies.validating.judge(creation(obj), obj, None)
    source.spec.failurePolicy, source.metadata.generation = "Ignore", 2
    cache.revision += 1
    await policies.validating.judge(creation(obj), obj, None)
