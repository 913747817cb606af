"""Admission webhooks against a real API server, after upstream's conformance tests of AdmissionWebhook."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.integration.api.conftest import Answer, Send
from tests.integration.api.servers import Https, endpoints, https, service

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
SERVER = "e2e-test-webhook"
Review = dict[str, Any]
Respond = Callable[[Review], Review | Awaitable[Review]]


@dataclass
class World:
    """A namespace of its own, and webhooks that are about nothing else."""

    send: Send
    namespace: str
    server: Https
    answers: dict[str, Respond] = field(default_factory=dict)
    seen: list[tuple[str, Review]] = field(default_factory=list)
    """(path, request) of every call."""
    configurations: list[str] = field(default_factory=list)

    def place(self, resource: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    async def create(self, resource: str, body: dict[str, Any], query: str = "") -> Answer:
        return await self.send("POST", self.place(resource) + query, body)

    def webhook(self, name: str, path: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
        where = {"namespace": self.namespace, "name": SERVER, "path": path, "port": 8443}
        return {
            "name": name,
            "rules": list(rules),
            "clientConfig": {"service": where, "caBundle": self.server.ca_bundle},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            **more,
        }

    async def configure(self, kind: str, *webhooks: dict[str, Any], name: str = "") -> str:
        """Store a configuration and wait until it counts."""
        plural = f"{kind.lower()}webhookconfigurations"
        name = name or f"{self.namespace}-{len(self.configurations)}"
        answer = await self.send(
            "POST", f"{CONFIGURATIONS}/{plural}", {"metadata": {"name": name}, "webhooks": webhooks}
        )
        assert answer.code == 201, answer.body
        self.configurations.append(f"{CONFIGURATIONS}/{plural}/{name}")
        return self.configurations[-1]

    async def handle(self, http: web.Request) -> web.StreamResponse:
        review = await http.json()
        asked = review["request"]
        self.seen.append((http.path, asked))
        found = self.answers[http.path](asked)
        response = found if isinstance(found, dict) else await found
        return web.json_response({**review, "request": None, "response": {"uid": asked["uid"], **response}})


@pytest_asyncio.fixture(loop_scope="session")
async def world(send: Send, tmp_path: Path) -> AsyncIterator[World]:
    namespace = f"webhook-{uuid.uuid4().hex[:8]}"
    found: World

    async def handle(http: web.Request) -> web.StreamResponse:
        return await found.handle(http)

    async with https(tmp_path / "server", handle, f"{SERVER}.{namespace}.svc", "127.0.0.1") as server:
        found = World(send, namespace, server)
        await send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await found.create("serviceaccounts", {"metadata": {"name": "default"}})
        await found.create("services", service(SERVER, 8443))
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        answer = await send("POST", slices, endpoints(SERVER, server.port))
        assert answer.code == 201, answer.body
        yield found
        for path in found.configurations:
            await send("DELETE", path)


def rule(
    *resources: str, operations: tuple[str, ...] = ("CREATE",), group: str = "", version: str = "v1"
) -> dict[str, Any]:
    return {
        "operations": list(operations),
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": list(resources),
    }


def patch(*operations: dict[str, Any]) -> Review:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [{"name": "c", "image": "wherry/pause:1"}]}}


async def eventually(ask: Callable[[], Awaitable[Answer]], code: int) -> Answer:
    """The first answer with that code: a configuration counts within moments of its creation."""
    for _ in range(100):
        answer = await ask()
        if answer.code == code:
            return answer
        await asyncio.sleep(0.02)
    pytest.fail(f"never {code}: {answer}")


CONFIG_MAP = rule("configmaps", operations=("CREATE", "UPDATE", "DELETE"))
ALWAYS: Review = {"allowed": True}


def deny(message: str = "", **status: Any) -> Review:
    return {"allowed": False, "status": {**status, **({"message": message} if message else {})}}


async def ready(world: World, configured: str = "Validating") -> None:
    """Wait until what is configured counts: a webhook of its own, stored after the others, answers."""
    word = f"marked-{uuid.uuid4().hex[:6]}"
    world.answers[f"/{word}"] = lambda _: deny(word)
    only_marked = {"objectSelector": {"matchLabels": {"marker": word}}}
    hook = world.webhook(f"{word}.k8s.io", f"/{word}", rule("configmaps"), **only_marked)
    await world.configure(configured, hook)
    marked = {"metadata": {"name": word, "labels": {"marker": word}}}

    async def ask() -> Answer:
        return await world.create("configmaps", marked, "?dryRun=All")

    await eventually(ask, 400)
    world.seen.clear()


def stage(number: int) -> Respond:
    """Adds `mutation-stage-N`, if the stage before it has been there."""
    before = "mutation-start" if number == 1 else f"mutation-stage-{number - 1}"

    def respond(asked: Review) -> Review:
        if (asked["object"].get("data") or {}).get(before) != "yes":
            return ALWAYS
        return patch({"op": "add", "path": f"/data/mutation-stage-{number}", "value": "yes"})

    return respond


async def test_a_refusal_names_the_webhook_and_its_reason(world: World) -> None:
    world.answers["/pods"] = lambda _: deny("the pod contains unwanted container name; the pod contains unwanted label")
    await world.configure("Validating", world.webhook("deny-unwanted-pod.k8s.io", "/pods", rule("pods")))
    await ready(world)
    answer = await world.create("pods", pod("disallowed"))
    assert answer.body["message"] == (
        'admission webhook "deny-unwanted-pod.k8s.io" denied the request: '
        "the pod contains unwanted container name; the pod contains unwanted label"
    )
    assert answer.code == 400
    assert (await world.send("GET", world.place("pods", "disallowed"))).code == 404


async def test_updates_by_put_and_by_patch_are_refused_too_but_not_in_exempt_namespaces(world: World) -> None:
    def respond(asked: Review) -> Review:
        return deny("unwanted") if "unwanted" in (asked["object"].get("data") or {}).values() else ALWAYS

    world.answers["/configmaps"] = respond
    selector = {
        "matchExpressions": [
            {"key": "skip-webhook-admission", "operator": "NotIn", "values": ["yes"]},
            {
                "key": "kubernetes.io/metadata.name",
                "operator": "In",
                "values": [world.namespace, f"{world.namespace}-x"],
            },
        ]
    }
    hook = world.webhook(
        "deny-unwanted-configmap-data.k8s.io", "/configmaps", rule("configmaps", operations=("CREATE", "UPDATE")),
        namespaceSelector=selector,
    )  # fmt: skip
    fail_open = world.webhook("fail-open.k8s.io", "/configmaps", CONFIG_MAP, failurePolicy="Ignore")
    fail_open["clientConfig"] = {"service": fail_open["clientConfig"]["service"]}  # nobody vouches for its certificate
    await world.configure("Validating", hook, fail_open)
    await ready(world)
    bad = {"metadata": {"name": "cm"}, "data": {"k": "unwanted"}}
    assert (await world.create("configmaps", bad)).code == 400
    assert (await world.create("configmaps", {"metadata": {"name": "cm"}, "data": {"admit": "this"}})).code == 201
    here = world.place("configmaps", "cm")
    assert (await world.send("PUT", here, bad)).code == 400
    strategic = "application/strategic-merge-patch+json"
    assert (await world.send("PATCH", here, {"data": {"k": "unwanted"}}, strategic)).code == 400
    assert (await world.send("PATCH", here, {"data": {"k": "wanted"}}, strategic)).code == 200
    exempt = {"metadata": {"name": f"{world.namespace}-x", "labels": {"skip-webhook-admission": "yes"}}}
    await world.send("POST", "/api/v1/namespaces", exempt)
    assert (await world.send("POST", f"/api/v1/namespaces/{world.namespace}-x/configmaps", bad)).code == 201


async def test_attaching_to_a_pod_can_be_refused(world: World) -> None:
    world.answers["/attach"] = lambda _: deny("attaching to pod 'to-be-attached-pod' is not allowed")
    hook = world.webhook("deny-attaching-pod.k8s.io", "/attach", rule("pods/attach", operations=("CONNECT",)))
    await world.configure("Validating", hook)
    await ready(world)
    await world.create("pods", {**pod("to-be-attached-pod"), "status": {}})
    here = world.place("pods", "to-be-attached-pod")
    answer = await world.send("POST", f"{here}/attach?stdin=true&stdout=true&container=c", media="")
    assert answer.code == 400
    assert answer.body["message"].endswith("denied the request: attaching to pod 'to-be-attached-pod' is not allowed")
    _, asked = world.seen[-1]
    assert asked["operation"] == "CONNECT"
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"}
    assert (asked["subResource"], asked["options"]) == ("attach", None)
    wanted = {"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "stdout": True, "stderr": True}
    assert asked["object"] == {**wanted, "container": "c"}


async def test_a_webhook_that_cannot_be_reached_lets_nothing_pass(world: World) -> None:
    hook = world.webhook("fail-closed.k8s.io", "/configmaps", CONFIG_MAP)
    hook["clientConfig"]["service"]["name"] = "absent"
    untrusted = world.webhook("untrusted.k8s.io", "/secrets", rule("secrets"))
    del untrusted["clientConfig"]["caBundle"]
    await world.configure("Validating", hook, untrusted)

    async def ask() -> Answer:
        return await world.create("configmaps", {"metadata": {"name": "foo"}}, "?dryRun=All")

    answer = await eventually(ask, 500)
    post = f'Post "https://absent.{world.namespace}.svc:8443/configmaps?timeout=10s": service "absent" not found'
    why = f'failed calling webhook "fail-closed.k8s.io": failed to call webhook: {post}'
    assert answer.body["message"] == f"Internal error occurred: {why}"
    assert answer.body["reason"] == "InternalError"
    assert answer.body["details"] == {"causes": [{"message": why}]}
    answer = await world.create("secrets", {"metadata": {"name": "foo"}})
    assert answer.body["message"].endswith(
        f'Post "https://{SERVER}.{world.namespace}.svc:8443/secrets?timeout=10s": '
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )


async def test_mutating_webhooks_see_what_those_before_them_did(world: World) -> None:
    world.answers |= {"/1": stage(1), "/2": stage(2)}
    first, second = (
        world.webhook(f"adding-configmap-data-stage-{i}.k8s.io", f"/{i}", rule("configmaps")) for i in (1, 2)
    )
    await world.configure("Mutating", first, second)
    await ready(world)
    answer = await world.create("configmaps", {"metadata": {"name": "cm"}, "data": {"mutation-start": "yes"}})
    assert answer.body["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}


async def test_defaults_apply_to_what_a_webhook_added(world: World) -> None:
    added = {"name": "webhook-added-init-container", "image": "wherry/pause:1", "resources": {}}
    world.answers["/pods"] = lambda _: patch({"op": "add", "path": "/spec/initContainers", "value": [added]})
    await world.configure("Mutating", world.webhook("adding-init-container.k8s.io", "/pods", rule("pods")))
    await ready(world)
    answer = await world.create("pods", pod("webhook-to-be-mutated"))
    found = answer.body["spec"]["initContainers"][0]
    assert found["name"] == "webhook-added-init-container"
    assert found["terminationMessagePolicy"] == "File"
    # The plug-ins that come with the server have been asked again, about the new container too.
    assert [m["mountPath"] for m in found["volumeMounts"]] == ["/var/run/secrets/kubernetes.io/serviceaccount"]


async def test_webhooks_neither_change_nor_keep_configurations_of_webhooks(world: World) -> None:
    world.answers |= {
        "/deny": lambda _: deny("no"),
        "/label": lambda _: patch({"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}),
    }
    everything = {"namespaceSelector": None, "objectSelector": {"matchLabels": {"dummy": world.namespace}}}
    about = {
        **rule(
            "mutatingwebhookconfigurations", "validatingwebhookconfigurations", group="admissionregistration.k8s.io"
        ),
        "operations": ["CREATE", "DELETE"],
    }
    await world.configure(
        "Validating", world.webhook("deny-webhook-configuration-deletions.k8s.io", "/deny", about, **everything)
    )
    await world.configure(
        "Mutating", world.webhook("add-label-to-webhook-configurations.k8s.io", "/label", about, **everything)
    )
    await ready(world)
    for kind in ("mutating", "validating"):
        dummy = {"metadata": {"name": f"{world.namespace}-dummy", "labels": {"dummy": world.namespace}}}
        answer = await world.send("POST", f"{CONFIGURATIONS}/{kind}webhookconfigurations", dummy)
        assert answer.body["metadata"]["labels"] == {"dummy": world.namespace}
        name = dummy["metadata"]["name"]
        assert (await world.send("DELETE", f"{CONFIGURATIONS}/{kind}webhookconfigurations/{name}")).code == 200
    assert world.seen == []


async def test_the_timeout_is_kept(world: World) -> None:
    async def slow(_: Review) -> Review:
        await asyncio.sleep(1.5)
        return ALWAYS

    world.answers["/slow"] = slow
    selected = {"timeoutSeconds": 1, "objectSelector": {"matchLabels": {"slow": "closed"}}}
    closed = world.webhook("allow-configmap-with-delay-webhook.k8s.io", "/slow", rule("configmaps"), **selected)
    opened = {
        **closed,
        "name": "fails-open.k8s.io",
        "failurePolicy": "Ignore",
        "objectSelector": {"matchLabels": {"slow": "open"}},
    }
    patient = {
        **closed,
        "name": "patient.k8s.io",
        "timeoutSeconds": 5,
        "objectSelector": {"matchLabels": {"slow": "patient"}},
    }
    await world.configure("Validating", closed, opened, patient)
    await ready(world)

    async def create(label: str) -> Answer:
        return await world.create("configmaps", {"metadata": {"name": label, "labels": {"slow": label}}})

    refused, let_pass, waited_for = await asyncio.gather(create("closed"), create("open"), create("patient"))
    where = f"https://{SERVER}.{world.namespace}.svc:8443/slow?timeout=1s"
    assert refused.body["message"].endswith(f'failed to call webhook: Post "{where}": context deadline exceeded')
    assert (refused.code, let_pass.code, waited_for.code) == (500, 201, 201)


async def test_configurations_can_be_listed_changed_patched_and_deleted_together(world: World) -> None:
    world.answers["/cm"] = lambda _: deny("no")
    plural = f"{CONFIGURATIONS}/validatingwebhookconfigurations"
    path = await world.configure("Validating", world.webhook("deny.k8s.io", "/cm", rule("configmaps")))
    listed = await world.send("GET", plural)
    assert path.rpartition("/")[2] in [item["metadata"]["name"] for item in listed.body["items"]]
    cm = {"metadata": {"name": "cm"}}

    async def create() -> Answer:
        return await world.create("configmaps", cm, "?dryRun=All")

    await eventually(create, 400)
    stored = (await world.send("GET", path)).body
    assert stored["webhooks"][0]["rules"][0]["scope"] == "*"
    assert stored["webhooks"][0]["clientConfig"]["service"]["port"] == 8443
    stored["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    assert (await world.send("PUT", path, stored)).code == 200
    await eventually(create, 201)
    change = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    assert (await world.send("PATCH", path, change, "application/json-patch+json")).code == 200
    await eventually(create, 400)
    await world.send("PATCH", path, {"metadata": {"labels": {"e2e": world.namespace}}}, "application/merge-patch+json")
    assert (await world.send("DELETE", f"{plural}?labelSelector=e2e%3D{world.namespace}")).code == 200
    await eventually(create, 201)


async def test_match_conditions_decide_whether_a_webhook_is_asked(world: World) -> None:
    world.answers["/cm"] = lambda _: deny("asked")
    conditions = [
        {"name": "expected-namespace", "expression": f"request.namespace == '{world.namespace}'"},
        {
            "name": "only-marked",
            "expression": "object.metadata.name != 'exempt' && authorizer.group('').resource('pods').check('get').allowed()",
        },
    ]
    await world.configure(
        "Validating", world.webhook("conditional.k8s.io", "/cm", rule("configmaps"), matchConditions=conditions)
    )
    failing = [{"name": "broken", "expression": "object.data.absent == 'x'"}]
    closed = world.webhook("closed.k8s.io", "/cm", rule("secrets"), matchConditions=failing)
    await world.configure("Validating", closed)
    await ready(world)
    assert (await world.create("configmaps", {"metadata": {"name": "cm"}})).code == 400
    assert (await world.create("configmaps", {"metadata": {"name": "exempt"}})).code == 201
    answer = await world.create("secrets", {"metadata": {"name": "s"}})
    assert answer.code == 403
    assert answer.body["message"].startswith(
        "secrets \"s\" is forbidden: expression 'object.data.absent == 'x'' resulted in error: "
    )


@pytest.mark.parametrize("kind", ["mutating", "validating"])
async def test_match_conditions_that_cannot_be_compiled_are_refused(world: World, kind: str) -> None:
    bad = [{"name": "invalid-expression-1", "expression": "... [] bad expression"}]
    hook = world.webhook("adding-configmap-data.k8s.io", "/cm", rule("configmaps"), matchConditions=bad)
    body = {"metadata": {"name": "bad"}, "webhooks": [hook]}
    answer = await world.send("POST", f"{CONFIGURATIONS}/{kind}webhookconfigurations", body)
    assert answer.code == 422
    assert "webhooks[0].matchConditions[0].expression: Invalid value" in answer.body["message"]
    assert "compilation failed" in answer.body["message"]


async def test_the_review_says_everything_about_the_request(world: World) -> None:
    world.answers["/cm"] = lambda _: ALWAYS
    await world.configure("Validating", world.webhook("watching.k8s.io", "/cm", CONFIG_MAP))
    await ready(world)
    await world.create("configmaps", {"metadata": {"generateName": "made-up-"}}, "?fieldManager=me&dryRun=All")
    await world.create("configmaps", {"metadata": {"name": "cm"}, "data": {"a": "1"}})
    merge = "application/merge-patch+json"
    await world.send("PATCH", world.place("configmaps", "cm") + "?fieldManager=me", {"data": {"a": "2"}}, merge)
    await world.send(
        "DELETE",
        world.place("configmaps", "cm"),
        {"gracePeriodSeconds": 0, "kind": "DeleteOptions", "apiVersion": "v1"},
    )
    generated, created, changed, deleted = (asked for _, asked in world.seen)
    assert "name" not in generated
    assert generated["object"]["metadata"]["name"].startswith("made-up-")
    assert generated["dryRun"] is True
    assert generated["options"] == {
        "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "dryRun": ["All"],
    }  # fmt: skip
    assert created["kind"] == created["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert created["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (created["name"], created["namespace"], created["operation"]) == ("cm", world.namespace, "CREATE")
    assert created["userInfo"]["username"] == "kubernetes-admin"
    assert "system:masters" in created["userInfo"]["groups"]
    assert created["oldObject"] is None
    assert (changed["operation"], changed["options"]["kind"]) == ("UPDATE", "UpdateOptions")
    assert (changed["object"]["data"], changed["oldObject"]["data"]) == ({"a": "2"}, {"a": "1"})
    assert (deleted["operation"], deleted["object"], deleted["oldObject"]["data"]) == ("DELETE", None, {"a": "2"})
    assert deleted["options"] == {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0}


async def test_subresources_are_seen_as_what_they_are(world: World) -> None:
    world.answers["/sub"] = lambda _: ALWAYS
    every = [
        rule("pods/*", "serviceaccounts/token", operations=("*",)),
        rule("deployments/*", group="apps", operations=("*",)),
    ]
    await world.configure("Validating", world.webhook("subresources.k8s.io", "/sub", *every))
    await ready(world)
    await world.create("pods", pod("p"))
    here = world.place("pods", "p")
    await world.send("POST", f"{here}/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    merge = "application/merge-patch+json"
    await world.send("PATCH", f"{here}/status", {"status": {"message": "hello"}}, merge)
    await world.send(
        "POST", f"{here}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    )
    token = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
    await world.send("POST", world.place("serviceaccounts", "default") + "/token", token)
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": pod("x")["spec"]}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    apps = f"/apis/apps/v1/namespaces/{world.namespace}/deployments"
    await world.send("POST", apps, deployment)
    await world.send("PATCH", f"{apps}/d/scale", {"spec": {"replicas": 3}}, merge)
    found = [
        (a["resource"]["resource"], a["subResource"], a["kind"]["kind"], a["operation"])
        for _, a in world.seen
        if "subResource" in a
    ]
    assert found == [
        ("pods", "binding", "Binding", "CREATE"),
        ("pods", "status", "Pod", "UPDATE"),
        ("pods", "eviction", "Eviction", "CREATE"),
        ("serviceaccounts", "token", "TokenRequest", "CREATE"),
        ("deployments", "scale", "Scale", "UPDATE"),
    ]
    assert world.seen[-1][1]["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert world.seen[-1][1]["object"]["spec"] == {"replicas": 3}


async def test_a_webhook_gets_the_version_that_it_asks_for(world: World) -> None:
    world.answers["/hpa"] = lambda _: patch({"op": "replace", "path": "/spec/maxReplicas", "value": 7})
    hook = world.webhook("hpa.k8s.io", "/hpa", rule("horizontalpodautoscalers", group="autoscaling", version="v1"))
    exact = world.webhook("exact.k8s.io", "/exact", *hook["rules"], matchPolicy="Exact")
    await world.configure("Mutating", hook, exact)
    await ready(world)
    spec = {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    ]
    body = {"metadata": {"name": "h"}, "spec": {**spec, "metrics": metrics}}
    place = f"/apis/autoscaling/v2/namespaces/{world.namespace}/horizontalpodautoscalers"
    answer = await world.send("POST", place, body)
    assert answer.body["spec"]["maxReplicas"] == 7
    ((_, asked),) = world.seen
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v1", "v2")
    assert asked["object"]["apiVersion"] == "autoscaling/v1"
    assert asked["object"]["spec"]["targetCPUUtilizationPercentage"] == 50
    assert answer.body["spec"]["metrics"] == metrics


async def test_reinvocation_shows_a_webhook_what_came_after_it(world: World) -> None:
    def first(asked: Review) -> Review:
        data = asked["object"].get("data") or {}
        return patch({"op": "add", "path": "/data/seen", "value": "yes"}) if "late" in data else ALWAYS

    def late(asked: Review) -> Review:
        data = asked["object"].get("data")
        return patch({"op": "add", "path": "/data/late", "value": "yes"}) if data else ALWAYS

    world.answers |= {"/first": first, "/late": late}
    early = world.webhook("first.k8s.io", "/first", rule("configmaps"), reinvocationPolicy="IfNeeded")
    late = world.webhook("late.k8s.io", "/late", rule("configmaps"))
    await world.configure("Mutating", early, late)
    await ready(world)
    answer = await world.create("configmaps", {"metadata": {"name": "cm"}, "data": {"a": "1"}})
    assert answer.body["data"] == {"a": "1", "late": "yes", "seen": "yes"}
    assert [path for path, _ in world.seen] == ["/first", "/late", "/first"]


async def test_warnings_reach_the_client_even_with_a_refusal(world: World) -> None:
    world.answers |= {
        "/warn": lambda _: {"allowed": True, "warnings": ["think twice"]},
        "/deny": lambda _: {**deny(reason="Conflict", code=409), "warnings": ["no way"]},
    }
    await world.configure("Validating", world.webhook("warn.k8s.io", "/warn", rule("configmaps")))
    await world.configure("Validating", world.webhook("deny.k8s.io", "/deny", rule("secrets")))
    await ready(world)
    answer = await world.create("configmaps", {"metadata": {"name": "cm"}})
    assert (answer.code, answer.warnings) == (201, ['299 - "think twice"'])
    answer = await world.create("secrets", {"metadata": {"name": "s"}})
    assert (answer.code, answer.warnings) == (409, ['299 - "no way"'])
    assert answer.body["reason"] == "Conflict"
    assert answer.body["message"] == 'admission webhook "deny.k8s.io" denied the request: Conflict'


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ({"uid": "other", "allowed": True}, 'expected response.uid="'),
        ({"allowed": True, "patch": "W10="}, "webhook returned response.patch but not response.patchType"),
        ({"allowed": True, "patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(world: World, response: Review, why: str) -> None:
    world.answers["/bad"] = lambda _: response
    await world.configure("Mutating", world.webhook("bad.k8s.io", "/bad", rule("secrets")))
    await ready(world)
    answer = await world.create("secrets", {"metadata": {"name": "s"}})
    assert answer.code == 500
    assert f'failed calling webhook "bad.k8s.io": received invalid webhook response: {why}' in answer.body["message"]


async def test_a_patch_that_makes_no_such_object_is_an_error(world: World) -> None:
    world.answers["/bad"] = lambda _: patch({"op": "add", "path": "/data", "value": 5})
    await world.configure("Mutating", world.webhook("bad.k8s.io", "/bad", rule("secrets")))
    await ready(world)
    answer = await world.create("secrets", {"metadata": {"name": "s"}})
    assert answer.code == 500
    assert answer.body["message"].startswith(
        "Internal error occurred: json: cannot unmarshal number into Go struct field"
    )


async def test_a_patch_of_unknown_fields_is_pruned(world: World) -> None:
    world.answers["/odd"] = lambda _: patch({"op": "add", "path": "/nonsense", "value": 5})
    await world.configure("Mutating", world.webhook("odd.k8s.io", "/odd", rule("secrets")))
    await ready(world)
    answer = await world.create("secrets", {"metadata": {"name": "s"}})
    assert answer.code == 201
    assert "nonsense" not in answer.body


async def test_each_object_of_a_collection_is_asked_about(world: World) -> None:
    world.answers["/cm"] = lambda asked: deny("kept") if asked["name"] == "kept" else ALWAYS
    await world.configure("Validating", world.webhook("keep.k8s.io", "/cm", rule("configmaps", operations=("DELETE",))))
    await ready(world)
    for name in ("kept", "other"):
        await world.create("configmaps", {"metadata": {"name": name}})
    assert (await world.send("DELETE", world.place("configmaps"))).code == 400
    assert (await world.send("GET", world.place("configmaps", "kept"))).code == 200
    assert (await world.send("DELETE", world.place("configmaps", "kept"))).code == 400
    assert len([1 for _, asked in world.seen if asked["name"] == "kept"]) == 2


async def test_faults_of_configurations_are_told_with_their_paths(world: World) -> None:
    hook = {
        "name": "short.name", "sideEffects": "Some", "admissionReviewVersions": ["v2"], "timeoutSeconds": 31,
        "rules": [rule("*/*", "pods")], "clientConfig": {"url": "http://x/y?z=1"},
    }  # fmt: skip
    body = {"metadata": {"name": "bad"}, "webhooks": [hook]}
    answer = await world.send("POST", f"{CONFIGURATIONS}/validatingwebhookconfigurations", body)
    causes = [f"{c['field']}: {c['message']}" for c in answer.body["details"]["causes"]]
    assert causes == [
        'webhooks[0].name: Invalid value: "short.name": should be a domain with at least three segments separated by dots',
        """webhooks[0].rules[0].resources: Invalid value: ["*/*","pods"]: if '*/*' is present, must not specify other resources""",
        'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        """webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]""",
        'webhooks[0].clientConfig.url: Invalid value: "z=1": query parameters are not permitted in the URL',
        'webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1',
    ]


async def custom_kind(world: World, *versions: str) -> str:
    """Define a kind of that many versions, and say where its objects are, with {version} to be filled in."""
    group = f"{world.namespace}.example.com"
    names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"}
    schema = {"type": "object", "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}}}
    found = [
        {"name": v, "served": True, "storage": v == versions[0], "schema": {"openAPIV3Schema": schema}}
        for v in versions
    ]
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": found}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = await world.send("POST", definitions, {"metadata": {"name": f"gadgets.{group}"}, "spec": spec})
    assert answer.code == 201, answer.body
    world.configurations.append(f"{definitions}/gadgets.{group}")
    place = f"/apis/{group}/{{version}}/namespaces/{world.namespace}/gadgets"
    await eventually(lambda: world.send("GET", place.format(version=versions[0])), 200)
    return place


async def test_custom_resources_are_mutated_pruned_and_refused(world: World) -> None:
    place = await custom_kind(world, "v1")
    group, here = f"{world.namespace}.example.com", place.format(version="v1")

    def judge(asked: Review) -> Review:
        return deny("unwanted data") if "unwanted" in (asked["object"].get("data") or {}).values() else ALWAYS

    odd = patch({"op": "add", "path": "/data/new", "value": "yes"}, {"op": "add", "path": "/unknown", "value": 1})
    world.answers |= {"/judge": judge, "/1": stage(1), "/odd": lambda _: odd}
    about = rule("gadgets", group=group)
    mutating = [world.webhook(f"mutate-{i}.k8s.io", f"/{i}", about) for i in ("1", "odd")]
    await world.configure("Mutating", *mutating)
    await world.configure("Validating", world.webhook("deny-cr.k8s.io", "/judge", about))
    await ready(world)
    gadget = {
        "apiVersion": f"{group}/v1",
        "kind": "Gadget",
        "metadata": {"name": "g"},
        "data": {"mutation-start": "yes"},
    }
    answer = await world.send("POST", here, gadget)
    assert answer.code == 201, answer.body
    assert answer.body["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes", "new": "yes"}
    assert "unknown" not in answer.body
    answer = await world.send("POST", here, {**gadget, "metadata": {"name": "h"}, "data": {"k": "unwanted"}})
    assert answer.body["message"] == 'admission webhook "deny-cr.k8s.io" denied the request: unwanted data'


async def test_custom_resources_are_shown_in_the_version_that_is_asked_for(world: World) -> None:
    place = await custom_kind(world, "v1", "v2")
    group = f"{world.namespace}.example.com"
    world.answers["/v1"] = lambda _: patch({"op": "add", "path": "/data/by", "value": "v1"})
    await world.configure("Mutating", world.webhook("v1.k8s.io", "/v1", rule("gadgets", group=group)))
    await ready(world)
    gadget = {"apiVersion": f"{group}/v2", "kind": "Gadget", "metadata": {"name": "g"}, "data": {"a": "b"}}
    answer = await world.send("POST", place.format(version="v2"), gadget)
    assert (answer.code, answer.body["apiVersion"]) == (201, f"{group}/v2"), answer.body
    assert answer.body["data"] == {"a": "b", "by": "v1"}
    ((_, asked),) = world.seen
    assert (asked["object"]["apiVersion"], asked["requestKind"]["version"]) == (f"{group}/v1", "v2")
