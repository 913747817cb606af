"""The official Python client: https://github.com/kubernetes-client/python"""

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

from .clusters import Cluster


@pytest.fixture(scope="module")
def api(running: Cluster) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(running.kubeconfig)) as made:
        yield made


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture(scope="module")
def dyn(api: client.ApiClient) -> dynamic.DynamicClient:
    return dynamic.DynamicClient(api)


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": name}), data=data)


def template(app: str) -> client.V1PodTemplateSpec:
    main = client.V1Container(name="main", image="busybox", command=["sleep", "10000"])
    return client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": app}), spec=client.V1PodSpec(containers=[main])
    )


def meta(name: str) -> client.V1ObjectMeta:
    return client.V1ObjectMeta(name=name)


def test_config_maps_from_creation_to_deletion(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, config_map("one", a="1"))
    assert (made.metadata.uid, made.data) == (made.metadata.uid, {"a": "1"})
    patched = core.patch_namespaced_config_map("one", namespace, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    patched.data = {"c": "3"}
    assert core.replace_namespaced_config_map("one", namespace, patched).data == {"c": "3"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("one", namespace, made)
    assert (stale.value.status, "the object has been modified" in stale.value.body) == (409, True)
    assert [o.metadata.name for o in core.list_namespaced_config_map(namespace, label_selector="app=one").items] == [
        "one"
    ]
    assert core.delete_namespaced_config_map("one", namespace)["status"] == "Success"
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("one", namespace)
    assert (gone.value.status, gone.value.reason) == (404, "Not Found")
    assert '"reason":"NotFound"' in gone.value.body.replace(" ", "")


def test_refusals_say_which_field_is_wrong(core: client.CoreV1Api, namespace: str) -> None:
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_service(
            namespace,
            client.V1Service(metadata=meta("a"), spec=client.V1ServiceSpec(ports=[client.V1ServicePort(port=70000)])),
        )
    told = yaml.safe_load(refused.value.body)
    assert (refused.value.status, told["reason"], told["details"]["causes"][0]["field"]) == (
        422,
        "Invalid",
        "spec.ports[0].port",
    )


def test_every_kind_of_workload(api: client.ApiClient, namespace: str) -> None:
    apps, batch = client.AppsV1Api(api), client.BatchV1Api(api)
    selector = client.V1LabelSelector(match_labels={"app": "a"})
    spec = client.V1DeploymentSpec(replicas=0, selector=selector, template=template("a"))
    made = apps.create_namespaced_deployment(namespace, client.V1Deployment(metadata=meta("a"), spec=spec))
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    assert apps.patch_namespaced_deployment_scale("a", namespace, {"spec": {"replicas": 1}}).spec.replicas == 1
    assert apps.read_namespaced_deployment_status("a", namespace).metadata.name == "a"
    sets = client.V1StatefulSetSpec(replicas=0, selector=selector, template=template("a"), service_name="a")
    apps.create_namespaced_stateful_set(namespace, client.V1StatefulSet(metadata=meta("a"), spec=sets))
    daemons = client.V1DaemonSetSpec(selector=selector, template=template("a"))
    apps.create_namespaced_daemon_set(namespace, client.V1DaemonSet(metadata=meta("a"), spec=daemons))
    once = template("j")
    once.spec.restart_policy = "Never"
    job = client.V1JobSpec(template=once, suspend=True)
    batch.create_namespaced_job(namespace, client.V1Job(metadata=meta("a"), spec=job))
    cron = client.V1CronJobSpec(schedule="0 0 1 1 *", job_template=client.V1JobTemplateSpec(spec=job))
    batch.create_namespaced_cron_job(namespace, client.V1CronJob(metadata=meta("a"), spec=cron))
    for found in (
        apps.list_namespaced_deployment(namespace),
        apps.list_namespaced_stateful_set(namespace),
        apps.list_namespaced_daemon_set(namespace),
        batch.list_namespaced_job(namespace),
        batch.list_namespaced_cron_job(namespace),
    ):
        assert [item.metadata.name for item in found.items] == ["a"]


def test_the_other_groups(api: client.ApiClient, namespace: str) -> None:
    net, policy, rbac = client.NetworkingV1Api(api), client.PolicyV1Api(api), client.RbacAuthorizationV1Api(api)
    backend = client.V1IngressBackend(
        service=client.V1IngressServiceBackend(name="s", port=client.V1ServiceBackendPort(number=80))
    )
    net.create_namespaced_ingress(
        namespace, client.V1Ingress(metadata=meta("i"), spec=client.V1IngressSpec(default_backend=backend))
    )
    net.create_namespaced_network_policy(
        namespace,
        client.V1NetworkPolicy(
            metadata=meta("n"),
            spec=client.V1NetworkPolicySpec(pod_selector=client.V1LabelSelector(), policy_types=["Ingress"]),
        ),
    )
    policy.create_namespaced_pod_disruption_budget(
        namespace,
        client.V1PodDisruptionBudget(
            metadata=meta("b"),
            spec=client.V1PodDisruptionBudgetSpec(
                max_unavailable="50%", selector=client.V1LabelSelector(match_labels={"a": "b"})
            ),
        ),
    )
    rule = client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])
    rbac.create_namespaced_role(namespace, client.V1Role(metadata=meta("r"), rules=[rule]))
    subject = client.RbacV1Subject(kind="User", name="jane", api_group="rbac.authorization.k8s.io")
    reference = client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="r")
    rbac.create_namespaced_role_binding(
        namespace, client.V1RoleBinding(metadata=meta("rb"), subjects=[subject], role_ref=reference)
    )
    attributes = client.V1ResourceAttributes(namespace=namespace, resource="pods", verb="get")
    review = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(user="jane", resource_attributes=attributes)
    )
    assert client.AuthorizationV1Api(api).create_subject_access_review(review).status.allowed
    target = client.V2CrossVersionObjectReference(kind="Deployment", name="a", api_version="apps/v1")
    scaler = client.V2HorizontalPodAutoscalerSpec(max_replicas=3, scale_target_ref=target)
    made = client.AutoscalingV2Api(api).create_namespaced_horizontal_pod_autoscaler(
        namespace, client.V2HorizontalPodAutoscaler(metadata=meta("h"), spec=scaler)
    )
    assert made.spec.min_replicas == 1
    assert client.VersionApi(api).get_code().major == "1"
    assert "apps" in [g.name for g in client.ApisApi(api).get_api_versions().groups]
    assert client.StorageV1Api(api).list_storage_class().items is not None
    assert [n.metadata.name for n in client.CoreV1Api(api).list_node().items] == ["node1"]


