from typing import Any

import pytest

from api import kinds
from api.meta import encode
from apiserver.rules import MOST, decode, default, warnings

CONTAINER = {"name": "c", "image": "i"}
OLD_OS = 'deprecated since v1.14; use "kubernetes.io/os" instead'
HIDDEN = 'hides previous definition of "A", which may be dropped when using apply'


def said(kind: str, document: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    found = kinds.by_name("apps/v1" if kind == "Deployment" else "v1", kind)
    assert found is not None
    objects = []
    for each in (document, before):
        if each is None:
            objects.append(None)
            continue
        obj, _ = decode(found, encode({"apiVersion": found.api_version, "kind": kind, **each}))
        default(found, obj)
        objects.append(obj)
    return warnings(found, *objects)


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [CONTAINER], **spec}}


def container(**more: Any) -> dict[str, Any]:
    return pod(containers=[{**CONTAINER, **more}])


@pytest.mark.parametrize(
    ("document", "warning"),
    [
        (pod(nodeSelector={"beta.kubernetes.io/os": "linux"}), f"spec.nodeSelector[beta.kubernetes.io/os]: {OLD_OS}"),
        (container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), f"spec.containers[0].env[1]: {HIDDEN}"),
        (container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]), None),
        (container(ports=[{"containerPort": 80}, {"containerPort": 80, "name": "web"}]), "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"),
        (container(ports=[{"containerPort": 80}, {"containerPort": 80, "hostPort": 8}]), "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]"),
        (container(ports=[{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]), None),
        (container(resources={"requests": {"memory": "100m"}}), 'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer'),
        (pod(imagePullSecrets=[{"name": "a"}, {"name": "a"}]), 'spec.imagePullSecrets[1].name: duplicate name "a"'),
        (pod(hostAliases=[{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]), 'spec.hostAliases[1].ip: duplicate ip "1.2.3.4"'),
        (pod(volumes=[{"name": "v", "gitRepo": {"repository": "r"}}]), "spec.volumes[0].gitRepo: deprecated in v1.11"),
        (pod(topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]), "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"),
        (pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}), "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod"),
        (pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}]}}}), f"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is {OLD_OS}"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_pod(document, warning):
    assert said("Pod", document) == ([warning] if warning else [])


def test_thousands_of_ports_that_are_not_meant_to_be_one_are_not_compared():
    # Each with each, it takes minutes.
    ports = [{"containerPort": 80, "hostPort": 1 + n} for n in range(30_000)]
    assert said("Pod", container(ports=ports)) == []


def test_a_port_of_the_node_at_all_its_addresses_is_also_at_each():
    ports = [{"containerPort": 80, "hostPort": 8, "hostIP": ip} for ip in ("10.0.0.1", "", "10.0.0.2")]
    at = "spec.containers[0].ports"
    assert said("Pod", container(ports=ports)) == [
        f"{at}[1]: dangerously ambiguous port definition with {at}[0]",
        f"{at}[2]: dangerously ambiguous port definition with {at}[1]",
    ]


def test_no_more_is_said_than_anybody_would_read():
    assert len(said("Pod", container(ports=[{"containerPort": 80}] * 2000))) == MOST


def test_a_template_is_spoken_of_when_it_is_written_anew():
    template = pod(nodeSelector={"beta.kubernetes.io/os": "linux"})
    document = {"metadata": {"name": "d", "generation": 2}, "spec": {"template": template}}
    warning = f"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: {OLD_OS}"
    assert said("Deployment", document) == [warning]
    assert said("Deployment", document, document) == []
    assert said("Deployment", document, {**document, "metadata": {"name": "d", "generation": 1}}) == [warning]
    assert said("PodTemplate", {"metadata": {"name": "t"}, "template": template}) == [warning.removeprefix("spec.")]
