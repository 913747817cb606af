"""From a container of a pod spec to the engine's specification."""

import base64
from typing import Any

import pytest

from api.types import (
    Capabilities,
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    Lifecycle,
    ObjectFieldSelector,
    ObjectMeta,
    PodSecurityContext,
    ResourceFieldSelector,
    ResourceRequirements,
    SeccompProfile,
    Secret,
    SecretEnvSource,
    SecretKeySelector,
    SecurityContext,
    Service,
    ServicePort,
    ServiceSpec,
)  # fmt: skip
from kubelet.containers import security, specs
from kubelet.containers.environments import Sources, environment, expand, service_variables
from kubelet.containers.fields import ConfigError, Place, pod_field
from kubelet.containers.security import CAPABILITIES, KNOWN_TO_ENGINE, Powers
from kubelet.containers.specs import Host
from kubelet.runtime.interfaces import ADDRESS, BACKOFF, SANDBOX, Mount, Spec
from kubelet.syncing.plans import Start
from tests.unit.kubelet.builders import container, pause, pod

PLACE = Place("node1", "10.0.0.1", "10.244.1.2", {"cpu": "2", "memory": "1Gi"})
LIMITED = Powers(tuple(c for c in CAPABILITIES[:KNOWN_TO_ENGINE] if c != "SYS_RESOURCE"))
HOST = Host(cluster="c", node="node1", pause_image="pause:1", powers=LIMITED, memory=2**30)
MAP = ConfigMap(metadata=ObjectMeta(name="m"), data={"a": "1", "b": "2"})
SECRET = Secret(metadata=ObjectMeta(name="s"), data={"p": base64.b64encode(b"pw").decode()})
SOURCES = Sources({"m": MAP}, {"s": SECRET})


def env(
    *variables: EnvVar, sources: Sources = SOURCES, services: dict[str, str] | None = None, **fields: Any
) -> dict[str, str]:
    c = container(env=list(variables), **fields)
    return environment(pod(c, metadata={"labels": {"app": "x"}}), c, PLACE, sources, services or {})


def from_(**source: Any) -> EnvVar:
    return EnvVar(name="X", valueFrom=EnvVarSource(**source))


def made(c: Any = None, host: Host = HOST, attempt: int = 0, **spec: Any) -> Spec:
    c = c or container()
    return specs.container(host, pod(c, **spec), Start(c, attempt, 10.0), pause(), {"A": "1"}, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(NO)", "$(NO)"),
        ("$A", "$A"),
        ("a$", "a$"),
        ("$(A)-$(A)", "1-1"),
        ("$$", "$"),
    ],
)
def test_references_are_expanded_as_upstream_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_a_variable_may_use_those_before_it_only() -> None:
    found = env(EnvVar(name="B", value="$(C)"), EnvVar(name="C", value="c"), EnvVar(name="D", value="$(C)"))
    assert found == {"B": "$(C)", "C": "c", "D": "c"}


@pytest.mark.parametrize(
    ("path", "value"),
    [("metadata.name", "web"), ("metadata.namespace", "default"), ("metadata.uid", "u1"), ("metadata.labels['app']", "x"),
     ("metadata.annotations['none']", ""), ("spec.nodeName", "node1"), ("status.hostIP", "10.0.0.1"),
     ("status.podIP", "10.244.1.2")],
)  # fmt: skip
def test_a_pod_knows_itself(path: str, value: str) -> None:
    assert env(from_(fieldRef=ObjectFieldSelector(fieldPath=path))) == {"X": value}


def test_labels_read_as_lines_of_quoted_values() -> None:
    of = pod(metadata={"labels": {"b": 'say "hi"\n', "a": "1"}})
    assert pod_field(of, "metadata.labels", PLACE) == 'a="1"\nb="say \\"hi\\"\\n"'


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "1"),
        ("limits.cpu", "1m", "500"),
        ("requests.memory", "1Mi", "64"),
        ("limits.memory", "1Mi", "1024"),
    ],
)
def test_resources_are_told_in_units_of_the_divisor(resource: str, divisor: str | None, value: str) -> None:
    resources = ResourceRequirements(limits={"cpu": "500m"}, requests={"memory": "64Mi"})
    selector = ResourceFieldSelector(resource=resource, divisor=divisor)
    assert env(from_(resourceFieldRef=selector), resources=resources) == {"X": value}


