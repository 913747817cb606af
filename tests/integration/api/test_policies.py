"""Admission policies against a real API server, after upstream's conformance tests of both kinds."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from machinery.testing import ControlPlane
from tests.integration.api.conftest import Answer, Send

pytestmark = pytest.mark.asyncio(loop_scope="session")
GROUP = "/apis/admissionregistration.k8s.io/v1"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
DEPLOYMENTS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
MAPS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
Tree = dict[str, Any]
PLURALS = {"Validating": "validatingadmissionpolic", "Mutating": "mutatingadmissionpolic"}


def deployment(name: str, replicas: int = 1, **metadata: Any) -> Tree:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, **metadata}, "spec": spec}


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Tree:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


@dataclass
class World:
    """A namespace of its own, and policies that are about nothing else."""

    send: Send
    namespace: str
    made: list[str] = field(default_factory=list)

    def place(self, resource: str, name: str = "") -> str:
        group = "/apis/apps/v1" if resource in ("deployments", "replicasets") else "/api/v1"
        return f"{group}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    async def create(self, resource: str, body: Tree, query: str = "") -> Answer:
        return await self.send("POST", self.place(resource) + query, body)

    def policy(self, rule: Tree, operations: list[str], **spec: Any) -> Tree:
        rules = [{"operations": operations, **rule}]
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        constraints = {"resourceRules": rules, "namespaceSelector": selector} | spec.pop("matchConstraints", {})
        return {"metadata": {"generateName": f"{self.namespace}-"}, "spec": {"matchConstraints": constraints, **spec}}

    async def store(self, kind: str, policy: Tree, **binding: Any) -> str:
        """Create a policy with one binding; its name, when both count."""
        answer = await self.send("POST", f"{GROUP}/{PLURALS[kind]}ies", policy)
        assert answer.code == 201, answer.body
        name: str = answer.body["metadata"]["name"]
        if kind == "Validating":
            binding.setdefault("validationActions", ["Deny"])
        bound = {"metadata": {"name": name}, "spec": {"policyName": name, **binding}}
        answer = await self.send("POST", f"{GROUP}/{PLURALS[kind]}ybindings", bound)
        assert answer.code == 201, answer.body
        self.made += [f"{GROUP}/{PLURALS[kind]}ies/{name}", f"{GROUP}/{PLURALS[kind]}ybindings/{name}"]
        # What one server has written it sees at once in a read that must be fresh.
        await self.send("GET", f"{GROUP}/{PLURALS[kind]}ybindings/{name}")
        await self.send("GET", f"{GROUP}/{PLURALS[kind]}ies?resourceVersion=")
        return name

    async def validating(
        self, rule: Tree, *validations: Tree, operations: Any = None, bind: Any = None, **spec: Any
    ) -> str:
        policy = self.policy(rule, operations or ["CREATE", "UPDATE"], validations=list(validations), **spec)
        return await self.store("Validating", policy, **(bind or {}))

    async def mutating(self, rule: Tree, *mutations: Tree, bind: Any = None, **spec: Any) -> str:
        spec = {"reinvocationPolicy": "Never", **spec}
        return await self.store(
            "Mutating", self.policy(rule, ["CREATE", "UPDATE"], mutations=list(mutations), **spec), **(bind or {})
        )


@pytest_asyncio.fixture(loop_scope="session")
async def world(send: Send) -> Any:
    name = f"policies-{uuid.uuid4().hex[:8]}"
    assert (await send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})).code == 201
    account = {"metadata": {"name": "default"}}
    await send("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
    here = World(send, name)
    yield here
    for path in here.made:
        await send("DELETE", path)


async def served(world: World, path: str) -> bool:
    for _ in range(500):
        if (await world.send("GET", path)).code == 200:
            return True
        await asyncio.sleep(0.02)
    return False


async def until_status(send: Send, path: str) -> Tree:
    async with asyncio.timeout(10):
        while True:
            body: Tree = (await send("GET", path)).body
            if "typeChecking" in body.get("status", {}):
                return body["status"]
            await asyncio.sleep(0.02)


def told(name: str, message: str) -> str:
    return f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {message}"


# --- validating


async def test_a_deployment_is_validated_and_a_replica_set_is_not(world: World) -> None:
    name = await world.validating(
        DEPLOYMENTS,
        {
            "expression": "object.spec.replicas > 1",
            "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
        },
    )
    refused = await world.create("deployments", deployment("marker", 1))
    message = told(name, "failed expression: object.spec.replicas > 1")
    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert refused.body["message"] == f'deployments.apps "marker" is forbidden: {message}'
    assert refused.body["details"] == {
        "name": "marker", "group": "apps", "kind": "deployments", "causes": [{"message": message}],
    }  # fmt: skip
    assert (await world.create("deployments", deployment("replicated", 2))).code == 201
    plain = deployment("plain", 1) | {"kind": "ReplicaSet"}
    assert (await world.create("replicasets", plain)).code == 201


async def test_expressions_can_refer_to_variables(world: World) -> None:
    name = await world.validating(
        DEPLOYMENTS,
        {"expression": "variables.replicas > 1", "messageExpression": "'got ' + string(variables.replicas)"},
        {"expression": "variables.oddReplicas", "message": "no odd number"},
        variables=[
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
    )
    assert (await world.create("deployments", deployment("one", 1))).body["message"].endswith(told(name, "got 1"))
    assert (
        (await world.create("deployments", deployment("two", 2))).body["message"].endswith(told(name, "no odd number"))
    )
    assert (await world.create("deployments", deployment("three", 3))).code == 201


async def test_expressions_are_checked_against_the_types_that_they_are_about(world: World) -> None:
    right = await world.validating(DEPLOYMENTS, {"expression": "object.spec.replicas > 1"})
    status = await until_status(world.send, f"{GROUP}/validatingadmissionpolicies/{right}")
    assert status == {"observedGeneration": 1, "typeChecking": {}}
    wrong = await world.validating(
        DEPLOYMENTS,
        {"expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + object.spec.replicas"},
    )
    status = await until_status(world.send, f"{GROUP}/validatingadmissionpolicies/{wrong}")
    first, second = status["typeChecking"]["expressionWarnings"]
    assert (first["fieldRef"], second["fieldRef"]) == (
        "spec.validations[0].expression", "spec.validations[0].messageExpression",
    )  # fmt: skip
    assert first["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:22: ")
    assert "found no matching overload for '_>_' applied to '(int, string)'" in first["warning"]
    assert "found no matching overload for '_+_' applied to '(string, int)'" in second["warning"]


def crontabs(group: str) -> Tree:
    tags = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
    spec = {"type": "object", "properties": {"replicas": {"type": "integer"}, "tags": tags}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "metadata": {"name": f"crontabs.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_a_policy_about_a_custom_resource_is_checked_against_its_schema(world: World) -> None:
    group = f"{world.namespace}.example.com"
    definition = crontabs(group)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await world.send("POST", path, definition)).code == 201
    try:
        assert await served(world, f"/apis/{group}/v1/namespaces/{world.namespace}/crontabs")
        rule = {"apiGroups": [group], "apiVersions": ["v1"], "resources": ["crontabs"]}
        name = await world.validating(
            rule, {"expression": "object.spec.replicas > '1'"}, {"expression": "object.spec.x == 1"}
        )
        status = await until_status(world.send, f"{GROUP}/validatingadmissionpolicies/{name}")
    finally:
        await world.send("DELETE", f"{path}/crontabs.{group}")
    first, second = status["typeChecking"]["expressionWarnings"]
    assert "'_>_' applied to '(int, string)'" in first["warning"]
    assert "undefined field 'x'" in second["warning"]


async def test_custom_objects_are_judged_and_changed_and_can_be_parameters(world: World) -> None:
    group = f"{world.namespace}.example.com"
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await world.send("POST", path, crontabs(group))).code == 201
    here = f"/apis/{group}/v1/namespaces/{world.namespace}/crontabs"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "resources": ["crontabs"]}
    most = {"apiVersion": f"{group}/v1", "kind": "CronTab", "metadata": {"name": "most"}, "spec": {"replicas": 5}}
    try:
        assert await served(world, here)
        assert (await world.send("POST", here, most)).code == 201
        bind = {"paramRef": {"name": "most", "parameterNotFoundAction": "Deny"}}
        kind = {"apiVersion": f"{group}/v1", "kind": "CronTab"}
        await world.mutating(rule, configuration('Object{spec: Object.spec{tags: ["new"]}}'))
        name = await world.validating(
            rule, {"expression": "object.spec.replicas <= params.spec.replicas"}, paramKind=kind, bind=bind
        )
        made = await world.send(
            "POST", here, most | {"metadata": {"name": "a"}, "spec": {"replicas": 4, "tags": ["old"]}}
        )
        assert made.body["spec"] == {"replicas": 4, "tags": ["old", "new"]}
        refused = await world.send("POST", here, most | {"metadata": {"name": "b"}, "spec": {"replicas": 6}})
        assert refused.body["message"].endswith(
            told(name, "failed expression: object.spec.replicas <= params.spec.replicas")
        )
    finally:
        await world.send("DELETE", f"{path}/crontabs.{group}")


@pytest.mark.parametrize(
    ("reason", "code"), [("", 422), ("Forbidden", 403), ("Unauthorized", 401), ("RequestEntityTooLarge", 413)]
)
async def test_the_reason_decides_the_status_code(world: World, reason: str, code: int) -> None:
    validation = {"expression": "false", "message": "no"} | ({"reason": reason} if reason else {})
    await world.validating(MAPS, validation)
    refused = await world.create("configmaps", config_map("x"))
    assert (refused.code, refused.body["reason"]) == (code, reason or "Invalid")


async def test_a_warning_is_given_and_the_object_stored(world: World) -> None:
    bind = {"validationActions": ["Warn", "Audit"]}
    name = await world.validating(MAPS, {"expression": "false", "message": "better not"}, bind=bind)
    stored = await world.create("configmaps", config_map("x"))
    assert stored.code == 201
    told = f"Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{name}': better not"
    assert stored.warnings == [f'299 - "{told}"']


async def test_what_goes_wrong_is_judged_by_the_failure_policy(world: World) -> None:
    name = await world.validating(MAPS, {"expression": "object.data.nothing == 'x'"})
    refused = await world.create("configmaps", config_map("x"))
    why = "expression 'object.data.nothing == 'x'' resulted in error: no such key: data"
    assert refused.body["message"].endswith(told(name, why))
    path = f"{GROUP}/validatingadmissionpolicies/{name}"
    assert (await world.send("PATCH", path, {"spec": {"failurePolicy": "Ignore"}}, MERGE)).code == 200
    assert (await world.create("configmaps", config_map("x"))).code == 201


async def test_match_conditions_choose_requests(world: World) -> None:
    conditions = [{"name": "not-exempt", "expression": "!request.name.startsWith('exempt')"}]
    await world.validating(MAPS, {"expression": "false"}, matchConditions=conditions)
    assert (await world.create("configmaps", config_map("exempt-1"))).code == 201
    assert (await world.create("configmaps", config_map("other"))).code == 422


async def test_constraints_choose_requests(world: World) -> None:
    excluded = [{"operations": ["*"], **MAPS, "resourceNames": ["free"]}]
    constraints = {"excludeResourceRules": excluded, "objectSelector": {"matchLabels": {"judged": "yes"}}}
    await world.validating(MAPS, {"expression": "false"}, matchConstraints=constraints)
    labelled = {"labels": {"judged": "yes"}}
    assert (await world.create("configmaps", config_map("plain"))).code == 201
    assert (await world.create("configmaps", config_map("free", **labelled))).code == 201
    assert (await world.create("configmaps", config_map("caught", **labelled))).code == 422


async def test_an_equivalent_resource_is_matched_and_shown_as_asked_for(world: World) -> None:
    rule = {"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}
    await world.validating(
        rule, {"expression": "object.apiVersion != 'autoscaling/v1' || request.kind.version != 'v1'"}
    )
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}
    scaler = {"metadata": {"name": "x"}, "spec": {"scaleTargetRef": reference, "maxReplicas": 2}}
    answer = await world.send(
        "POST", f"/apis/autoscaling/v2/namespaces/{world.namespace}/horizontalpodautoscalers", scaler
    )
    assert answer.code == 422


async def test_deletions_show_the_old_object_only(world: World) -> None:
    keep = {"expression": "object == null && !('keep' in oldObject.metadata.?labels.orValue({}))", "message": "kept"}
    await world.validating(MAPS, keep, operations=["DELETE"])
    await world.create("configmaps", config_map("a", labels={"keep": "1"}))
    await world.create("configmaps", config_map("b"))
    assert (await world.send("DELETE", world.place("configmaps", "a"))).code == 422
    assert (await world.send("DELETE", world.place("configmaps", "b"))).code == 200


async def test_updates_compare_with_what_was_there(world: World) -> None:
    await world.validating(
        MAPS, {"expression": "object.data.v >= oldObject.data.v", "message": "no way back"}, operations=["UPDATE"]
    )
    await world.create("configmaps", config_map("a", {"v": "2"}))
    path = world.place("configmaps", "a")
    assert (await world.send("PATCH", path, {"data": {"v": "3"}}, MERGE)).code == 200
    refused = await world.send("PATCH", path, {"data": {"v": "1"}}, MERGE)
    assert (refused.code, "no way back" in refused.body["message"]) == (422, True)


async def test_the_namespace_and_the_authorizer_can_be_asked(world: World) -> None:
    own = f"namespaceObject.metadata.name == '{world.namespace}' && namespaceObject.status.phase == 'Active'"
    may = "authorizer.group('').resource('pods').namespace('default').check('create').allowed()"
    mine = "authorizer.requestResource.check('delete').allowed() && request.userInfo.username == 'kubernetes-admin'"
    account = "!authorizer.serviceAccount('default', 'default').group('').resource('secrets').check('list').allowed()"
    for expression in (own, may, mine, account):
        await world.validating(MAPS, {"expression": expression})
    answer = await world.create("configmaps", config_map("x"))
    assert answer.code == 201, answer.body


async def test_parameters_come_from_the_object_that_the_binding_names(world: World) -> None:
    await world.create("configmaps", config_map("limits", {"most": "2"}, labels={"limits": "yes"}))
    validation = {
        "expression": "object.spec.replicas <= int(params.data.most)",
        "messageExpression": "'at most ' + params.data.most",
    }
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    bind = {"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}}
    name = await world.validating(DEPLOYMENTS, validation, paramKind=kind, bind=bind)
    refused = await world.create("deployments", deployment("a", 3))
    assert refused.body["message"].endswith(told(name, "at most 2"))
    assert (await world.create("deployments", deployment("b", 2))).code == 201
    await world.send("DELETE", world.place("configmaps", "limits"))
    refused = await world.create("deployments", deployment("c", 1))
    why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert refused.body["message"].endswith(told(name, why))


async def test_each_parameter_object_that_is_selected_counts(world: World) -> None:
    bind = {"paramRef": {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}}
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await world.validating(
        DEPLOYMENTS, {"expression": "object.spec.replicas <= int(params.data.most)"}, paramKind=kind, bind=bind
    )
    assert (await world.create("deployments", deployment("a", 9))).code == 201
    for most in ("5", "3"):
        await world.create("configmaps", config_map(f"most-{most}", {"most": most}, labels={"limits": "yes"}))
    assert (await world.create("deployments", deployment("b", 4))).code == 422
    assert (await world.create("deployments", deployment("c", 3))).code == 201


async def test_an_unknown_kind_of_parameters_is_a_fault_of_the_policy(world: World) -> None:
    kind = {"apiVersion": "example.com/v1", "kind": "Nothing"}
    bind = {"paramRef": {"name": "x", "parameterNotFoundAction": "Deny"}}
    name = await world.validating(MAPS, {"expression": "true"}, paramKind=kind, bind=bind)
    refused = await world.create("configmaps", config_map("x"))
    why = "failed to find resource referenced by paramKind: 'example.com/v1, Kind=Nothing'"
    assert refused.body["message"].endswith(
        f"ValidatingAdmissionPolicy '{name}' denied request: failed to configure policy: {why}"
    )


async def test_an_expression_that_takes_too_long_holds_nobody_up(world: World) -> None:
    loops = "object.data.all(a, object.data.all(b, object.data.all(c, object.data.all(d, a != ''))))"
    name = await world.validating(MAPS, {"expression": loops})
    busy = asyncio.create_task(world.create("configmaps", config_map("x", {f"k{i}": "" for i in range(60)})))
    await asyncio.sleep(0)
    assert (await world.send("GET", "/api/v1/namespaces/default")).code == 200
    why = f"expression '{loops}' resulted in error: operation cancelled: actual cost limit exceeded"
    assert (await busy).body["message"].endswith(told(name, why))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"validations": [{"expression": "object.x +"}]},
            'spec.validations[0].expression: Invalid value: "object.x +": compilation failed: ERROR: <input>:1:11: '
            "Syntax error: mismatched input '<EOF>' expecting",
        ),
        (
            {"validations": [{"expression": "1"}]},
            'spec.validations[0].expression: Invalid value: "1": must evaluate to bool but got int',
        ),
        (
            {"validations": [{"expression": "true", "messageExpression": "authorizer"}]},
            "undeclared reference to 'authorizer' (in container '')",
        ),
        (
            {"validations": [{"expression": "params.x == 1"}]},
            "undeclared reference to 'params' (in container '')",
        ),
        (
            {"validations": [{"expression": "variables.x == 1"}]},
            "undefined field 'x'",
        ),
        (
            {"variables": [{"name": "1x", "expression": "1"}]},
            'spec.variables[0].name: Invalid value: "1x": name is not a valid CEL identifier',
        ),
        (
            {"validations": []},
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
        ),
        (
            {"validations": [{"expression": "true", "reason": "Nope"}]},
            'spec.validations[0].reason: Unsupported value: "Nope": supported values: "Forbidden", "Invalid", '
            '"RequestEntityTooLarge", "Unauthorized"',
        ),
        (
            {"failurePolicy": "Maybe"},
            'spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"',
        ),
    ],
)
async def test_a_policy_that_cannot_work_is_refused(world: World, change: Tree, message: str) -> None:
    spec = {"validations": [{"expression": "true"}], **change}
    policy = world.policy(MAPS, ["CREATE"], **spec)
    answer = await world.send("POST", f"{GROUP}/validatingadmissionpolicies?dryRun=All", policy)
    assert answer.code == 422
    assert message in answer.body["message"]


async def test_a_binding_that_makes_no_sense_is_refused(world: World) -> None:
    binding = {"metadata": {"name": "x"}, "spec": {"policyName": "x", "validationActions": ["Deny", "Warn"]}}
    answer = await world.send("POST", f"{GROUP}/validatingadmissionpolicybindings", binding)
    assert "must not contain both Deny and Warn" in answer.body["message"]


async def test_policies_are_defaulted(world: World) -> None:
    name = await world.validating(MAPS, {"expression": "true"}, bind={"matchResources": {}})
    spec = (await world.send("GET", f"{GROUP}/validatingadmissionpolicies/{name}")).body["spec"]
    assert (spec["failurePolicy"], spec["matchConstraints"]["matchPolicy"]) == ("Fail", "Equivalent")
    assert spec["matchConstraints"]["resourceRules"][0]["scope"] == "*"
    bound = (await world.send("GET", f"{GROUP}/validatingadmissionpolicybindings/{name}")).body["spec"]
    assert bound["matchResources"] == {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}


# --- mutating


def configuration(expression: str) -> Tree:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patch(expression: str) -> Tree:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def test_a_deployment_is_mutated_by_an_apply_configuration(world: World) -> None:
    await world.mutating(
        DEPLOYMENTS,
        configuration('Object{metadata: Object.metadata{annotations: {"mutated-by": "admission-policy"}}}'),
        configuration(
            "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{"
            'containers: [Object.spec.template.spec.containers{name: "c", imagePullPolicy: "Never"}]}}}}'
        ),
    )
    made = (await world.create("deployments", deployment("x", annotations={"own": "1"}))).body
    assert made["metadata"]["annotations"] == {"own": "1", "mutated-by": "admission-policy"}
    [container] = made["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("i", "Never")


async def test_a_json_patch_may_test_and_copy(world: World) -> None:
    await world.mutating(
        MAPS,
        patch(
            '[JSONPatch{op: "test", path: "/data/a", value: "1"}, JSONPatch{op: "add", path: "/data/b", value: "2"}, '
            'JSONPatch{op: "copy", from: "/data/b", path: "/data/c"}]'
        ),
        patch('[JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey("d"), value: string(object.data.size())}]'),
    )
    assert (await world.create("configmaps", config_map("x", {"a": "1"}))).body["data"] == {
        "a": "1", "b": "2", "c": "2", "d": "3",
    }  # fmt: skip
    assert (await world.create("configmaps", config_map("y", {"a": "2"}))).body["data"] == {"a": "2", "d": "1"}


async def test_a_policy_is_asked_again_if_a_later_one_changed_the_object(world: World) -> None:
    count = 'Object{metadata: Object.metadata{annotations: {"keys": string(object.data.size())}}}'
    await world.mutating(MAPS, configuration(count), reinvocationPolicy="IfNeeded")
    await world.mutating(MAPS, patch('[JSONPatch{op: "add", path: "/data/more", value: "1"}]'))
    made = (await world.create("configmaps", config_map("x", {"a": "1"}))).body
    assert (made["data"], made["metadata"]["annotations"]["keys"]) in (
        ({"a": "1", "more": "1"}, "2"), ({"a": "1", "more": "1"}, "1"),
    )  # fmt: skip
    assert made["metadata"]["annotations"]["keys"] == "2"


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        (
            configuration("Object{spec: Object.wrong{}}"),
            'type mismatch: unexpected type name "Object.wrong", expected "Object.spec"',
        ),
        (
            configuration('Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {"x": "y"}}}}'),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            ".spec.selector",
        ),
        (patch('[JSONPatch{op: "remove", path: "/nothing"}]'), "JSONPath: "),
        (configuration("Object{spec: Object.spec{replicas: object.nothing}}"), "no such key: nothing"),
    ],
)
async def test_a_mutation_that_cannot_be_made_is_judged_by_the_failure_policy(
    world: World, mutation: Tree, message: str
) -> None:
    name = await world.mutating(DEPLOYMENTS, mutation)
    refused = await world.create("deployments", deployment("x"))
    assert (refused.code, refused.body["reason"]) == (403, "Invalid")
    assert refused.body["message"].startswith(f"policy '{name}' with binding '{name}' denied request: ")
    assert message in refused.body["message"]
    path = f"{GROUP}/mutatingadmissionpolicies/{name}"
    assert (await world.send("PATCH", path, {"spec": {"failurePolicy": "Ignore"}}, MERGE)).code == 200
    assert (await world.create("deployments", deployment("x"))).code == 201


async def test_mutations_may_depend_on_parameters_and_conditions(world: World) -> None:
    await world.create("configmaps", config_map("defaults", {"team": "blue"}))
    bind = {"paramRef": {"name": "defaults", "parameterNotFoundAction": "Deny"}}
    await world.mutating(
        DEPLOYMENTS,
        configuration("Object{metadata: Object.metadata{labels: {'team': variables.team}}}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "team", "expression": "params.data.team"}],
        matchConditions=[{"name": "no-team", "expression": "!('team' in object.metadata.?labels.orValue({}))"}],
        bind=bind,
    )
    assert (await world.create("deployments", deployment("a"))).body["metadata"]["labels"] == {"team": "blue"}
    own = await world.create("deployments", deployment("b", labels={"team": "red"}))
    assert own.body["metadata"]["labels"] == {"team": "red"}


# --- the objects themselves


@pytest.mark.parametrize("kind", ["Validating", "Mutating"])
@pytest.mark.parametrize("binding", [False, True])
async def test_policies_and_bindings_support_all_operations(world: World, kind: str, binding: bool) -> None:
    send = world.send
    plural = PLURALS[kind] + ("ybindings" if binding else "ies")
    groups = (await send("GET", "/apis")).body["groups"]
    assert any(g["name"] == "admissionregistration.k8s.io" for g in groups)
    resources = {r["name"]: r for r in (await send("GET", GROUP)).body["resources"]}
    assert set(resources[plural]["verbs"]) >= {
        "create",
        "get",
        "list",
        "watch",
        "update",
        "patch",
        "delete",
        "deletecollection",
    }
    label = {"labels": {"test": world.namespace}}
    if binding:
        spec: Tree = {"policyName": "x"} | ({"validationActions": ["Deny"]} if kind == "Validating" else {})
    elif kind == "Validating":
        spec = {
            "validations": [{"expression": "true"}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], **MAPS}]},
        }
    else:
        spec = {
            "mutations": [configuration("Object{}")], "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], **MAPS}]},
        }  # fmt: skip
    made = [
        (await send("POST", f"{GROUP}/{plural}", {"metadata": {"generateName": "e2e-", **label}, "spec": spec})).body
        for _ in range(3)
    ]
    name = made[0]["metadata"]["name"]
    assert (await send("GET", f"{GROUP}/{plural}/{name}")).body["metadata"]["uid"] == made[0]["metadata"]["uid"]
    chosen = f"{GROUP}/{plural}?labelSelector=test%3D{world.namespace}"
    assert len((await send("GET", chosen)).body["items"]) == 3
    patched = await send("PATCH", f"{GROUP}/{plural}/{name}", {"metadata": {"annotations": {"patched": "true"}}}, MERGE)
    assert patched.body["metadata"]["annotations"] == {"patched": "true"}
    changed = patched.body | {"metadata": patched.body["metadata"] | {"annotations": {"updated": "true"}}}
    current = (await send("GET", f"{GROUP}/{plural}/{name}")).body["metadata"]["resourceVersion"]
    changed["metadata"]["resourceVersion"] = current
    assert (await send("PUT", f"{GROUP}/{plural}/{name}", changed)).code == 200
    assert (await send("DELETE", f"{GROUP}/{plural}/{name}")).code == 200
    assert (await send("GET", f"{GROUP}/{plural}/{name}")).code == 404
    assert (await send("DELETE", chosen)).code == 200
    assert (await send("GET", chosen)).body["items"] == []


async def test_kubectl_says_what_a_policy_refuses(world: World, plane: ControlPlane, tmp_path: Any) -> None:
    name = await world.validating(DEPLOYMENTS, {"expression": "object.spec.replicas <= 5"})
    process = await asyncio.create_subprocess_exec(
        "kubectl", "--kubeconfig", str(plane.kubeconfig(tmp_path / "kubeconfig")), "create", "deployment", "web",
        "--image=i", "--replicas=6", "-n", world.namespace,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    wanted = told(name, "failed expression: object.spec.replicas <= 5")
    assert wanted in err.decode()