def test_watches_resume_and_end(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("a"))
    core.create_namespaced_config_map(namespace, config_map("b"))
    watcher = watch.Watch()
    seen = []
    for event in watcher.stream(
        core.list_namespaced_config_map, namespace, field_selector="metadata.name!=kube-root-ca.crt", timeout_seconds=5
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            core.delete_namespaced_config_map("a", namespace)
        if event["type"] == "DELETED":
            watcher.stop()
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    since = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.patch_namespaced_config_map("b", namespace, {"data": {"x": "y"}})
    again = [
        (e["type"], e["object"].data)
        for e in watch.Watch().stream(
            core.list_namespaced_config_map,
            namespace,
            resource_version=since,
            timeout_seconds=1,
            allow_watch_bookmarks=True,
        )
        if e["type"] != "BOOKMARK"
    ]
    assert again == [("MODIFIED", {"x": "y"})]


def test_lists_in_pages(core: client.CoreV1Api, namespace: str) -> None:
    for number in range(5):
        core.create_namespaced_config_map(namespace, config_map(f"c{number}"))
    names: list[str] = []
    more: str | None = None
    while True:
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=more)
        names += [item.metadata.name for item in page.items]
        more = page.metadata._continue
        if not more:
            break
    assert names == ["c0", "c1", "c2", "c3", "c4", "kube-root-ca.crt"]


def test_logs_exec_and_attach(core: client.CoreV1Api, namespace: str, pod: str) -> None:
    assert core.read_namespaced_pod_log(pod, namespace) == "hello\n"
    assert core.read_namespaced_pod_log(pod, namespace, tail_lines=1, timestamps=True).endswith(" hello\n")
    said = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["echo", "from", "within"],
        stderr=True, stdin=False, stdout=True, tty=False,
    )  # fmt: skip
    assert said == "from within\n"
    talk = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["cat"],
        stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False,
    )  # fmt: skip
    talk.write_stdin("there and back\n")
    assert talk.readline_stdout(timeout=5) == "there and back"
    talk.close()
    ended = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["sh", "-c", "exit 7"],
        stderr=True, stdin=False, stdout=True, tty=False, _preload_content=False,
    )  # fmt: skip
    ended.run_forever(timeout=5)
    assert ended.returncode == 7
    with pytest.raises(ApiException) as refused:
        stream(core.connect_get_namespaced_pod_exec, "none", namespace, command=["true"], stdout=True)
    assert refused.value.status == 404 or "404" in str(refused.value)


