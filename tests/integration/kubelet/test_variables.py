"""The environment of containers."""

import base64
from typing import Any

from api.types import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    Container,
    EmptyDirVolumeSource,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    FileKeySelector,
    ObjectFieldSelector,
    ObjectMeta,
    ResourceFieldSelector,
    Secret,
    SecretEnvSource,
    SecretKeySelector,
    Service,
    ServicePort,
    ServiceSpec,
    Volume,
    VolumeMount,
)  # fmt: skip
from tests.integration.kubelet.asking import ended, identity, logs, ready, sh, waiting


def of_field(name: str, path: str) -> EnvVar:
    return EnvVar(name=name, valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath=path)))


async def test_variables_of_every_source(lab: Any, pods: Any, containers: Any) -> None:
    fields = {
        "NAME": "metadata.name", "SPACE": "metadata.namespace", "UID": "metadata.uid", "NODE": "spec.nodeName",
        "IP": "status.podIP", "IPS": "status.podIPs", "HOST": "status.hostIP", "HOSTS": "status.hostIPs",
        "ACCOUNT": "spec.serviceAccountName", "LABEL": "metadata.labels['a']",
    }  # fmt: skip
    env = [
        *(of_field(name, path) for name, path in fields.items()),
        EnvVar(name="FIRST", value="foo"),
        EnvVar(name="JOINED", value="$(FIRST);;$(p_k);;$$(FIRST);;$(NONE)"),
        EnvVar(name="KEY", valueFrom=EnvVarSource(configMapKeyRef=ConfigMapKeySelector(name="c", key="k"))),
        EnvVar(name="SECRET", valueFrom=EnvVarSource(secretKeyRef=SecretKeySelector(name="s", key="k"))),
        EnvVar(name="NOT", valueFrom=EnvVarSource(
            secretKeyRef=SecretKeySelector(name="none", key="k", optional=True))),
        EnvVar(name="CPUS", valueFrom=EnvVarSource(resourceFieldRef=ResourceFieldSelector(resource="limits.cpu"))),
    ]  # fmt: skip
    sources = [
        EnvFromSource(configMapRef=ConfigMapEnvSource(name="c")),
        EnvFromSource(prefix="p_", configMapRef=ConfigMapEnvSource(name="c")),
        EnvFromSource(prefix="s_", secretRef=SecretEnvSource(name="s")),
        EnvFromSource(configMapRef=ConfigMapEnvSource(name="none", optional=True)),
    ]
    command = ["sh", "-c", "echo '$(FIRST)' '$$(FIRST)' '$(NONE)' \"$@\"; sleep 1000", "sh"]
    main = containers(command=command, args=["$(KEY)", "$(JOINED)"], env=env, envFrom=sources)
    async with lab.kubelet():
        at = {"namespace": "default"}
        # Names that no shell could say are variables too, since upstream's 1.34.
        data = {"k": "text", "two.words-1": "odd"}
        await lab.client.create(ConfigMap(metadata=ObjectMeta(name="c", **at), data=data))
        hidden = base64.b64encode(b"hidden").decode()
        await lab.client.create(Secret(metadata=ObjectMeta(name="s", **at), data={"k": hidden}))
        spec = ServiceSpec(ports=[ServicePort(name="web", port=8765)], clusterIP="10.96.0.77")
        await lab.client.create(Service(metadata=ObjectMeta(name="foo-service", **at), spec=spec))
        made, alone = pods("web", main), pods("alone", enableServiceLinks=False)
        made.metadata.labels = {"a": "one"}
        await lab.create(made)
        await lab.create(alone)
        pod, alone = await lab.until("web", ready), await lab.until("alone", ready)
        found = dict(line.split("=", 1) for line in sh(lab, pod, "tr '\\0' '\\n' < /proc/1/environ").splitlines())
        ip = pod.status.podIP
        assert {name: found[name] for name in fields} == {
            "NAME": "web", "SPACE": "default", "UID": pod.metadata.uid, "NODE": "node1", "IP": ip, "IPS": ip,
            "HOST": "10.99.0.1", "HOSTS": "10.99.0.1", "ACCOUNT": "default", "LABEL": "one",
        }  # fmt: skip
        assert found["JOINED"] == "foo;;text;;$(FIRST);;$(NONE)"
        assert (found["k"], found["p_k"], found["s_k"], found["KEY"], found["SECRET"]) == (
            "text", "text", "hidden", "text", "hidden",
        )  # fmt: skip
        # A shell hands no such name on.
        assert "two.words-1=odd" in lab.engine.inspect_container(identity(pod))["Config"]["Env"]
        assert "NOT" not in found
        assert int(found["CPUS"]) >= 1
        assert logs(lab, pod) == "foo $(FIRST) $(NONE) text foo;;text;;$(FIRST);;$(NONE)\n"
        linked = {k: v for k, v in found.items() if k.startswith("FOO_SERVICE")}
        assert linked == {
            "FOO_SERVICE_SERVICE_HOST": "10.96.0.77", "FOO_SERVICE_SERVICE_PORT": "8765",
            "FOO_SERVICE_SERVICE_PORT_WEB": "8765", "FOO_SERVICE_PORT": "tcp://10.96.0.77:8765",
            "FOO_SERVICE_PORT_8765_TCP": "tcp://10.96.0.77:8765", "FOO_SERVICE_PORT_8765_TCP_PROTO": "tcp",
            "FOO_SERVICE_PORT_8765_TCP_PORT": "8765", "FOO_SERVICE_PORT_8765_TCP_ADDR": "10.96.0.77",
        }  # fmt: skip
        assert "FOO_SERVICE" not in sh(lab, alone, "env")


