"""What is wrong is refused in upstream's words, nothing of it is stored, and the server goes on."""

import json
from typing import Any

import grpc
import pytest

from machinery.channels import channel
from machinery.testing import ControlPlane
from proto import resources_pb2 as pb

from .conftest import Send

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = "/api/v1/namespaces/default"
MAPS, PODS, SERVICES = f"{HERE}/configmaps", f"{HERE}/pods", f"{HERE}/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
YAML, PROTOBUF = "application/yaml", "application/vnd.kubernetes.protobuf"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
UNREADABLE = "the object provided is unrecognized (must be of type ConfigMap): "
PARSING = UNREADABLE + "couldn't get version/kind; json parse error: "
UNFIT = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
DEEP = b"[" * 100_000
LAUGHS = ["a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]"]
LAUGHS += [f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefghi", "bcdefghij", strict=True)]
MERGES = ["a: &a {x: 1}"]
MERGES += [f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}" for a, b in zip("abcdefghi", "bcdefghij", strict=True)]


def config_map(name: str = "bad", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def pod(**container: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i", **container}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": containers}}


def deployment(name: str = "bad", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    wanted = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": wanted}


def service(port: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": {"ports": [{"port": port}]}}


def raw(obj: dict[str, Any], placeholder: Any, text: str) -> bytes:
    """The document with a number as JSON libraries would not write it."""
    return json.dumps(obj).replace(json.dumps(placeholder), text, 1).encode()


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        (MAPS, b"", 400, PARSING + "unexpected end of JSON input (<empty>)"),
        (MAPS, b'{"kind":"ConfigMap"', 400, PARSING + 'unexpected end of JSON input ({"kind":"ConfigMap")'),
        (MAPS, b"[]", 400, PARSING + "json: cannot unmarshal array into Go value of type struct"),
        (MAPS, b"{}{}", 400, PARSING + "invalid character '{' after top-level value ({}{})"),
        (MAPS, b"\0\0\0", 400, PARSING + r"invalid character '\x00' looking for beginning of value (000000)"),
        (MAPS, b'{"data":{"a":"\xff"}}', 400, PARSING),
        (MAPS, b'{"data":' + DEEP, 400, PARSING + "exceeded max depth"),
        (MAPS, b'{"unknown":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, 400, PARSING + "exceeded max depth"),
        (MAPS, b"null", 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
        (MAPS, pod(), 400, 'Pod in version "v1" cannot be handled as a ConfigMap: '),
        (MAPS, config_map() | {"kind": "Foo"}, 400, 'Foo in version "v1" cannot be handled as a ConfigMap: no kind "Foo"'),
        (MAPS, config_map() | {"apiVersion": "v9"}, 400, "the API version in the data (v9) does not match"),
        (MAPS, config_map() | {"data": []}, 400, UNFIT + "json: cannot unmarshal array into Go struct field ConfigMap.data"),
        (MAPS, config_map(labels={"a": 1}), 400, UNFIT + "json: cannot unmarshal number into Go struct field ObjectMeta"),
        (MAPS, config_map(name="A b"), 422, 'ConfigMap "A b" is invalid: metadata.name: Invalid value: "A b": a lowercase'),
        (MAPS, config_map(name="a\0b"), 422, 'ConfigMap "a\0b" is invalid: metadata.name: Invalid value: "a\\u0000b"'),
        (MAPS, config_map(labels={"a b": "c"}), 422, 'ConfigMap "bad" is invalid: metadata.labels: Invalid value: "a b"'),
        (MAPS, config_map(namespace="other"), 400, "the namespace of the provided object does not match"),
        (MAPS, config_map(resourceVersion="1"), 400, "resourceVersion should not be set on objects to be created"),
        (MAPS, config_map() | {"data": {"a": "x" * 2**20 + "x"}}, 422, 'ConfigMap "bad" is invalid: []: Too long: '),
        (MAPS, config_map() | {"data": {"a": "x" * 3 * 2**20}}, 413, "Request entity too large: limit is 3145728"),
        (PODS, pod(args=["x" * 1_700_000]), 413, "etcdserver: request is too large"),
        ("/api/v1/namespaces/none/configmaps", config_map(), 404, 'namespaces "none" not found'),
        ("/api/v1/configmaps", config_map(namespace="default"), 405, "the server does not allow this method"),
        (f"{MAPS}?dryRun=Foo", config_map(), 422, 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value'),
        (f"{MAPS}?fieldValidation=no", config_map(), 422, 'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: '),
        (f"{MAPS}?fieldManager={'a' * 129}", config_map(), 422, 'CreateOptions.meta.k8s.io "" is invalid: fieldManager: '),
        (DEPLOYMENTS, raw(deployment(replicas=4711), 4711, "1e400"), 400, "Deployment in version"),
        (DEPLOYMENTS, raw(deployment(replicas=4711), 4711, "2147483648"), 400, "Deployment in version"),
        (DEPLOYMENTS, raw(deployment(replicas=4711), 4711, "1.5"), 400, "Deployment in version"),
        (DEPLOYMENTS, raw(deployment(replicas=4711), 4711, "NaN"), 400, "the object provided is unrecognized"),
        (DEPLOYMENTS, raw(deployment(replicas=4711), 4711, "1" * 10_000), 400, "Deployment in version"),
        (DEPLOYMENTS, deployment(replicas=-1), 422, 'Deployment.apps "bad" is invalid: spec.replicas: Invalid value: -1'),
        (SERVICES, service(-1), 422, 'Service "bad" is invalid: [spec.ports[0].port: Invalid value: -1'),
        (SERVICES, service(65536), 422, 'Service "bad" is invalid: [spec.ports[0].port: Invalid value: 65536'),
        (SERVICES, service("80"), 400, 'Service in version "v1" cannot be handled as a Service'),
        (PODS, pod(resources={"limits": {"cpu": "-1"}}), 422, 'Pod "bad" is invalid: [spec.containers[0].resources'),
        (PODS, pod(resources={"limits": {"cpu": "1e99999999999999"}}), 400, 'Pod in version "v1" cannot be handled'),
        (PODS, pod(resources={"limits": {"cpu": "1Zi"}}), 400, 'Pod in version "v1" cannot be handled'),
        (PODS, pod(ports=[{"containerPort": -1}]), 422, 'Pod "bad" is invalid: spec.containers[0].ports[0].containerPort'),
    ],
)  # fmt: skip
async def test_a_bad_object_is_not_created(send: Send, path: str, body: Any, code: int, message: str) -> None:
    answer = await send("POST", path, body)
    assert (answer.code, answer.body["message"][: len(message)]) == (code, message)
    collection = path.partition("?")[0].replace("namespaces/none/", "")
    found = await send("GET", collection)
    assert "bad" not in [item["metadata"]["name"] for item in found.body["items"]]


@pytest.mark.parametrize(
    ("media", "body", "code", "message"),
    [
        (YAML, DEEP, 400, UNREADABLE + "error converting YAML to JSON: yaml: exceeded max depth of 300"),
        (YAML, b"{a: " * 50_000, 400, UNREADABLE + "error converting YAML to JSON: yaml: exceeded max depth of 300"),
        (YAML, b"- " * 100_000, 400, UNREADABLE + "error converting YAML to JSON: yaml: exceeded max depth of 300"),
        (YAML, b"&a [*a]", 400, UNREADABLE + "error converting YAML to JSON: yaml: exceeded max depth"),
        (YAML, "\n".join(LAUGHS).encode(), 400, UNREADABLE + "error converting YAML to JSON: yaml: document contains ex"),
        (YAML, "\n".join(MERGES).encode(), 400, UNREADABLE + "error converting YAML to JSON: yaml: document contains ex"),
        (YAML, b"a: .inf", 400, UNREADABLE + "error converting YAML to JSON: json: unsupported value: inf"),
        (YAML, b"a:\n\t- b", 400, UNREADABLE + "error converting YAML to JSON: yaml: line 2: "),
        (YAML, b"!!python/object/apply:os.system [id]", 400, UNREADABLE + "error converting YAML to JSON: yaml: line 1: "),
        (PROTOBUF, b"abc", 400, UNREADABLE + "provided data does not appear to be a protobuf message"),
        (PROTOBUF, b"k8s\0\xff\xff\xff", 400, UNREADABLE + "unexpected EOF"),
        ("text/plain", b"{}", 415, "the body of the request was in an unknown format - accepted media types include: "),
    ],
)  # fmt: skip
async def test_bodies_in_other_forms(send: Send, media: str, body: bytes, code: int, message: str) -> None:
    answer = await send("POST", MAPS, body, media)
    assert (answer.code, answer.body["message"][: len(message)]) == (code, message)


@pytest.mark.parametrize(
    ("validation", "code", "warnings"),
    [("Strict", 400, 0), ("Warn", 201, 2), ("", 201, 2), ("Ignore", 201, 0)],
)
async def test_unknown_and_repeated_fields(send: Send, validation: str, code: int, warnings: int) -> None:
    body = b'{"metadata":{"name":"fields"},"data":{"a":"1","a":"2"},"more":1}'
    query = f"&fieldValidation={validation}" if validation else ""
    answer = await send("POST", f"{MAPS}?dryRun=All{query}", body)
    assert (answer.code, len(answer.warnings)) == (code, warnings)
    if code == 400:
        what = 'strict decoding error: duplicate field "data.a", unknown field "more"'
        assert answer.body["message"] == UNFIT + what


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (f"{MAPS}?limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (f"{MAPS}?timeoutSeconds=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (f"{MAPS}?continue=garbage", 400, "invalid continue token: continue key is not valid: "),
        (f"{MAPS}?resourceVersion=x", 400, 'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x"'),
        (f"{MAPS}?resourceVersionMatch=Exact", 422, 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: '),
        (f"{MAPS}?resourceVersion=0&resourceVersionMatch=Exact", 422, 'ListOptions.meta.k8s.io "" is invalid: '),
        (f"{MAPS}?resourceVersion=1&resourceVersionMatch=x", 422, 'ListOptions.meta.k8s.io "" is invalid: '),
        (f"{MAPS}?watch=1&sendInitialEvents=true", 422, 'ListOptions.meta.k8s.io "" is invalid: '),
        (f"{MAPS}?watch=1&resourceVersion=x", 400, 'invalid resource version: resourceVersion: Invalid value: "x": '),
        (f"{MAPS}?labelSelector=a%20in%20(", 400, "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        (f"{MAPS}?fieldSelector=spec.x%3Dy", 400, '"spec.x" is not a known field selector'),
        (f"{MAPS}/none", 404, 'configmaps "none" not found'),
        (f"{MAPS}/a%00b", 404, 'configmaps "a\0b" not found'),
        (f"{HERE}/foos", 404, "the server could not find the requested resource"),
        (f"{MAPS}/none/status", 404, "the server could not find the requested resource"),
        ("/api/v1/pods/x", 404, "the server could not find the requested resource"),
    ],
)  # fmt: skip
async def test_bad_questions(send: Send, path: str, code: int, message: str) -> None:
    answer = await send("GET", path)
    assert (answer.code, answer.body["message"][: len(message)]) == (code, message)


async def test_an_unknown_version_is_no_page_at_all(send: Send) -> None:
    assert (await send("GET", "/apis/apps/v1beta1/deployments"))[:2] == (404, "404 page not found\n")


@pytest.mark.parametrize(
    ("method", "what", "body", "media", "code", "message"),
    [
        ("PUT", "", config_map("other"), "", 400, "the name of the object (other) does not match the name on the URL (kept)"),
        ("PUT", "", {}, "", 400, "the name of the object (kept based on URL) was undeterminable: name must be provided"),
        ("PUT", "", config_map("kept", namespace="x"), "", 400, "the namespace of the object (x) does not match"),
        ("PUT", "", config_map("kept", resourceVersion="1"), "", 409, 'Operation cannot be fulfilled on configmaps "kept"'),
        ("PUT", "", config_map("kept", resourceVersion="x"), "", 400, 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("PATCH", "", {"metadata": {"resourceVersion": "x"}}, MERGE, 400, 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("PUT", "", config_map("kept", uid="x"), "", 409, 'Operation cannot be fulfilled on configmaps "kept": Precondition'),
        ("POST", "", config_map("kept"), "", 405, "the server does not allow this method on the requested resource"),
        ("PATCH", "", {}, "application/json", 415, "the body of the request was in an unknown format"),
        ("PATCH", "", b"{", MERGE, 400, "Invalid JSON Patch"),
        ("PATCH", "", DEEP, MERGE, 400, "Invalid JSON Patch"),
        ("PATCH", "", {"metadata": 1}, MERGE, 422, ' "" is invalid: patch: Invalid value: '),
        ("PATCH", "", {"metadata": {"labels": {"a": "b c"}}}, MERGE, 422, 'ConfigMap "kept" is invalid: metadata.labels: '),
        ("PATCH", "", {"metadata": {"resourceVersion": "1"}}, MERGE, 409, 'Operation cannot be fulfilled on configmaps "kept'),
        ("PATCH", "?force=true", {}, MERGE, 422, 'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden'),
        ("PATCH", "", [{"op": "remove", "path": "/none"}], JSON_PATCH, 422, "the server rejected our request due to an error"),
        ("PATCH", "", {}, JSON_PATCH, 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ("PATCH", "", [{"op": "test", "path": "/kind", "value": "x"}] * 10_001, JSON_PATCH, 413, "The allowed maximum"),
        ("PATCH", "", {"metadata": {"$retainKeys": 5}}, STRATEGIC, 400, "invalid patch format of retainKeys"),
        ("PATCH", "", {"$patch": "x"}, STRATEGIC, 400, "unknown patch type: x in map: map[$patch:x]"),
        ("PATCH", "", config_map("kept"), APPLY, 422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value'),
        ("PATCH", "?fieldManager=m", {"metadata": 1}, APPLY, 400, "invalid object type: /, Kind="),
        ("PATCH", "?fieldManager=m", config_map("kept") | {"x": 1}, APPLY, 400, "failed to create typed patch object"),
        ("PATCH", "?fieldManager=m", config_map("kept") | {"metadata": 1}, APPLY, 400, ""),
        ("PATCH", "?fieldManager=m", config_map("kept", managedFields=[{}]), APPLY, 400, "metadata.managedFields must be nil"),
        ("PATCH", "?fieldManager=m", b"[" * 40_000, APPLY, 400, UNREADABLE),
        ("DELETE", "", b"{", "", 400, "unable to decode DeleteOptions: "),
        ("DELETE", "", {"dryRun": ["x"]}, "", 422, 'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value'),
        ("DELETE", "", {"propagationPolicy": "x"}, "", 422, 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: '),
        ("DELETE", "", {"preconditions": {"uid": "x"}}, "", 409, 'Operation cannot be fulfilled on configmaps "kept": '),
        ("DELETE", "", {"preconditions": {"resourceVersion": "1"}}, "", 409, "Operation cannot be fulfilled on configmaps"),
        ("DELETE", "?gracePeriodSeconds=x", None, "", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)  # fmt: skip
async def test_an_object_survives_bad_changes(
    send: Send, method: str, what: str, body: Any, media: str, code: int, message: str
) -> None:
    await send("POST", MAPS, config_map("kept") | {"data": {"a": "b"}})
    before = (await send("GET", f"{MAPS}/kept")).body
    answer = await send(method, f"{MAPS}/kept{what}", body, media or "application/json")
    assert (answer.code, answer.body["message"][: len(message)]) == (code, message)
    assert (await send("GET", f"{MAPS}/kept")).body == before


async def test_what_cannot_change_stays(send: Send) -> None:
    await send("POST", DEPLOYMENTS, deployment("kept"))
    answer = await send("PATCH", f"{DEPLOYMENTS}/kept", {"spec": {"selector": {"matchLabels": {"c": "d"}}}}, MERGE)
    assert answer.code == 422
    assert "spec.selector" in [cause["field"] for cause in answer.body["details"]["causes"]]
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "kept"}, "spec": {"replicas": -1}}
    assert (await send("PUT", f"{DEPLOYMENTS}/kept/scale", scale)).code == 422
    scale |= {"metadata": {"name": "other"}, "spec": {"replicas": 1}}
    assert (await send("PUT", f"{DEPLOYMENTS}/kept/scale", scale)).code == 400


async def test_a_chunked_body_over_the_limit_is_refused(send: Send, plane: ControlPlane) -> None:
    async def chunks() -> Any:
        for _ in range(50):
            yield b" " * 100_000

    answer = await send("POST", MAPS, chunks())
    assert (answer.code, answer.body["reason"]) == (413, "RequestEntityTooLarge")


async def test_enormous_quantities_become_the_largest_there_is(send: Send) -> None:
    wanted = pod(resources={"limits": {"memory": "1e400", "cpu": "0.0000000000000000000001"}})
    answer = await send("POST", f"{PODS}?dryRun=All", wanted)
    assert answer.body["spec"]["containers"][0]["resources"]["limits"] == {"memory": str(2**63 - 1), "cpu": "1n"}


MAP = {"version": "v1", "plural": "configmaps", "namespace": "default"}


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("Create", pb.CreateRequest(resource=pb.Resource(**MAP), object=b"{"), "INVALID_ARGUMENT"),
        ("Create", pb.CreateRequest(resource=pb.Resource(**MAP), object=DEEP), "INVALID_ARGUMENT"),
        ("Create", pb.CreateRequest(resource=pb.Resource(), object=b"{}"), "NOT_FOUND"),
        ("Create", pb.CreateRequest(resource=pb.Resource(**MAP, subresource="x"), object=b"{}"), "UNIMPLEMENTED"),
        ("Update", pb.UpdateRequest(resource=pb.Resource(**MAP), object=b'{"metadata":{"name":"x"}}'), "NOT_FOUND"),
        ("Patch", pb.PatchRequest(resource=pb.Resource(**MAP, name="x"), type=9, patch=b"{}"), "INVALID_ARGUMENT"),
        ("Patch", pb.PatchRequest(resource=pb.Resource(**MAP, name="x"), type=3, patch=DEEP), "INVALID_ARGUMENT"),
        ("List", pb.ListRequest(resource=pb.Resource(**MAP), label_selector="a in ("), "INVALID_ARGUMENT"),
        ("List", pb.ListRequest(resource=pb.Resource(**MAP), resource_version_match="Exact"), "INVALID_ARGUMENT"),
        ("List", pb.ListRequest(resource=pb.Resource(**MAP), limit=-1), "OK"),
        ("Delete", pb.DeleteRequest(resource=pb.Resource(**MAP, name="x"), options=b'{"dryRun":["x"]}'), "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
async def test_bad_messages_through_the_grpc_door(plane: ControlPlane, method: str, request_: Any, code: str) -> None:
    async with channel(plane.access()) as grpc_channel:
        call = grpc_channel.unary_unary(
            f"/wherry.v1.Resources/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=bytes,
        )
        try:
            await call(request_, timeout=10)
            found = "OK"
        except grpc.aio.AioRpcError as e:
            found = e.code().name
    assert found == code


async def test_the_log_has_no_traceback(send: Send, plane: ControlPlane) -> None:
    assert (await send("GET", "/readyz")).code == 200
    assert "Traceback" not in (plane.pki.parent / "apiserver.log").read_text()