def test_a_forwarded_port_carries_both_ways(core: client.CoreV1Api, namespace: str, pod: str, echo_port: int) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(echo_port))
    with contextlib.closing(forward.socket(echo_port)) as connection:
        connection.settimeout(5)
        connection.sendall(b"one\n")
        assert connection.recv(100) == b"echo one\n"
        connection.sendall(b"two\n")
        assert connection.recv(100) == b"echo two\n"
    assert forward.error(echo_port) is None


def test_server_side_apply_by_the_dynamic_client(dyn: dynamic.DynamicClient, namespace: str) -> None:
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")

    def mine(owner: str, force: bool = False, **data: str) -> Any:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data}
        return dyn.server_side_apply(maps, body=body, namespace=namespace, field_manager=owner, force_conflicts=force)

    assert mine("me", a="1").data.to_dict() == {"a": "1"}
    assert mine("you", b="2").data.to_dict() == {"a": "1", "b": "2"}
    with pytest.raises(dynamic.exceptions.ConflictError) as conflict:
        mine("you", a="3", b="2")
    assert 'conflict with \\"me\\"' in str(conflict.value.body) or 'conflict with "me"' in str(conflict.value.body)
    assert mine("you", True, a="3", b="2").data.to_dict() == {"a": "3", "b": "2"}
    managers = {m.manager: m.operation for m in maps.get(name="s", namespace=namespace).metadata.managedFields}
    assert managers == {"you": "Apply"}


@pytest.mark.parametrize(
    ("media", "patch"),
    [
        ("application/merge-patch+json", {"data": {"a": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"a": "2"}}),
        ("application/json-patch+json", [{"op": "replace", "path": "/data/a", "value": "2"}]),
    ],
)
def test_patches_of_every_type(dyn: dynamic.DynamicClient, namespace: str, media: str, patch: Any) -> None:
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"a": "1"}}
    maps.create(body=body, namespace=namespace)
    assert maps.patch(name="p", namespace=namespace, body=patch, content_type=media).data.a == "2"


def test_discovery_by_the_dynamic_client(dyn: dynamic.DynamicClient, running: Cluster, tmp_path: Path) -> None:
    assert dyn.version["kubernetes"]["major"] == "1"
    found = dyn.resources.search(kind="Deployment")
    assert [r.group_version for r in found if not r.kind.endswith("List")] == ["apps/v1"]
    assert dyn.resources.get(short_names=["deploy"]).name == "deployments"
    cached = tmp_path / "discovery.json"
    again = dynamic.DynamicClient(config.new_client_from_config(str(running.kubeconfig)), cache_file=str(cached))
    assert again.resources.get(api_version="batch/v1", kind="Job").namespaced
    assert cached.exists()


def test_watches_by_the_dynamic_client(dyn: dynamic.DynamicClient, namespace: str) -> None:
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
    maps.create(body={"metadata": {"name": "w"}}, namespace=namespace)
    events = maps.watch(namespace=namespace, field_selector="metadata.name=w", timeout=1)
    assert [(e["type"], e["object"].metadata.name) for e in events] == [("ADDED", "w")]


