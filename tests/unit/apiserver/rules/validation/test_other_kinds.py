import base64

import pytest

from api import volumes
from tests.unit.apiserver.rules.manifests import DROP, faults, update_faults

KEY = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
FROZEN = "Forbidden: field is immutable when `immutable` is set"
CLAIMED = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
BIG = base64.b64encode(b"x" * (1 << 20 | 1)).decode()


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("ConfigMap", {"data": {"a b": "x"}}, [f'data[a b]: Invalid value: "a b": {KEY}']),
        ("ConfigMap", {"data": {"..": "x"}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
        ("ConfigMap", {"data": {"a": "x"}, "binaryData": {"a": "eA=="}}, ['data[a]: Invalid value: "a": duplicate of key present in binaryData']),
        ("ConfigMap", {"data": {"a": "é" * (1 << 19) + "x"}}, ["[]: Too long: may not be more than 1048576 bytes"]),
        ("ConfigMap", {"binaryData": {"a": BIG}}, ["[]: Too long: may not be more than 1048576 bytes"]),
        ("Secret", {"stringData": {"a b": "x"}}, [f'data[a b]: Invalid value: "a b": {KEY}']),
        ("Secret", {"data": {"a": BIG}}, ["data: Too long: may not be more than 1048576 bytes"]),
        ("Secret", {"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        ("Secret", {"type": "kubernetes.io/service-account-token"}, ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]),
        ("Secret", {"type": "kubernetes.io/dockerconfigjson"}, ["data[.dockerconfigjson]: Required value"]),
        ("Secret", {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "{}"}}, []),
        ("Secret", {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "null"}}, []),
        ("Secret", {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "x"}},
         ['data[.dockercfg]: Invalid value: "<secret contents redacted>": invalid character \'x\' looking for beginning of value']),
        ("Secret", {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "[1]"}},
         ['data[.dockercfg]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go value of type map[string]interface {}']),
        ("Secret", {"type": "kubernetes.io/basic-auth"}, ["data[username]: Required value", "data[password]: Required value"]),
        ("Secret", {"type": "kubernetes.io/ssh-auth"}, ["data[ssh-privatekey]: Required value"]),
        ("Secret", {"type": "my/own"}, []),
        ("Namespace", {"metadata/name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
        ("Namespace", {"spec/finalizers": ["x"]}, ['spec.finalizers: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified']),
        ("Node", {"spec/taints": [{"key": "a"}]}, ["metadata.taints[0].effect: Required value"]),
        ("Node", {"spec/taints": [{"key": "a", "effect": "NoSchedule"}] * 2}, ['metadata.taints[1]: Duplicate value: {"effect":"NoSchedule","key":"a"}: taints must be unique by key and effect pair']),
        ("Node", {"spec/podCIDRs": ["x"]}, ['spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
        ("Node", {"status/capacity": {"pods": "1500m"}}, ['status.capacity.pods: Invalid value: "1500m": must be an integer', 'status.allocatable.pods: Invalid value: "1500m": must be an integer']),
        ("Lease", {"spec/leaseDurationSeconds": 0}, ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
        ("Lease", {"spec/leaseTransitions": -1}, ["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
        ("Lease", {"spec/preferredHolder": "x"}, ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"]),
        ("Endpoints", {"subsets": [{}]}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
        ("Endpoints", {"subsets/0/addresses": [{"ip": "127.0.0.1"}]}, ['subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)']),
        ("Endpoints", {"subsets/0/ports": [{"port": 0}]}, ["subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ("EndpointSlice", {"addressType": DROP}, ["addressType: Required value"]),
        ("EndpointSlice", {"endpoints/0/addresses": []}, ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        ("EndpointSlice", {"endpoints/0/addresses": ["fd00::1"]}, ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address']),
        ("EndpointSlice", {"addressType": "IPv6", "endpoints/0/addresses": ["2001:db8::1%eth0"]}, ['endpoints[0].addresses[0]: Invalid value: "2001:db8::1%eth0": must be a valid IPv6 address', 'endpoints[0].addresses[0]: Invalid value: "2001:db8::1%eth0": must be a valid IP address']),
        ("EndpointSlice", {"endpoints/0/addresses": [f"10.0.0.{i}" for i in range(101)]}, ["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
        ("EndpointSlice", {"ports": [{"port": 1}, {"port": 2}]}, ['ports[1].name: Duplicate value: ""']),
        ("Event", {"involvedObject/namespace": "other"}, ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']),
        ("Event", {"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "c", "reportingInstance": "i"}, ["action: Required value"]),
        ("events.k8s.io/Event", {"eventTime": DROP}, ["eventTime: Required value"]),
        ("events.k8s.io/Event", {"type": "x"}, ['type: Invalid value: "": has invalid value: x']),
        ("events.k8s.io/Event", {"note": "x" * 1025}, ['message: Invalid value: "": can have at most 1024 characters']),
        ("events.k8s.io/Event", {"series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}, ['series.count: Invalid value: "": should be at least 2']),
        ("PriorityClass", {"value": 2_000_000_000}, ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
        ("PriorityClass", {"metadata/name": "system-x"}, ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only"]),
        ("PersistentVolumeClaim", {"spec/accessModes": []}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
        ("PersistentVolumeClaim", {"spec/resources": {}}, ["spec.resources[storage]: Required value"]),
        ("StorageClass", {"provisioner": DROP}, ["provisioner: Required value"]),
        ("Ingress", {"spec/rules": []}, ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]),
        ("Ingress", {"spec/rules/0/http/paths/0/backend/service/name": "1a"}, []),
        ("Ingress", {"spec/rules/0/http/paths/0/path": "x"}, ['spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path']),
        ("Ingress", {"spec/rules/0/http/paths/0/path": "}", "spec/rules/0/http/paths/0/pathType": "ImplementationSpecific"}, ['spec.rules[0].http.paths[0].path: Invalid value: "}": must be an absolute path']),
        ("Ingress", {"spec/rules/0/http/paths/0/path": "", "spec/rules/0/http/paths/0/pathType": "ImplementationSpecific"}, []),
        ("Ingress", {"spec/rules/0/http/paths/0/path": "/a//b/.."}, ['spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": must not contain \'//\'', 'spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": cannot end with \'/..\'']),
        ("Ingress", {"spec/tls": [{"hosts": ["a.b", "*.c.d"], "secretName": "s"}, {}]}, []),
        ("NetworkPolicy", {"spec/ingress/0/from": [{}]}, ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
        ("NetworkPolicy", {"spec/ingress/0/from": [{"ipBlock": {"cidr": ""}}]}, ["spec.ingress[0].from[0].ipBlock.cidr: Required value"]),
        (
            "NetworkPolicy",
            {"spec/ingress/0/from": [{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.0/24", "10.0.1.0/25", "x", "10.0.0.0/25"]}}]},
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/24": must be a strict subset of `cidr`',
                'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "10.0.1.0/25": must be a strict subset of `cidr`',
                'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
            ],
        ),
        ("NetworkPolicy", {"spec/ingress/0/ports": [{"endPort": 80}]}, ["spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is not specified"]),
        ("NetworkPolicy", {"spec/ingress/0/ports": [{"port": 81, "endPort": 80}]}, ["spec.ingress[0].ports[0].endPort: Invalid value: 81: must be greater than or equal to `port`"]),
        ("NetworkPolicy", {"spec/ingress/0/ports": [{"port": 81, "endPort": 70000}]}, ["spec.ingress[0].ports[0].endPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        ("RoleBinding", {"roleRef/kind": "x"}, ['roleRef.kind: Unsupported value: "x": supported values: "ClusterRole", "Role"']),
        ("RoleBinding", {"subjects/0/name": ""}, ["subjects[0].name: Required value"]),
        ("ClusterRole", {"rules/0/verbs": []}, ["rules[0].verbs: Required value: verbs must contain at least one value"]),
        ("PodDisruptionBudget", {"spec/minAvailable": "x"}, ["spec.minAvailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"]),
        ("HorizontalPodAutoscaler", {"spec/maxReplicas": 0}, ["spec.maxReplicas: Invalid value: 0: must be greater than 0", "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`"]),
    ],
)  # fmt: skip
def test_what_is_refused(kind, changes, said):
    assert faults(kind, changes) == said


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"spec/tls": [{"hosts": ["a.b", "c\nown.pem"]}]}, "spec.tls[0].hosts[1]"),
        ({"spec/tls": [{"hosts": ["*"]}]}, "spec.tls[0].hosts[0]"),
        ({"spec/tls": [{"secretName": "A"}]}, "spec.tls[0].secretName"),
        ({"spec/rules/0/host": "10.0.0.1"}, "spec.rules[0].host"),
    ],
)
def test_an_ingress_names_hosts_and_secrets(changes, field):
    [said] = faults("Ingress", changes)
    assert said.startswith(f"{field}: Invalid value: ")


def test_a_config_map_of_just_the_limit_is_good():
    assert faults("ConfigMap", {"data": {"a": "x" * (1 << 20)}}) == []


@pytest.mark.parametrize(
    ("kind", "changes", "before", "said"),
    [
        ("Secret", {"type": "other"}, {}, ['type: Invalid value: "other": field is immutable']),
        ("Secret", {"data": {"a": "eQ=="}}, {"immutable": True, "data": {"a": "eA=="}}, [f"data: {FROZEN}"]),
        ("Secret", {"immutable": DROP}, {"immutable": True}, [f"immutable: {FROZEN}"]),
        ("ConfigMap", {"data": {"a": "y"}, "binaryData": {"b": "eA=="}}, {"immutable": True}, [f"data: {FROZEN}", f"binaryData: {FROZEN}"]),
        ("ConfigMap", {"data": {"a": "y"}}, {}, []),
        ("EndpointSlice", {"addressType": "FQDN", "endpoints/0/addresses": ["a.b"]}, {}, ['addressType: Invalid value: "FQDN": field is immutable']),
        ("Node", {"spec/podCIDR": "10.244.1.0/24"}, {}, []),
        ("Node", {"spec/podCIDR": "10.244.2.0/24", "spec/podCIDRs": ["10.244.2.0/24"]}, {"spec/podCIDR": "10.244.1.0/24"}, ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
        ("Node", {"spec/providerID": "b"}, {"spec/providerID": "a"}, ['spec.providerID: Forbidden: node updates may not change providerID except from "" to valid']),
        ("PriorityClass", {"value": 8}, {}, ["value: Forbidden: may not be changed in an update."]),
        ("RoleBinding", {"roleRef/name": "s"}, {}, ['roleRef: Invalid value: {"kind":"Role","apiGroup":"rbac.authorization.k8s.io","name":"s"}: cannot change roleRef']),
        ("StorageClass", {"provisioner": "x"}, {}, ["provisioner: Forbidden: updates to provisioner are forbidden."]),
        ("PersistentVolumeClaim", {"spec/volumeName": "v"}, {}, []),
        ("PersistentVolumeClaim", {"spec/storageClassName": "younger"}, {}, []),
        ("PersistentVolumeClaim", {"spec/storageClassName": "b"}, {"metadata/annotations": {volumes.CLASS: "a"}}, [CLAIMED]),
        ("PersistentVolumeClaim", {"spec/storageClassName": "a"}, {"spec/storageClassName": ""}, [CLAIMED]),
        ("PersistentVolumeClaim", {"spec/volumeMode": "Block"}, {}, [CLAIMED]),
        ("events.k8s.io/Event", {"note": "other"}, {}, ['message: Invalid value: "other": field is immutable']),
    ],
)  # fmt: skip
def test_what_may_not_change(kind, changes, before, said):
    assert update_faults(kind, changes, before) == said


def test_a_namespace_is_terminating_when_it_is_deleted_and_not_before():
    gone = {"metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}
    ending = {"status": {"phase": "Terminating"}}
    assert update_faults("Namespace", ending, gone, "status") == []
    assert update_faults("Namespace", ending, {}, "status") == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_many_addresses_of_a_node_are_gone_through_once():
    # Each compared with all before it, it takes minutes.
    addresses = [{"type": "InternalIP", "address": f"node-{n}"} for n in range(40_000)]
    assert update_faults("Node", {"status/addresses": [*addresses, addresses[1]]}, subresource="status") == [
        'status.addresses[40000]: Duplicate value: {"address":"node-1","type":"InternalIP"}'
    ]


def test_what_is_too_deep_to_read_is_no_configuration_of_a_registry():
    deep = {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "[" * 100_000}}
    (said,) = faults("Secret", deep)
    assert said.startswith('data[.dockercfg]: Invalid value: "<secret contents redacted>": ')