def test_whole_config_maps_and_secrets_become_variables() -> None:
    sources = [
        EnvFromSource(prefix="P_", configMapRef=ConfigMapEnvSource(name="m")),
        EnvFromSource(secretRef=SecretEnvSource(name="s")),
        EnvFromSource(configMapRef=ConfigMapEnvSource(name="none", optional=True)),
    ]
    assert env(envFrom=sources) == {"P_a": "1", "P_b": "2", "p": "pw"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": ConfigMapKeySelector(name="none", key="a")}, 'configmap "none" not found'),
        ({"configMapKeyRef": ConfigMapKeySelector(name="m", key="z")}, "couldn't find key z in ConfigMap default/m"),
        ({"secretKeyRef": SecretKeySelector(name="none", key="a")}, 'secret "none" not found'),
        ({"secretKeyRef": SecretKeySelector(name="s", key="z")}, "couldn't find key z in Secret default/s"),
    ],
)
def test_what_is_missing_is_named_in_upstreams_words(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as missing:
        env(from_(**source))
    assert str(missing.value) == message


def test_what_is_optional_may_be_missing() -> None:
    assert env(from_(secretKeyRef=SecretKeySelector(name="none", key="a", optional=True))) == {}


def service(name: str, namespace: str = "default", ip: str = "10.96.0.5") -> Service:
    ports = [ServicePort(name="http", port=80, protocol="TCP"), ServicePort(name="dns", port=53, protocol="UDP")]
    return Service(metadata=ObjectMeta(name=name, namespace=namespace), spec=ServiceSpec(clusterIP=ip, ports=ports))


def test_services_of_the_namespace_and_the_api_servers_are_told() -> None:
    services = [
        service("my-db"),
        service("kubernetes", ip="10.96.0.1"),
        service("far", "other"),
        service("none", ip="None"),
    ]
    found = service_variables(pod(), services)
    assert {k: v for k, v in found.items() if k.startswith("MY_DB")} == {
        "MY_DB_SERVICE_HOST": "10.96.0.5",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_HTTP": "80",
        "MY_DB_SERVICE_PORT_DNS": "53",
        "MY_DB_PORT": "tcp://10.96.0.5:80",
        "MY_DB_PORT_80_TCP": "tcp://10.96.0.5:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "10.96.0.5",
        "MY_DB_PORT_53_UDP": "udp://10.96.0.5:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.96.0.5",
    }
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not any(k.startswith(("FAR", "NONE")) for k in found)
    assert {k.split("_")[0] for k in service_variables(pod(enableServiceLinks=False), services)} == {"KUBERNETES"}


def test_a_container_joins_its_sandbox() -> None:
    found = made(attempt=3)
    assert found.name == "k8s_main_web_default_u1_3"
    assert (found.network, found.ipc, found.pid) == ("container:pause0", "container:pause0", "")
    assert (found.labels[SANDBOX], found.labels[BACKOFF]) == ("pause0", "10")
    assert made(shareProcessNamespace=True).pid == "container:pause0"


def test_the_sandbox_alone_has_the_hostname_and_no_network_of_the_engines() -> None:
    found = specs.pause(HOST, pod(), 0, "10.244.1.2")
    assert (found.hostname, found.network, found.ipc) == ("web", "none", "shareable")
    assert found.labels[ADDRESS] == "10.244.1.2"


def test_a_pod_in_the_nodes_network_joins_the_container_that_holds_it() -> None:
    lab = Host(cluster="c", node="node1", pause_image="p", powers=LIMITED, memory=1, node_container="node1")
    assert made(host=lab, hostNetwork=True).network == "container:node1"
    assert specs.pause(lab, pod(hostNetwork=True), 0, "").network == "container:node1"
    assert made(hostNetwork=True).network == "host"


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], (None, None)),
        (["a"], [], (("a",), ())),
        ([], ["b"], (None, ("b",))),
        (["$(A)"], ["$(A)"], (("1",), ("1",))),
    ],
)
def test_command_and_args_stand_for_entrypoint_and_cmd(command: list[str], args: list[str], expected: Any) -> None:
    found = made(container(command=command, args=args))
    assert (found.entrypoint, found.arguments) == expected


def test_resources_become_shares_quota_and_bytes() -> None:
    found = made(
        container(resources=ResourceRequirements(limits={"cpu": "1500m", "memory": "64Mi"}, requests={"cpu": "250m"}))
    )
    assert (found.cpu_shares, found.cpu_quota, found.memory) == (256, 150_000, 64 * 2**20)
    assert (made().cpu_shares, made().cpu_quota, made().memory) == (2, 0, 0)
    limited = made(container(resources=ResourceRequirements(limits={"cpu": "1m"})))
    assert (limited.cpu_shares, limited.cpu_quota) == (2, 1000)