def test_a_file_of_several_documents(api: client.ApiClient, namespace: str) -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}], selector: {app: web}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: b}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: cron}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}}
"""
    documents = list(yaml.safe_load_all(io.StringIO(text)))
    utils.create_from_yaml(api, yaml_objects=documents, namespace=namespace)
    assert client.CoreV1Api(api).read_namespaced_secret("s", namespace).data == {"a": "Yg=="}
    with pytest.raises(utils.FailToCreateError) as twice:
        utils.create_from_yaml(api, yaml_objects=documents, namespace=namespace)
    assert "AlreadyExists" in str(twice.value)


def test_a_pod_reads_with_the_token_it_is_given(
    core: client.CoreV1Api, running: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)
    token = core.create_namespaced_service_account_token(
        "default", namespace, client.AuthenticationV1TokenRequest(spec=spec)
    ).status.token
    host, port = running.plane.rest.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    (tmp_path / "token").write_text(token)
    (tmp_path / "ca.crt").write_bytes(running.plane.access().ca)
    own = client.Configuration()
    config.incluster_config.InClusterConfigLoader(
        token_filename=str(tmp_path / "token"), cert_filename=str(tmp_path / "ca.crt")
    ).load_and_set(own)
    with client.ApiClient(own) as inside:
        who = client.AuthenticationV1Api(inside).create_self_subject_review(client.V1SelfSubjectReview())
        assert who.status.user_info.username == f"system:serviceaccount:{namespace}:default"
        with pytest.raises(ApiException) as refused:
            client.CoreV1Api(inside).list_namespaced_pod(namespace)
    assert (refused.value.status, "cannot list resource" in refused.value.body) == (403, True)


def test_evicting_and_deleting_pods(core: client.CoreV1Api, namespace: str, pod: str) -> None:
    since = core.list_namespaced_pod(namespace).metadata.resource_version
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace=namespace))
    core.create_namespaced_pod_eviction(pod, namespace, eviction)
    ended = watch.Watch().stream(core.list_namespaced_pod, namespace, resource_version=since, timeout_seconds=10)
    assert "DELETED" in (event["type"] for event in ended)
    assert core.list_namespaced_pod(namespace).items == []


def test_one_of_two_candidates_leads(api: client.ApiClient, namespace: str) -> None:
    led = threading.Event()
    lock = LeaseLock("leader", namespace, "me")
    lock.api_instance = client.CoordinationV1Api(api)

    def lead() -> None:
        led.set()

    settings = electionconfig.Config(
        lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=lead, onstopped_leading=lambda: None
    )
    election = leaderelection.LeaderElection(settings)
    threading.Thread(target=election.run, daemon=True).start()
    assert led.wait(10)
    assert client.CoordinationV1Api(api).read_namespaced_lease("leader", namespace).spec.holder_identity == "me"


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.python.example.com}
spec:
  group: python.example.com
  names: {kind: CronTab, plural: crontabs, singular: crontab, shortNames: [ct]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cron]
            properties: {cron: {type: string}, replicas: {type: integer, minimum: 0, default: 1}}
          status: {type: object, properties: {replicas: {type: integer}}}
"""


def test_custom_objects(api: client.ApiClient, running: Cluster, namespace: str) -> None:
    utils.create_from_yaml(api, yaml_objects=[yaml.safe_load(CRD)])
    running.kubectl("wait", "--for=condition=Established", "crd/crontabs.python.example.com", "--timeout=30s")
    where = {"group": "python.example.com", "version": "v1", "namespace": namespace, "plural": "crontabs"}
    custom = client.CustomObjectsApi(api)
    body = {"apiVersion": "python.example.com/v1", "kind": "CronTab", "metadata": {"name": "c"}, "spec": {"cron": "*"}}
    made = custom.create_namespaced_custom_object(**where, body=body)
    assert made["spec"] == {"cron": "*", "replicas": 1}
    patched = custom.patch_namespaced_custom_object(**where, name="c", body={"spec": {"cron": "5"}})
    assert patched["metadata"]["generation"] == 2
    status = custom.patch_namespaced_custom_object_status(**where, name="c", body={"status": {"replicas": 1}})
    assert (status["status"], status["spec"]["cron"]) == ({"replicas": 1}, "5")
    assert custom.get_namespaced_custom_object_scale(**where, name="c")["spec"]["replicas"] == 1
    with pytest.raises(ApiException) as refused:
        custom.create_namespaced_custom_object(**where, body=body | {"metadata": {"name": "d"}, "spec": {"cron": 5}})
    assert (refused.value.status, "spec.cron" in refused.value.body) == (422, True)
    dyn = dynamic.DynamicClient(api)
    tabs = dyn.resources.get(api_version="python.example.com/v1", kind="CronTab")
    applied = dyn.server_side_apply(
        tabs, body=body | {"metadata": {"name": "s"}}, namespace=namespace, field_manager="me"
    )
    assert applied.spec.replicas == 1
    events = watch.Watch().stream(custom.list_namespaced_custom_object, **where, timeout_seconds=1)
    assert {e["object"]["metadata"]["name"] for e in events} == {"c", "s"}
    assert custom.delete_namespaced_custom_object(**where, name="c")["status"] == "Success"
    client.ApiextensionsV1Api(api).delete_custom_resource_definition("crontabs.python.example.com")
