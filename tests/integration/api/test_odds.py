"""What belongs to no kind: health, metrics, methods that do not exist, components, YAML that says things twice."""

import pytest

from .conftest import Send

pytestmark = pytest.mark.asyncio(loop_scope="session")

YAML = "application/yaml"
TWICE = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: twice}\ndata:\n  a: '1'\n  a: '2'\nfoo: 1\n"


async def test_metrics_are_for_those_who_may_see_them(send: Send) -> None:
    await send("GET", "/api/v1/nodes")
    answer = await send("GET", "/metrics")
    names = ("apiserver_request_total{", "apiserver_request_duration_seconds_bucket{", "etcd_request_duration_seconds_sum{",
             "apiserver_storage_objects{", "process_cpu_seconds_total", "apiserver_current_inflight_requests{")  # fmt: skip
    assert [name for name in names if name not in answer.body] == []
    assert 'resource="nodes",scope="cluster",subresource="",verb="LIST",version="v1"} ' in answer.body
    bob = {"Impersonate-User": "bob"}
    assert (await send("GET", "/metrics", **bob)).code == 403


async def test_health_pages(send: Send) -> None:
    assert (await send("GET", "/livez?verbose")).body == "[+]ping ok\n[+]log ok\nlivez check passed\n"
    assert (await send("GET", "/readyz/etcd")).body == "ok"
    assert "[+]etcd excluded: ok" in (await send("GET", "/readyz?verbose&exclude=etcd")).body
    assert (await send("GET", "/healthz/nothing")).code == 404


@pytest.mark.parametrize("method", ["FOO", "OPTIONS", "TRACE", "PUT"])
async def test_methods_that_do_not_exist(send: Send, method: str) -> None:
    answer = await send(method, "/api/v1/namespaces", {})
    assert (answer.code, answer.body["reason"]) == (405, "MethodNotAllowed")


async def test_components(send: Send) -> None:
    found = (await send("GET", "/api/v1/componentstatuses")).body["items"]
    assert [i["metadata"]["name"] for i in found] == ["scheduler", "controller-manager", "etcd-0"]
    etcd = (await send("GET", "/api/v1/componentstatuses/etcd-0")).body["conditions"]
    assert etcd == [{"message": "ok", "status": "True", "type": "Healthy"}]
    assert (await send("GET", "/api/v1/componentstatuses/x")).code == 404


async def test_yaml_that_says_things_twice(send: Send) -> None:
    path = "/api/v1/namespaces/default/configmaps?dryRun=All&fieldValidation="
    strict = await send("POST", path + "Strict", TWICE, YAML)
    why = 'strict decoding error: yaml: unmarshal errors:\n  line 6: key "a" already set in map, unknown field "foo"'
    assert (strict.code, strict.body["message"].endswith(why)) == (400, True)
    told = await send("POST", path + "Warn", TWICE, YAML)
    assert told.warnings == ['299 - "line 6: key \\"a\\" already set in map"', '299 - "unknown field \\"foo\\""']
    silent = await send("POST", path + "Ignore", TWICE, YAML)
    assert (silent.code, silent.warnings, silent.body["data"]) == (201, [], {"a": "2"})


async def test_a_stateful_set_says_how_many_may_be_away(send: Send) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {"metadata": {"name": "s"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    made = await send("POST", "/apis/apps/v1/namespaces/default/statefulsets?dryRun=All", body)
    assert made.body["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 0, "maxUnavailable": 1}