def test_who_dies_first_without_memory_depends_on_the_class() -> None:
    half = ResourceRequirements(requests={"memory": "512Mi"})
    full = ResourceRequirements(limits={"cpu": "1", "memory": "64Mi"})
    assert made().oom_score == 1000
    assert made(container(resources=half)).oom_score == 500
    # A negative score is refused by a machine that lacks CAP_SYS_RESOURCE.
    assert made(container(resources=full)).oom_score == 0
    able = Host(cluster="c", node="n", pause_image="p", powers=Powers(), memory=2**30)
    assert made(container(resources=full), able).oom_score == -997


def test_privileged_is_the_real_thing_where_the_machine_allows_it() -> None:
    c = container(securityContext=SecurityContext(privileged=True))
    able = Host(cluster="c", node="n", pause_image="p", powers=Powers(), memory=1)
    assert made(c, able).privileged
    weaker = made(c)
    assert not weaker.privileged
    assert weaker.all_devices
    assert weaker.capabilities_add == LIMITED.capabilities
    assert "systempaths=unconfined" in weaker.security


def test_capabilities_are_added_and_dropped_by_name() -> None:
    context = SecurityContext(capabilities=Capabilities(add=["CAP_NET_ADMIN"], drop=["ALL"]))
    found = made(container(securityContext=context))
    assert (found.capabilities_add, found.capabilities_drop) == (("NET_ADMIN",), ("ALL",))
    everything = SecurityContext(capabilities=Capabilities(add=["ALL"]))
    assert made(container(securityContext=everything)).capabilities_add == LIMITED.capabilities


def test_the_containers_own_settings_win_over_the_pods() -> None:
    context = PodSecurityContext(runAsUser=1, runAsGroup=2, supplementalGroups=[3], fsGroup=4)
    found = made(securityContext=context)
    assert (found.user, found.groups) == ("1:2", ("3", "4"))
    own = container(
        securityContext=SecurityContext(runAsUser=9, readOnlyRootFilesystem=True, allowPrivilegeEscalation=False)
    )
    found = made(own, securityContext=context)
    assert found.user == "9:2"
    assert found.read_only_root
    assert "no-new-privileges" in found.security


def test_seccomp_is_unconfined_unless_the_runtimes_profile_is_asked_for() -> None:
    assert "seccomp=unconfined" in made().security
    profile = SecurityContext(seccompProfile=SeccompProfile(type="RuntimeDefault"))
    assert made(container(securityContext=profile)).security == ()


@pytest.mark.parametrize(
    ("uid", "image_user", "refusal"),
    [(None, "", "image will run as root"), (None, "1000", ""), (None, "app", "non-numeric user (app)"), (5, "", ""),
     (0, "1000", "breaks non-root policy")],
)  # fmt: skip
def test_non_root_is_checked_against_what_would_run(uid: int | None, image_user: str, refusal: str) -> None:
    c = container(securityContext=SecurityContext(runAsNonRoot=True, runAsUser=uid))
    if not refusal:
        security.check_non_root(pod(c), c, image_user)
        return
    with pytest.raises(ConfigError, match="container") as refused:
        security.check_non_root(pod(c), c, image_user)
    assert refusal in str(refused.value)


def test_the_fingerprint_changes_with_the_image_alone() -> None:
    assert specs.fingerprint(container()) == specs.fingerprint(container(command=["x"]))
    assert specs.fingerprint(container()) != specs.fingerprint(container(image="app:2"))


def test_a_lifecycles_stop_signal_is_the_containers() -> None:
    assert made(container(lifecycle=Lifecycle(stopSignal="SIGQUIT"))).stop_signal == "SIGQUIT"


def test_a_mount_is_carried_as_it_is() -> None:
    c = container()
    mounts = (Mount("/a", "/b", read_only=True),)
    assert specs.container(HOST, pod(c), Start(c, 0, 0), pause(), {}, mounts).mounts == mounts


def test_a_pod_may_go_by_its_whole_name() -> None:
    of = pod(subdomain="web", setHostnameAsFQDN=True)
    assert specs.kernel_hostname(of, "cluster.local") == "web.web.default.svc.cluster.local"
    of.spec.subdomain = ""
    assert specs.kernel_hostname(of, "cluster.local") == "web"


def test_a_name_that_the_kernel_cannot_hold_is_refused() -> None:
    of = pod(subdomain="s" * 40, setHostnameAsFQDN=True)
    with pytest.raises(ConfigError, match=r"is too long \(64 characters is the max, 70 characters requested\)"):
        specs.kernel_hostname(of, "cluster.local")


def test_a_hostname_can_be_overridden() -> None:
    of = pod(subdomain="web", setHostnameAsFQDN=True, hostnameOverride="other")
    assert specs.hostname(of) == specs.kernel_hostname(of, "cluster.local") == "other"