async def test_variables_come_from_a_file_of_an_init_container(lab: Any, pods: Any, containers: Any) -> None:
    """Upstream: FileKeyRef."""

    def of_file(name: str, key: str, *, optional: bool = False, volume: str = "v") -> EnvVar:
        ref = FileKeySelector(volumeName=volume, path="config.env", key=key, optional=optional)
        return EnvVar(name=name, valueFrom=EnvVarSource(fileKeyRef=ref))

    script = "for d in /v /m; do echo \"A='value 1' # why\" > $d/config.env; echo 'B=plain' >> $d/config.env; done"
    both = [VolumeMount(name="v", mountPath="/v"), VolumeMount(name="m", mountPath="/m")]
    before = containers("before", ["sh", "-c", script], volumeMounts=both)
    volumes = [
        Volume(name="v", emptyDir=EmptyDirVolumeSource()),
        Volume(name="m", emptyDir=EmptyDirVolumeSource(medium="Memory")),
    ]
    good = containers(env=[of_file("ONE", "A"), of_file("TWO", "A", volume="m")])
    bad = containers("bad", env=[of_file("ONE", "C")])
    async with lab.kubelet():
        await lab.create(pods("web", good, bad, initContainers=[before], volumes=volumes))
        pod = await lab.until("web", lambda pod: waiting(pod, "bad") == "CreateContainerConfigError")
        state = next(s.state.waiting for s in pod.status.containerStatuses if s.name == "bad")
        assert state.message == "couldn't parse env file"  # the line before says something that no value is
        assert sh(lab, pod, "echo $ONE, $TWO") == "value 1, value 1\n"


async def test_what_an_image_starts_is_replaced_as_far_as_the_pod_says(lab: Any, pods: Any, containers: Any) -> None:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/"""
    image = f"{lab.cluster}:entry"
    source = lab.engine.create_container("busybox:1.35")["Id"]
    lab.engine.commit(source, *image.split(":"), changes=['ENTRYPOINT ["echo", "entry"]', 'CMD ["of the image"]'])
    lab.engine.remove_container(source)
    cases = {
        "neither": ({}, "entry of the image\n"),
        "arguments": ({"args": ["of the pod"]}, "entry of the pod\n"),
        "command": ({"command": ["echo", "instead"]}, "instead\n"),
        "both": ({"command": ["echo", "instead"], "args": ["altogether"]}, "instead altogether\n"),
    }
    # `containers` gives a command of its own, which is the matter here.
    chosen = [Container(name=name, image=image, **fields) for name, (fields, _) in cases.items()]
    try:
        async with lab.kubelet():
            await lab.create(pods("web", *chosen, restartPolicy="Never"))
            pod = await lab.until("web", ended)
            assert {name: logs(lab, pod, name) for name in cases} == {n: told for n, (_, told) in cases.items()}
    finally:
        lab.engine.remove_image(image, force=True)
