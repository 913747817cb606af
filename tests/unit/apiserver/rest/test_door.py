import asyncio
import gzip
import io
import json

import aiohttp
import msgspec
import pytest
import yaml

from apiserver.rest.serving import Settings
from machinery.certificates import Authority, Subject
from tests.unit.apiserver.rest.conftest import served

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}


async def status_of(response):
    document = json.loads(await response.read())
    assert document["kind"] == "Status"
    return response.status, document.get("reason"), document["message"]


async def test_an_object_is_served_as_the_very_bytes_that_are_stored(rest, registry, make_pod):
    document = registry.add("pods", make_pod())
    async with rest.get("/api/v1/namespaces/default/pods/a") as response:
        assert (response.status, await response.read()) == (200, document)
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-cache, private"
        assert response.headers["Audit-Id"]


async def test_a_list_joins_the_stored_bytes(rest, registry, make_pod):
    registry.add("pods", make_pod("a"))
    registry.add("pods", make_pod("b", "other"))
    async with rest.get("/api/v1/pods?limit=500") as response:
        document = json.loads(await response.read())
    assert (document["kind"], document["apiVersion"], document["metadata"]) == (
        "PodList",
        "v1",
        {"resourceVersion": "42"},
    )
    assert [i["metadata"]["name"] for i in document["items"]] == ["a", "b"]
    assert registry.asked[0][1].limit == 500


