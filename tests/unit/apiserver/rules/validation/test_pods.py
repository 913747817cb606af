import pytest

from tests.unit.apiserver.rules.manifests import DROP, faults, update_faults

C = "spec/containers/0"
PATH = "spec.containers[0]"
POLICIES = 'supported values: "Always", "IfNotPresent", "Never"'
DNS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
VOLUME = {"spec/volumes": [{"name": "v", "emptyDir": {}}]}


def file_of(volume, **fields):
    return {"name": "a", "valueFrom": {"fileKeyRef": {"volumeName": volume, "path": "f", "key": "k"} | fields}}


def mount(**fields):
    return VOLUME | {f"{C}/volumeMounts": [{"name": "v", "mountPath": "/v"} | fields]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/containers": []}, ["spec.containers: Required value"]),
        ({f"{C}/name": DROP}, [f"{PATH}.name: Required value"]),
        ({f"{C}/name": "A"}, [f'{PATH}.name: Invalid value: "A": {DNS_LABEL}']),
        ({f"{C}/image": DROP}, [f"{PATH}.image: Required value"]),
        ({f"{C}/image": " i"}, [f'{PATH}.image: Invalid value: " i": must not have leading or trailing whitespace']),
        ({f"{C}/imagePullPolicy": "x"}, [f'{PATH}.imagePullPolicy: Unsupported value: "x": {POLICIES}']),
        ({"spec/containers": [{"name": "c", "image": "i"}] * 2}, ['spec.containers[1].name: Duplicate value: "c"']),
        ({"spec/initContainers": [{"name": "c", "image": "i"}]}, ['spec.initContainers[0].name: Duplicate value: "c"']),
        ({f"{C}/ports": [{"containerPort": 70000}]}, [f"{PATH}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        ({f"{C}/ports": [{}]}, [f"{PATH}.ports[0].containerPort: Required value"]),
        ({f"{C}/ports": [{"containerPort": 1, "protocol": "x"}]}, [f'{PATH}.ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"']),
        ({f"{C}/ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}, [f'{PATH}.ports[1].name: Duplicate value: "a"']),
        ({f"{C}/ports": [{"containerPort": 1, "name": "x" * 16}]}, [f'{PATH}.ports[0].name: Invalid value: "{"x" * 16}": must be no more than 15 bytes']),
        ({f"{C}/ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]}, [f'{PATH}.ports[1].hostPort: Duplicate value: "TCP//9"']),
        ({f"{C}/env": [{"name": ""}]}, [f"{PATH}.env[0].name: Required value"]),
        ({f"{C}/env": [{"name": "a=b"}]}, [f"{PATH}.env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='"]),
        ({f"{C}/env": [{"name": "a", "valueFrom": {}}]}, [f'{PATH}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`']),
        ({f"{C}/env": [{"name": "a", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, [f'{PATH}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
        ({f"{C}/env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, [f'{PATH}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x']),
        ({f"{C}/env": [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1k"}}}]}, [f"{PATH}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"]),
        ({f"{C}/env": [{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]}, [f"{PATH}.env[0].valueFrom.configMapKeyRef.key: Required value"]),
        ({f"{C}/env": [file_of("w")]}, [f'{PATH}.env[0].valueFrom.fileKeyRef.volumeName: Not found: "w"']),
        (VOLUME | {f"{C}/env": [file_of("v", key="")]}, [f"{PATH}.env[0].valueFrom.fileKeyRef.key: Required value"]),
        (VOLUME | {f"{C}/env": [file_of("v", path="/f")]}, [f'{PATH}.env[0].valueFrom.fileKeyRef.path: Invalid value: "/f": must be a relative path']),
        ({"spec/volumes": [{"name": "s", "secret": {"secretName": "s"}}], f"{C}/env": [file_of("s")]}, [f'{PATH}.env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "s": referenced volume must be of type emptyDir']),
        ({f"{C}/envFrom": [{}]}, [f'{PATH}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
        ({f"{C}/envFrom": [{"secretRef": {}}]}, [f"{PATH}.envFrom[0].secretRef.name: Required value"]),
        ({f"{C}/volumeMounts": [{"name": "v", "mountPath": "/v"}]}, [f'{PATH}.volumeMounts[0].name: Not found: "v"']),
        (mount(mountPath=""), [f"{PATH}.volumeMounts[0].mountPath: Required value"]),
        (mount(subPath="/a"), [f'{PATH}.volumeMounts.subPath: Invalid value: "/a": must be a relative path']),
        (mount(subPath="a/../b"), [f"{PATH}.volumeMounts.subPath: Invalid value: \"a/../b\": must not contain '..'"]),
        (mount(mountPropagation="Bidirectional"), [f"{PATH}.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"]),
        (VOLUME | {f"{C}/volumeMounts": [{"name": "v", "mountPath": "/v"}] * 2}, [f'{PATH}.volumeMounts[1].mountPath: Invalid value: "/v": must be unique']),
        ({f"{C}/livenessProbe": {}}, [f"{PATH}.livenessProbe: Required value: must specify a handler type"]),
        ({f"{C}/livenessProbe": {"exec": {}}}, [f"{PATH}.livenessProbe.exec.command: Required value"]),
        ({f"{C}/livenessProbe": {"httpGet": {"port": 0}}}, [f"{PATH}.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ({f"{C}/livenessProbe": {"tcpSocket": {"port": "A"}}}, [f'{PATH}.livenessProbe.tcpSocket.port: Invalid value: "A": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)', f'{PATH}.livenessProbe.tcpSocket.port: Invalid value: "A": must contain at least one letter (a-z)']),
        ({f"{C}/livenessProbe": {"exec": {"command": ["x"]}, "successThreshold": 2}}, [f"{PATH}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
        ({f"{C}/readinessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}}, [f"{PATH}.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]),
        ({f"{C}/readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": -1}}, [f"{PATH}.readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
        ({f"{C}/lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, [f"{PATH}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"]),
        ({f"{C}/resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}, [f'{PATH}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1']),
        ({f"{C}/resources": {"limits": {"cpu": "-1"}}}, [f'{PATH}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0', f'{PATH}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
        ({f"{C}/resources": {"limits": {"x": "1"}}}, [f'{PATH}.resources.{of}[x]: Invalid value: "x": must be a standard resource {why}' for of in ("limits", "requests") for why in ("type or fully qualified", "for containers")]),
        ({f"{C}/resources": {"requests": {"a.b/c": "1"}}}, [f"{PATH}.resources.limits: Required value: Limit must be set for non overcommitable resources"]),
        ({f"{C}/resources": {"limits": {"a.b/c": "1.5"}, "requests": {"a.b/c": "1500m"}}}, [f'{PATH}.resources.{of}[a.b/c]: Invalid value: "1500m": must be an integer' for of in ("limits", "requests")]),
        ({f"{C}/securityContext": {"runAsUser": -1}}, [f"{PATH}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
        ({f"{C}/securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, [f'{PATH}.securityContext: Invalid value: {{"allowPrivilegeEscalation":false,"privileged":true}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true']),
        ({f"{C}/securityContext": {"seccompProfile": {"type": "Localhost"}}}, [f"{PATH}.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"]),
        ({"spec/initContainers": [{"name": "i", "image": "i", "readinessProbe": {"exec": {"command": ["x"]}}}]}, ["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"]),
        ({"spec/ephemeralContainers": [{"name": "e", "image": "i"}]}, ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    ],
)  # fmt: skip
def test_containers(changes, said):
    assert faults("Pod", changes) == said


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ({"emptyDir": {}}, ["spec.volumes[0].name: Required value"]),
        ({"name": "v", "hostPath": {"path": "/a/../b"}}, ["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
        ({"name": "v", "hostPath": {"path": "/a", "type": "x"}}, ['spec.volumes[0].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"']),
        ({"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}, ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]),
        ({"name": "v", "secret": {}}, ["spec.volumes[0].secret.secretName: Required value"]),
        ({"name": "v", "configMap": {"name": "c", "defaultMode": 512}}, ["spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"]),
        ({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}, ["spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'"]),
        ({"name": "v", "persistentVolumeClaim": {}}, ["spec.volumes[0].persistentVolumeClaim.claimName: Required value"]),
        ({"name": "v", "nfs": {"server": "s", "path": "p"}}, ['spec.volumes[0].nfs.path: Invalid value: "p": must be an absolute path']),
        ({"name": "v", "downwardAPI": {"items": [{"path": "p"}]}}, ["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
        ({"name": "v", "projected": {"sources": [{"configMap": {"name": "a", "items": [{"key": "k", "path": "p"}]}}, {"secret": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}, ['spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths']),
        ({"name": "v", "image": {"reference": "", "pullPolicy": "Never"}}, ["spec.volumes[0].image.reference: Required value"]),
    ],
)  # fmt: skip
def test_volumes(volume, said):
    assert faults("Pod", {"spec/volumes": [volume]}) == said


def item(path):
    return {"key": "k", "path": path}


FIELD = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a/..", "..", "/etc/x", "..data", "..x/y"])
@pytest.mark.parametrize(
    "source",
    [
        lambda path: {"configMap": {"name": "c", "items": [item(path)]}},
        lambda path: {"secret": {"secretName": "s", "items": [item(path)]}},
        lambda path: {"downwardAPI": {"items": [{"path": path, **FIELD}]}},
        lambda path: {"projected": {"sources": [{"configMap": {"name": "c", "items": [item(path)]}}]}},
        lambda path: {"projected": {"sources": [{"secret": {"name": "s", "items": [item(path)]}}]}},
        lambda path: {"projected": {"sources": [{"downwardAPI": {"items": [{"path": path, **FIELD}]}}]}},
        lambda path: {"projected": {"sources": [{"serviceAccountToken": {"path": path, "expirationSeconds": 600}}]}},
    ],
)
def test_no_file_of_a_volume_leads_out_of_it_or_into_what_the_kubelet_keeps_there(source, path):
    def said(path):
        return faults("Pod", {"spec/serviceAccountName": "a", "spec/volumes": [{"name": "v", **source(path)}]})

    whys = ("must not contain '..'", "must not start with '..'", "must be a relative path")
    assert said("a/b") == []
    assert said(path)
    assert all(any(why in fault for why in whys) for fault in said(path))


def test_a_volume_without_a_source_is_an_empty_directory():
    assert faults("Pod", {"spec/volumes": [{"name": "v"}]}) == []


def test_two_volumes_of_one_name():
    volumes = [{"name": "v", "emptyDir": {}}] * 2
    assert faults("Pod", {"spec/volumes": volumes}) == ['spec.volumes[1].name: Duplicate value: "v"']


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/restartPolicy": "x"}, 'spec.restartPolicy: Unsupported value: "x": supported values: "Always", "Never", "OnFailure"'),
        ({"spec/dnsPolicy": "x"}, 'spec.dnsPolicy: Unsupported value: "x": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"'),
        ({"spec/dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        ({"spec/dnsConfig": {"searches": ["a_"]}}, "spec.dnsConfig.searches[0]: Invalid value: \"a_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"),
        ({"spec/dnsConfig": {"nameservers": ["x"]}}, 'spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        ({"spec/nodeName": "A"}, 'spec.nodeName: Invalid value: "A": '),
        ({"spec/nodeSelector": {"a": "b c"}}, 'spec.nodeSelector: Invalid value: "b c": a valid label must be'),
        ({"spec/activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        ({"spec/hostname": "A"}, f'spec.hostname: Invalid value: "A": {DNS_LABEL}'),
        ({"spec/hostAliases": [{"ip": "x"}]}, 'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        ({"spec/tolerations": [{"operator": "Equal"}]}, 'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"'),
        ({"spec/tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}, "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'"),
        ({"spec/tolerations": [{"key": "a", "operator": "x"}]}, 'spec.tolerations[0].operator: Unsupported value: "x": supported values: "Equal", "Exists"'),
        ({"spec/tolerations": [{"key": "a", "tolerationSeconds": 1}]}, "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"),
        ({"spec/affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term"),
        ({"spec/affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}, "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100"),
        ({"spec/affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}, "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty"),
        ({"spec/topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}, "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"),
        ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "x"}]}, 'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: "DoNotSchedule", "ScheduleAnyway"'),
        ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}] * 2}, 'spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{a, DoNotSchedule}"'),
        ({"spec/securityContext": {"sysctls": [{"name": "a b", "value": "x"}]}}, 'spec.securityContext.sysctls[0].name: Invalid value: "a b": must have at most 253 characters and match regex ^'),
        ({"spec/schedulingGates": [{"name": "a"}, {"name": "a"}]}, 'spec.schedulingGates[1]: Duplicate value: "a"'),
        ({"spec/schedulingGates": [{"name": "a"}], "spec/nodeName": "n"}, "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"),
        ({"spec/hostNetwork": True, f"{C}/ports": [{"containerPort": 80, "hostPort": 81}]}, f"{PATH}.ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"),
        ({"spec/hostUsers": False, "spec/hostNetwork": True}, "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false"),
        ({"spec/os": {"name": "x"}}, 'spec.os: Unsupported value: "x": supported values: "linux", "windows"'),
        ({"spec/preemptionPolicy": "x"}, 'spec.preemptionPolicy: Unsupported value: "x": supported values: "Never", "PreemptLowerPriority"'),
        ({"metadata/annotations": {"controller.kubernetes.io/pod-deletion-cost": "+1"}}, 'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a 32bit integer'),
        ({"spec/volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}, "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"),
        ({"spec/resources": {"limits": {"x.y/z": "1"}}}, 'spec.resources.limits[x.y/z]: Unsupported value: "x.y/z": supported values: "cpu", "hugepages-", "memory"'),
    ],
)  # fmt: skip
def test_the_rest_of_a_pod(changes, said):
    found = faults("Pod", changes)
    assert any(f.startswith(said) for f in found), found


@pytest.mark.parametrize("cost", ["1" * 5000, "2147483648", "007", "١", ""])
def test_what_it_costs_to_delete_a_pod_is_a_number_of_32_bits(cost):
    said = faults("Pod", {"metadata/annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}})
    at = "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]"
    assert said == [f'{at}: Invalid value: "{cost}": must be a 32bit integer']


def test_many_constraints_of_spreading_are_gone_through_once():
    # Each compared with all that come after it, it takes minutes.
    its = [{"maxSkew": 1, "topologyKey": f"k{n}", "whenUnsatisfiable": "DoNotSchedule"} for n in range(30_000)]
    assert faults("Pod", {"spec/topologySpreadConstraints": its}) == []


def test_where_dns_looks_may_have_underscores():
    assert faults("Pod", {"spec/dnsConfig": {"searches": ["_a.b_c.", "."]}}) == []


def test_faults_come_in_the_order_of_upstream():
    found = faults(
        "Pod",
        {
            "metadata/name": "A",
            f"{C}/image": "",
            "spec/volumes": [{"emptyDir": {}}],
            "spec/dnsPolicy": "x",
            "spec/nodeName": "A",
        },
    )
    assert [f.partition(": ")[0] for f in found] == [
        "metadata.name",
        "spec.volumes[0].name",
        f"{PATH}.image",
        "spec.dnsPolicy",
        "spec.nodeName",
    ]


# --- updates

NOT_OTHER = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)
TOLERATION = {"key": "a", "operator": "Exists", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ({f"{C}/image": "i:2"}, {}),
        ({"spec/activeDeadlineSeconds": 5}, {}),
        ({"spec/activeDeadlineSeconds": 4}, {"spec/activeDeadlineSeconds": 5}),
        ({"spec/tolerations": [TOLERATION]}, {}),
        ({"spec/tolerations": [TOLERATION | {"tolerationSeconds": 3}]}, {"spec/tolerations": [TOLERATION]}),
        ({"metadata/labels": {"a": "b"}}, {}),
        ({"spec/schedulingGates": []}, {"spec/schedulingGates": [{"name": "g"}]}),
        ({"spec/nodeSelector": {"a": "b"}}, {"spec/schedulingGates": [{"name": "g"}]}),
        ({"spec/terminationGracePeriodSeconds": 1}, {"spec/terminationGracePeriodSeconds": -1}),
    ],
)
def test_what_may_change_of_a_running_pod(changes, before):
    assert update_faults("Pod", changes, before) == []


@pytest.mark.parametrize(
    ("changes", "before", "said"),
    [
        ({f"{C}/name": "d"}, {}, NOT_OTHER),
        ({"spec/nodeName": "n"}, {}, NOT_OTHER),
        ({"spec/terminationGracePeriodSeconds": 1}, {}, NOT_OTHER),
        ({"spec/containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "i"}]}, {}, "spec.containers: Forbidden: pod updates may not add or remove containers"),
        ({"spec/activeDeadlineSeconds": 6}, {"spec/activeDeadlineSeconds": 5}, "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"),
        ({"spec/activeDeadlineSeconds": DROP}, {"spec/activeDeadlineSeconds": 5}, "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"),
        ({"spec/tolerations": []}, {"spec/tolerations": [TOLERATION]}, "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"),
        ({"spec/schedulingGates": [{"name": "g"}, {"name": "h"}]}, {"spec/schedulingGates": [{"name": "g"}]}, "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"),
    ],
)  # fmt: skip
def test_what_may_not(changes, before, said):
    found = update_faults("Pod", changes, before)
    assert len(found) == 1
    assert found[0].startswith(said)


def on_nodes(*terms, **more):
    required = {"nodeSelectorTerms": [{"matchExpressions": [wants(k) for k in keys]} for keys in terms]}
    return {"spec/affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}, **more}}


def wants(key):
    return {"key": key, "operator": "In", "values": ["v"]}


GATED = {"spec/schedulingGates": [{"name": "g"}]}
TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
SPREAD = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}


@pytest.mark.parametrize(
    ("after", "before", "said"),
    [
        (on_nodes("a"), {}, []),
        (on_nodes("a", "b"), {"spec/affinity": {"nodeAffinity": {}}}, []),
        (on_nodes("ab", "c"), on_nodes("a", "c"), []),
        (on_nodes("a", **SPREAD), {"spec/affinity": SPREAD}, []),
        (on_nodes("b"), on_nodes("a"), [f"{TERMS}[0]: Invalid value: "]),
        (on_nodes("a"), on_nodes(""), [f"{TERMS}[0]: Invalid value: "]),
        (on_nodes("a", "b"), on_nodes("a"), [f"{TERMS}: Invalid value: "]),
        ({"spec/affinity": {}}, on_nodes("a"), [f"{TERMS}: Invalid value: "]),
        (on_nodes("a", **SPREAD), {}, [NOT_OTHER]),
    ],
)
def test_where_a_gated_pod_may_run_can_be_narrowed(after, before, said):
    found = update_faults("Pod", after, GATED | before)
    assert len(found) == len(said)
    assert all(f.startswith(s) for f, s in zip(found, said, strict=True))


def test_the_refusal_shows_what_changed():
    (found,) = update_faults("Pod", {"spec/hostname": "h"})
    assert '+ "hostname": "h"' in found


ENDED = {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]}
RUNNING = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}


def test_a_container_that_ended_for_good_stays_so():
    before = {"spec/restartPolicy": "Never", "status": ENDED}
    assert update_faults("Pod", {"status": RUNNING}, before, "status") == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    assert update_faults("Pod", {"status": RUNNING}, {"status": ENDED}, "status") == []


@pytest.mark.parametrize("action", ["Restart", "RestartAllContainers"])
def test_a_container_whose_rules_restart_it_does_not_end_for_good(action):
    before = {
        "spec/restartPolicy": "Never",
        "status": ENDED,
        f"{C}/restartPolicy": "Never",
        f"{C}/restartPolicyRules": [rule(action, 0)],
    }
    assert update_faults("Pod", {"status": RUNNING}, before, "status") == []


def rule(action, *codes, operator="In"):
    return {"action": action, "exitCodes": {"operator": operator, "values": list(codes)}}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"restartPolicy": "Never", "restartPolicyRules": [rule("Restart", 1), rule("RestartAllContainers", 2)]}, []),
        ({"restartPolicyRules": [rule("Restart", 1)]}, ["restartPolicy: Required value: must specify restartPolicy when restartPolicyRules are used"]),
        ({"restartPolicy": "Never", "restartPolicyRules": [rule("x", 1)]}, ['restartPolicyRules[0].action: Unsupported value: "x": supported values: "Restart", "RestartAllContainers"']),
        ({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}, ["restartPolicyRules[0].exitCodes: Required value: must be specified"]),
        ({"restartPolicy": "Never", "restartPolicyRules": [rule("Restart", 1, operator="x")]}, ['restartPolicyRules[0].exitCodes.operator: Unsupported value: "x": supported values: "In", "NotIn"']),
        ({"restartPolicy": "Never", "restartPolicyRules": [rule("Restart", 1)] * 21}, ["restartPolicyRules: Too many: 21: must have at most 20 items"]),
    ],
)  # fmt: skip
def test_restart_rules(fields, said):
    of_regular = faults("Pod", {f"{C}/{name}": value for name, value in fields.items()})
    of_initial = faults("Pod", {"spec/initContainers": [{"name": "i", "image": "i", **fields}]})
    assert of_regular == [f"{PATH}.{s}" for s in said]
    assert of_initial == [f"spec.initContainers[0].{s}" for s in said]


def test_ephemeral_containers_are_only_added():
    one = [{"name": "e", "image": "i:1"}]
    at = "spec/ephemeralContainers"
    assert update_faults("Pod", {at: one}, {}, "ephemeralcontainers") == []
    assert update_faults("Pod", {at: []}, {at: one}, "ephemeralcontainers") == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be removed\n'
    ]


def test_a_resize_changes_cpu_and_memory_only():
    before = {f"{C}/resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    assert update_faults("Pod", {f"{C}/resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}, before, "resize") == []
    only = "spec: Forbidden: only cpu and memory resources are mutable"
    policy = [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]
    assert update_faults("Pod", before | {f"{C}/resizePolicy": policy}, before, "resize") == [only]
    stored = {f"{C}/resources": {"requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1"}}}
    assert update_faults("Pod", stored, before, "resize") == [only]


def test_a_resize_is_of_the_containers_there_are():
    both = [{"name": name, "image": "i", "resources": {"requests": {"cpu": "1"}}} for name in "ab"]
    moved = "spec.containers[{}].name: Forbidden: containers may not be renamed or reordered on resize"
    at = "spec/containers"
    assert update_faults("Pod", {at: both[::-1]}, {at: both}, "resize") == [moved.format(0), moved.format(1)]
    assert update_faults("Pod", {at: both[:1]}, {at: both}, "resize") == [
        "spec.containers: Forbidden: containers may not be added or removed on resize"
    ]


def test_what_runs_once_is_not_restarted_for_a_resize():
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    init, at = {"name": "i", "image": "i", "resizePolicy": policy}, "spec/initContainers"
    before, after = ([{**init, "resources": {"requests": {"cpu": cpu}}}] for cpu in "12")
    assert update_faults("Pod", {at: after}, {at: before}, "resize") == [
        "spec.initContainers[0]: Forbidden: "
        "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
    ]


def test_a_pod_is_resized_as_a_whole():
    at, huge = "spec/resources", {"hugepages-2Mi": "2Mi"}
    before = {at: {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}}
    assert update_faults("Pod", {at: {"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "4"}}}, before, "resize") == []  # fmt: skip
    assert update_faults("Pod", {at: {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}, before, "resize") == [
        "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"
    ]
    removed = update_faults("Pod", {at: None}, before, "resize")
    assert "spec.resources: Forbidden: pod-level resources cannot be removed" in removed
    more = {at: {"requests": {"cpu": "1", "memory": "1Gi"} | huge, "limits": {"cpu": "2"} | huge}}
    assert "spec: Forbidden: only cpu and memory resources are mutable at pod-level" in update_faults("Pod", more, before, "resize")  # fmt: skip


def test_a_pod_as_a_whole_has_room_for_its_containers():
    huge = {"hugepages-2Mi": "4Mi"}
    init = {"name": "i", "image": "i", "resources": {"requests": {"cpu": "3"}}}
    each = {"requests": {"cpu": "1500m", **huge}, "limits": {"cpu": "2", **huge}}
    changes = {
        "spec/containers": [{"name": name, "image": "i", "resources": each} for name in "ab"],
        "spec/initContainers": [init],
    }
    less = {"requests": {"cpu": "2", "hugepages-2Mi": "6Mi"}, "limits": {"cpu": "2500m", "hugepages-2Mi": "6Mi"}}
    assert faults("Pod", changes | {"spec/resources": less}) == [
        'spec.resources.requests[cpu]: Invalid value: "2": '
        "must be greater than or equal to aggregate container requests of 3",
        'spec.resources.requests[hugepages-2Mi]: Invalid value: "6Mi": '
        "must be greater than or equal to aggregate container requests of 8Mi",
        'spec.resources.limits[hugepages-2Mi]: Invalid value: "6Mi": '
        "must be greater than or equal to aggregate container limits of 8Mi",
    ]
    enough = {"requests": {"cpu": "3", "hugepages-2Mi": "8Mi"}, "limits": {"cpu": "3", "hugepages-2Mi": "8Mi"}}
    assert faults("Pod", changes | {"spec/resources": enough}) == []


def test_no_container_is_limited_to_more_than_its_pod():
    own = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    whole = {"requests": {"cpu": "1"}, "limits": {"cpu": "1500m"}}
    assert faults("Pod", {f"{C}/resources": own, "spec/resources": whole}) == [
        'spec.resources.containers[0][cpu].limits: Invalid value: "2": must be less than or equal to pod limits of 1500m'
    ]


def test_a_pod_of_windows_has_no_resources_as_a_whole():
    changes = {"spec/os": {"name": "windows"}, "spec/resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}
    assert faults("Pod", changes) == ["spec.resources: Forbidden: may not be set for a windows pod"]


def test_static_pods_and_those_of_windows_are_not_resized():
    mirror = {"metadata/annotations": {"kubernetes.io/config.mirror": "x"}, "spec/nodeName": "n"}
    assert update_faults("Pod", mirror, mirror, "resize") == [": Forbidden: static pods cannot be resized"]
    windows = {"spec/os": {"name": "windows"}}
    assert update_faults("Pod", windows, windows, "resize") == [": Forbidden: windows pods cannot be resized"]


def test_a_resize_takes_no_amount_away_and_leaves_the_class():
    before = {f"{C}/resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}}
    less = {f"{C}/resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}
    at = "spec.containers[0].resources.requests"
    assert update_faults("Pod", less, before, "resize") == [f"{at}: Forbidden: resource requests cannot be removed"]
    equal = {f"{C}/resources": {of: {"cpu": "2", "memory": "1Gi"} for of in ("requests", "limits")}}
    assert update_faults("Pod", equal, before, "resize") == [
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'
    ]


CLAIMS = "spec.resourceClaims"
NAMED = f"{PATH}.resources.claims"
LISTED = "must be one of the names in pod.spec.resourceClaims"


def with_claims(*used, **claim):
    claims = [{"name": "gpu", "resourceClaimTemplateName": "t", **claim}] if claim or used else []
    return {"spec/resourceClaims": claims, f"{C}/resources": {"claims": list(used)}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (with_claims({"name": "gpu"}), []),
        (with_claims({"name": "gpu", "request": "a"}, {"name": "gpu", "request": "b"}), []),
        (with_claims(name=""), [f"{CLAIMS}[0].name: Required value"]),
        (with_claims(name="A"), [f'{CLAIMS}[0].name: Invalid value: "A": {DNS_LABEL}']),
        (with_claims(name="x" * 63), []),
        (with_claims(name="gpu", resourceClaimTemplateName="A"), [f'{CLAIMS}[0].resourceClaimTemplateName: Invalid value: "A": {SUBDOMAIN}']),
        (with_claims(resourceClaimTemplateName="", resourceClaimName="A"), [f'{CLAIMS}[0].resourceClaimName: Invalid value: "A": {SUBDOMAIN}']),
        ({"spec/resourceClaims": [{"name": "gpu", "resourceClaimName": "c"}] * 2}, [f'{CLAIMS}[1].name: Duplicate value: "gpu"']),
        (with_claims({}), [f"{NAMED}[0]: Required value"]),
        (with_claims({"name": "gpu"}, {"name": "gpu"}), [f'{NAMED}[1]: Duplicate value: "gpu"']),
        (with_claims({"name": "gpu"}, {"name": "gpu", "request": "a"}), [f'{NAMED}[1]: Duplicate value: "gpu"']),
        (with_claims({"name": "gpu", "request": "a"}, {"name": "gpu"}), [f'{NAMED}[1]: Duplicate value: "gpu"']),
        (with_claims({"name": "gpu", "request": "a"}, {"name": "gpu", "request": "a"}), [f'{NAMED}[1]: Duplicate value: "gpu/a"']),
        (with_claims({"name": "gpu", "request": "A"}), [f'{NAMED}[0].request: Invalid value: "A": {DNS_LABEL}']),
        (with_claims({"name": "fpga"}), [f'{NAMED}[0]: Not found: "fpga": {LISTED}: gpu']),
        ({f"{C}/resources": {"claims": [{"name": "gpu"}]}}, [f'{NAMED}[0]: Not found: "gpu": {LISTED} which is empty']),
    ],
)  # fmt: skip
def test_containers_use_the_claims_of_their_pod(changes, said):
    assert faults("Pod", changes) == said


def test_a_claim_that_is_made_for_a_pod_must_have_room_for_both_names():
    [found] = faults("Pod", with_claims(name="gpu") | {"metadata/name": "p" * 253})
    assert found.startswith(f'{CLAIMS}[0].name: Invalid value: "{"p" * 253}-gpu": final ResourceClaim name: must be no')


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([{"name": "gpu", "resourceClaimName": "p-gpu-x5d2k"}], []),
        ([{"name": "gpu"}], []),
        ([{"name": "fpga"}], ['[0].name: Invalid value: "fpga": must match the name of an entry in `spec.resourceClaims`']),
        ([{"name": "gpu"}] * 2, ['[1].name: Duplicate value: "gpu"']),
        ([{"name": "gpu", "resourceClaimName": "A"}], [f'[0].name: Invalid value: "A": {SUBDOMAIN}']),
    ],
)  # fmt: skip
def test_the_claims_that_were_made_for_a_pod_are_those_that_it_has(statuses, said):
    before = with_claims(name="gpu")
    found = update_faults("Pod", {"status": {"resourceClaimStatuses": statuses}}, before, "status")
    assert found == [f"status.resourceClaimStatuses{fault}" for fault in said]
