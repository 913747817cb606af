"""The lab itself: brought up again, taken down with and without its data."""

import stat

import docker
import pytest

from wherry import bringing_up, certificates, cleaning, reporting
from wherry.labs import CLUSTER_LABEL, NODES, node_names
from wherry.progress import Progress


def start(lab, docker_engine):
    with Progress() as progress:
        bringing_up.start(lab, node_names(NODES), docker_engine, progress)


def ours(lab, docker_engine):
    """Everything on the engine that belongs to the lab, by kind."""
    labels = [f"com.docker.compose.project={lab.name}", f"{CLUSTER_LABEL}={lab.name}"]
    found = {"containers": [], "networks": [], "volumes": []}
    for label in labels:
        found["containers"] += docker_engine.containers.list(all=True, filters={"label": label})
        found["networks"] += docker_engine.networks.list(filters={"label": label})
        found["volumes"] += docker_engine.volumes.list(filters={"label": label})
    return {kind: [one.name for one in things] for kind, things in found.items()}


def test_coming_up_again_changes_nothing_that_runs(lab, docker_engine, kubectl, manifests):
    kubectl("apply", "-f", f"{manifests}/pod.yaml")
    kubectl("wait", "--for=condition=Ready", "pod/test5", "--timeout=30s")
    own = {"label": [f"{CLUSTER_LABEL}={lab.name}", f"io.kubernetes.pod.namespace={kubectl.namespace}"]}
    before = {c.id for c in docker_engine.containers.list(filters=own)}
    start(lab, docker_engine)
    assert before == {c.id for c in docker_engine.containers.list(filters=own)} != set()
    assert kubectl.json("get", "pod", "test5")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_kubeconfig_is_for_its_owner_only(lab):
    for path in (lab.kubeconfig, lab.grpc_kubeconfig):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_certificates_are_not_made_again(lab):
    assert certificates.write(lab.pki, node_names(NODES), lab.network) == []


def test_the_example_answers_from_all_three_pods(lab, docker_engine, everywhere, capsys):
    bringing_up.up(lab, None)
    told = capsys.readouterr().out
    assert "$ kubectl get all -o wide" in told
    assert "export KUBECONFIG=" in told
    names = {pod["metadata"]["name"] for pod in everywhere.json("get", "pods")["items"]}
    assert sum(name in told.split("$ curl", 1)[1] for name in names) == 3
    everywhere("delete", "-f", str(bringing_up.EXAMPLE))


def test_status_tells_every_part(lab, capsys):
    assert reporting.status(lab) == 0
    told = capsys.readouterr().out
    for part in ("etcd", "apiserver", "node3-kubelet"):
        assert part in told


def test_data_outlives_a_down_that_keeps_it(lab, docker_engine, kubectl, manifests):
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    kubectl("rollout", "status", "deployment/test1", "--timeout=60s")
    kinds = ("services", "deployments", "replicasets", "pods")

    def uids():
        return {kind: {o["metadata"]["uid"] for o in kubectl.json("get", kind)["items"]} for kind in kinds}

    before = uids()
    cleaning.down(lab, keep_data=True)
    assert ours(lab, docker_engine) == {"containers": [], "networks": [], "volumes": [f"{lab.name}_etcd"]}
    start(lab, docker_engine)
    assert uids() == before
    kubectl("rollout", "status", "deployment/test1", "--timeout=60s")


@pytest.mark.usefixtures("lab")
def test_down_leaves_nothing_behind(lab, docker_engine: docker.DockerClient, everywhere):
    everywhere("run", "left", "--image=hewon16/image1:1")
    everywhere("wait", "--for=condition=Ready", "pod/left", "--timeout=30s")
    cleaning.down(lab, keep_data=False)
    assert not any(ours(lab, docker_engine).values())
    assert not lab.data.exists()
    assert not lab.state.exists()
    cleaning.down(lab, keep_data=False)  # there is nothing left to do, and that is no trouble
    start(lab, docker_engine)
    assert everywhere.json("get", "pods")["items"] == []