async def test_large_answers_are_compressed_for_those_who_ask(rest, registry, make_pod):
    registry.add("pods", make_pod(status={"message": "x" * 200_000}))
    async with rest.get("/api/v1/pods", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(await response.read()))["kind"] == "PodList"
    async with rest.get("/api/v1/pods", headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers


async def test_an_object_comes_as_yaml_if_asked(rest, registry, make_pod):
    registry.add("pods", make_pod())
    async with rest.get("/api/v1/namespaces/default/pods/a", headers={"Accept": "application/yaml"}) as response:
        assert yaml.safe_load(await response.read())["metadata"]["name"] == "a"


async def test_an_object_comes_as_a_table_or_as_its_metadata_if_asked(rest, registry, make_pod):
    registry.add("pods", make_pod())
    async with rest.get("/api/v1/namespaces/default/pods/a", headers=TABLE) as response:
        table = json.loads(await response.read())
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["a", "0/1"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    async with rest.get("/api/v1/namespaces/default/pods/a", headers=PARTIAL) as response:
        assert set(json.loads(await response.read())) == {"kind", "apiVersion", "metadata"}


@pytest.mark.parametrize("path", ["/api/v1/namespaces/default/pods/a", "/api/v1/pods", "/api/v1/pods/b", "/api/v1"])
async def test_people_get_it_indented(rest, registry, make_pod, path):
    registry.add("pods", make_pod())
    async with rest.get(path, headers={"User-Agent": "curl/8.14.1"}) as response:
        shown = await response.text()
    assert shown == json.dumps(json.loads(shown), indent=2) + "\n"
    async with rest.get(f"{path}?pretty=false", headers={"User-Agent": "curl/8.14.1"}) as response:
        assert json.loads(await response.text()) == json.loads(shown)
        assert len(await response.text()) < len(shown)


async def test_what_is_not_there_is_not_found(rest):
    async with rest.get("/api/v1/namespaces/default/pods/x") as response:
        assert await status_of(response) == (404, "NotFound", 'pods "x" not found')
    async with rest.get("/api/v1/foos") as response:
        assert await status_of(response) == (404, "NotFound", "the server could not find the requested resource")


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v1/foos"), ("PUT", "/api/v1/pods"), ("POST", "/version")])
async def test_a_refusal_that_is_about_no_object_has_empty_details(rest, method, path):
    async with rest.request(method, path, json={}) as response:
        assert (await response.json())["details"] == {}


@pytest.mark.parametrize("path", ["/nothing", "/apis/nothing.io/v1/things", "/api/v9"])
async def test_a_path_that_means_nothing_is_a_plain_404(rest, path):
    async with rest.get(path) as response:
        assert (response.status, await response.text()) == (404, "404 page not found\n")
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/version", "/api/v1/pods"])
async def test_a_timeout_that_is_no_duration_is_refused(rest, path):
    async with rest.get(f"{path}?timeout=invalid") as response:
        refused = 'invalid timeout specified in the request URL - time: invalid duration "invalid"'
        assert await status_of(response) == (400, "BadRequest", refused)
    for timeout in ("3m", "0s", "1h2m3.5s"):
        async with rest.get(f"{path}?timeout={timeout}") as response:
            assert response.status == 200


async def test_a_method_that_is_not_there_is_not_allowed(rest):
    async with rest.post("/api/v1/pods", data=b"{}") as response:
        assert (await status_of(response))[:2] == (405, "MethodNotAllowed")


async def test_a_create_passes_the_body_on_and_says_201(rest, registry):
    registry.warnings = ['unknown field "spec.x"']
    async with rest.post(
        "/api/v1/namespaces/default/pods?fieldManager=me&dryRun=All", data=b'{"kind":"Pod"}'
    ) as response:
        assert (response.status, await response.read()) == (201, b'{"kind":"Pod"}')
        assert response.headers["Warning"] == r'299 - "unknown field \"spec.x\""'
    request, body = registry.asked[0]
    assert (body, request.dry_run, request.field_manager, request.field_validation) == (
        b'{"kind":"Pod"}',
        True,
        "me",
        "Warn",
    )


async def test_a_create_may_be_in_yaml(rest, registry):
    headers = {"Content-Type": "application/yaml"}
    async with rest.post("/api/v1/namespaces/default/pods", data=b"kind: Pod\n", headers=headers) as response:
        assert (response.status, await response.read()) == (201, b'{"kind":"Pod"}')


async def test_bodies_of_unknown_form_are_refused_by_name_of_what_is_read(rest, registry):
    headers = {"Content-Type": "application/cbor"}
    async with rest.post("/api/v1/namespaces/default/pods", data=b"k8s\0", headers=headers) as response:
        assert await status_of(response) == (
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    assert registry.asked == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_above_the_limit_is_too_large(rest, registry, chunked):
    async def pieces():
        for _ in range(4):
            yield b"x" * 1024 * 1024

    data = pieces() if chunked else io.BytesIO(b"x" * (3 * 1024 * 1024 + 1))
    async with rest.post("/api/v1/namespaces/default/pods", data=data) as response:
        assert await status_of(response) == (
            413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728",
        )  # fmt: skip
    assert registry.asked == []


async def test_a_body_at_the_limit_is_read(rest):
    async with rest.post("/api/v1/namespaces/default/pods", data=io.BytesIO(b"x" * (3 * 1024 * 1024))) as response:
        assert response.status == 201


async def test_an_update_says_whether_it_created(rest):
    for name, status in (("old", 200), ("new", 201)):
        async with rest.put(f"/api/v1/namespaces/default/pods/{name}", data=b"{}") as response:
            assert response.status == status


@pytest.mark.parametrize(
    ("media", "sort"),
    [
        ("application/merge-patch+json", "merge"),
        ("application/json-patch+json", "json"),
        ("application/strategic-merge-patch+json", "strategic"),
        ("application/apply-patch+yaml", "apply"),
    ],
)
async def test_a_patch_is_of_the_sort_that_its_media_type_says(rest, registry, media, sort):
    path = "/api/v1/namespaces/default/pods/a?fieldManager=me"
    body = b"a: 1" if sort == "apply" else b'{"a":1}'
    async with rest.patch(path, data=body, headers={"Content-Type": media}) as response:
        assert response.status == 200
    assert registry.asked[0][1:] == (b'{"a":1}', sort)


async def test_a_patch_of_unknown_sort_is_refused(rest):
    async with rest.patch(
        "/api/v1/namespaces/default/pods/a", data=b"{}", headers={"Content-Type": "application/json"}
    ) as r:
        assert (await status_of(r))[:2] == (415, "UnsupportedMediaType")


async def test_a_delete_that_is_not_done_is_only_accepted_where_dependents_were_not_to_be_orphaned(rest):
    for query, code in (("", 200), ("?propagationPolicy=Foreground", 200), ("?orphanDependents=false", 202)):
        async with rest.delete(f"/api/v1/namespaces/default/pods/a{query}") as response:
            assert response.status == code
    body = b'{"kind":"DeleteOptions","apiVersion":"v1","orphanDependents":false}'
    async with rest.delete("/api/v1/namespaces/default/pods/a", data=body) as response:
        assert response.status == 202


async def test_a_configuration_in_braces_may_still_be_yaml(rest, registry):
    apply = {"Content-Type": "application/apply-patch+yaml"}
    for text, repeated in ((b'{"a": 1,}', []), (b'{\n\t"a": 2,\n\t"a": 1\n}', ['line 3: key "a" already set in map'])):
        url = "/api/v1/namespaces/default/pods/a?fieldManager=me"
        async with rest.patch(url, data=text, headers=apply) as response:
            assert response.status == 200
        request, body, _ = registry.asked[-1]
        assert (json.loads(body), request.repeated) == ({"a": 1}, repeated)


async def test_a_collection_can_be_deleted(rest, registry):
    async with rest.delete("/api/v1/namespaces/default/pods?labelSelector=a") as response:
        assert json.loads(await response.read())["kind"] == "PodList"
    assert registry.asked[0][1].label_selector == "a"


async def test_a_defect_is_logged_and_not_shown(rest, caplog):
    async with rest.post("/api/v1/namespaces/default/pods", data=b"explode", headers={"Audit-Id": "one"}) as response:
        status, reason, message = await status_of(response)
    assert (status, reason) == (500, "InternalError")
    assert "secret" not in message
    assert "ZeroDivisionError" in caplog.text
    assert "one" in caplog.text


async def test_a_bad_token_is_unauthorized_and_nobody_may_look(registry):
    async with (
        served(registry) as running,
        aiohttp.ClientSession(f"http://127.0.0.1:{await running.bound()}") as session,
    ):
        async with session.get("/api/v1/pods", headers={"Authorization": "Bearer bad"}) as response:
            assert await status_of(response) == (401, "Unauthorized", "Unauthorized")
        async with session.get("/api/v1") as response:
            assert (await status_of(response))[2] == 'forbidden: User "system:anonymous" cannot get path "/api/v1"'
        async with session.get("/version") as response:
            assert response.status == 200


async def test_a_client_certificate_is_asked_for_but_not_demanded(registry, make_pod, tmp_path):
    registry.add("pods", make_pod())
    authority = Authority.create("test")
    server = authority.issue(Subject("server", (), ("127.0.0.1",)))
    client = authority.issue(Subject("admin", ("system:masters",)))
    for name, pair in (("ca", authority.pair), ("server", server), ("client", client)):
        (tmp_path / f"{name}.crt").write_bytes(pair.certificate)
        (tmp_path / f"{name}.key").write_bytes(pair.key)
    settings = Settings("127.0.0.1", 0, tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "ca.crt")
    import ssl

    known, unknown = (ssl.create_default_context(cafile=str(tmp_path / "ca.crt")) for _ in range(2))
    known.load_cert_chain(tmp_path / "client.crt", tmp_path / "client.key")
    async with served(registry, settings) as running, aiohttp.ClientSession() as session:
        url = f"https://127.0.0.1:{await running.bound()}"
        async with session.get(f"{url}/api/v1/namespaces/default/pods/a", ssl=known) as response:
            assert response.status == 200
        async with session.get(f"{url}/healthz", ssl=unknown) as response:
            assert await response.text() == "ok"


async def test_health_tells_what_is_missing(registry):
    ready = False
    async with (
        served(registry, checks={"etcd": lambda: ready}) as running,
        aiohttp.ClientSession(f"http://127.0.0.1:{await running.bound()}") as session,
    ):
        async with session.get("/livez") as response:
            assert (response.status, await response.text()) == (200, "ok")
        async with session.get("/readyz") as response:
            assert response.status == 500
            failed = "[-]etcd failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n"
            assert await response.text() == f"[+]ping ok\n[+]log ok\n{failed}"
        ready = True
        async with session.get("/readyz?verbose") as response:
            assert await response.text() == "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n"
        async with session.get("/readyz?verbose&exclude=etcd&exclude=x") as response:
            excluded = (
                '[+]etcd excluded: ok\n[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for "x"'
            )
            assert await response.text() == f"[+]ping ok\n[+]log ok\n{excluded}\nreadyz check passed\n"
        async with session.get("/readyz/etcd", headers={"Authorization": "Bearer good"}) as response:
            assert await response.text() == "ok"
        async with session.get("/readyz/etcd") as response:
            assert response.status == 403


async def test_a_server_that_leaves_answers_on_but_is_not_ready(registry):
    async with (
        served(registry) as running,
        aiohttp.ClientSession(f"http://127.0.0.1:{await running.bound()}") as session,
    ):
        async with session.get("/version") as response:
            assert "Connection" not in response.headers
        running.leave()
        for page, status in (("/livez", 200), ("/healthz", 200), ("/readyz", 500), ("/version", 200)):
            async with session.get(page) as response:
                assert (response.status, response.headers["Connection"]) == (status, "close")
        async with session.get("/readyz") as response:
            assert "[-]shutdown failed: reason withheld" in await response.text()


async def test_many_requests_on_one_connection_do_not_mix(rest, registry, make_pod):
    for n in range(50):
        registry.add("pods", make_pod(f"p{n}"))

    async def name(n):
        async with rest.get(f"/api/v1/namespaces/default/pods/p{n}") as response:
            return msgspec.json.decode(await response.read())["metadata"]["name"]

    assert await asyncio.gather(*(name(n) for n in range(50))) == [f"p{n}" for n in range(50)]
