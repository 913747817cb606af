import pytest

from tests.unit.apiserver.rules.manifests import DROP, faults, update_faults

IP = {"spec/clusterIP": "10.96.0.7", "spec/clusterIPs": ["10.96.0.7"]}
BALANCED = {"spec/type": "LoadBalancer"}
ONLY_BALANCED = "Forbidden: may only be used when `type` is 'LoadBalancer'"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata/name": "1a"}, []),
        ({"metadata/name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
        ({"spec/ports": []}, ["spec.ports: Required value"]),
        ({"spec/ports": [{"port": 0, "targetPort": 1}]}, ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ({"spec/ports": [{"port": 1}, {"port": 2}]}, ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]),
        ({"spec/ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, ['spec.ports[1].name: Duplicate value: "a"']),
        ({"spec/ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}, ['spec.ports[1]: Duplicate value: {"AppProtocol":null,"Name":"","NodePort":0,"Port":1,"Protocol":"TCP","TargetPort":0}']),
        ({"spec/ports": [{"port": 1, "protocol": "x"}]}, ['spec.ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"']),
        ({"spec/ports": [{"port": 1, "targetPort": "a--b"}]}, ['spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens']),
        ({"spec/ports": [{"port": 1, "nodePort": 30000}]}, ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
        ({"spec/selector": {"a": "b c"}}, ["spec.selector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]),
        ({"spec/sessionAffinity": "x"}, ['spec.sessionAffinity: Unsupported value: "x": supported values: "ClientIP", "None"']),
        ({"spec/sessionAffinity": "ClientIP", "spec/sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}, ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"]),
        ({"spec/type": "x"}, ['spec.type: Unsupported value: "x": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
        ({"spec/type": "ExternalName"}, ["spec.externalName: Required value"]),
        ({"spec/type": "ExternalName", "spec/externalName": "a.b."}, []),
        ({"spec/type": "ExternalName", "spec/externalName": "a.b"} | IP, ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"]),
        ({"spec/clusterIP": "None", "spec/clusterIPs": ["None"], "spec/ports": []}, []),
        ({"spec/clusterIP": "None", "spec/clusterIPs": ["None"], "spec/type": "NodePort"}, ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"]),
        ({"spec/clusterIP": "x", "spec/clusterIPs": ["x"]}, ['spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
        (IP | {"spec/clusterIP": "10.96.0.8"}, ['spec.clusterIPs: Invalid value: ["10.96.0.7"]: first value must match `clusterIP`']),
        (IP | {"spec/clusterIP": DROP}, ['spec.clusterIPs: Invalid value: ["10.96.0.7"]: must be empty when `clusterIP` is not specified']),
        (IP | {"spec/clusterIPs": ["10.96.0.7", "10.96.0.8"]}, ['spec.clusterIPs: Invalid value: ["10.96.0.7","10.96.0.8"]: may specify no more than one IP for each IP family']),
        (IP | {"spec/ipFamilies": ["IPv6"]}, ['spec.clusterIPs[0]: Invalid value: "10.96.0.7": expected an IPv6 value as indicated by `ipFamilies[0]`']),
        ({"spec/ipFamilies": ["IPv4", "IPv4"]}, ['spec.ipFamilies[1]: Duplicate value: "IPv4"']),
        ({"spec/ipFamilyPolicy": "x"}, ['spec.ipFamilyPolicy: Unsupported value: "x": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"']),
        ({"spec/externalIPs": ["127.0.0.1"]}, ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)']),
        ({"spec/externalTrafficPolicy": "Local"}, ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
        ({"spec/internalTrafficPolicy": "x"}, ['spec.internalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local"']),
        ({"spec/trafficDistribution": "x"}, ['spec.trafficDistribution: Unsupported value: "x": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"']),
        (BALANCED | {"spec/loadBalancerSourceRanges": ["10.0.0.1"]}, ['spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
        ({"spec/loadBalancerSourceRanges": ["10.0.0.0/8"]}, [f"spec.LoadBalancerSourceRanges: {ONLY_BALANCED}"]),
        ({"spec/loadBalancerClass": "a.b/c"}, [f"spec.loadBalancerClass: {ONLY_BALANCED}"]),
        ({"spec/allocateLoadBalancerNodePorts": True}, [f"spec.allocateLoadBalancerNodePorts: {ONLY_BALANCED}"]),
        ({"spec/healthCheckNodePort": 30001}, ["spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"]),
        (BALANCED | {"spec/externalTrafficPolicy": "Local"}, ["spec.healthCheckNodePort: Required value"]),
    ],
)  # fmt: skip
def test_services(changes, said):
    assert faults("Service", changes) == said


def test_one_node_port_may_serve_two_protocols_but_not_one_twice():
    ports = [{"port": 53, "name": p.lower(), "protocol": p, "nodePort": 30053} for p in ("TCP", "UDP")]
    assert faults("Service", {"spec/type": "NodePort", "spec/ports": ports}) == []
    twice = [{"port": n, "name": f"p{n}", "nodePort": 30053} for n in (1, 2)]
    assert faults("Service", {"spec/type": "NodePort", "spec/ports": twice}) == [
        "spec.ports[1].nodePort: Duplicate value: 30053"
    ]


@pytest.mark.parametrize(
    ("changes", "before", "said"),
    [
        ({"spec/clusterIP": "10.96.0.8", "spec/clusterIPs": ["10.96.0.8"]}, IP, ['spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set']),
        ({"spec/clusterIP": "None", "spec/clusterIPs": ["None"]}, IP, ['spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set']),
        ({"spec/clusterIP": DROP, "spec/clusterIPs": []}, IP, ["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"]),
        ({"spec/clusterIP": DROP, "spec/clusterIPs": [], "spec/type": "ExternalName", "spec/externalName": "a"}, IP, []),
        ({"spec/ports": [{"port": 81}]}, IP, []),
        ({"spec/ipFamilies": ["IPv6"], "spec/clusterIP": DROP, "spec/clusterIPs": []}, {"spec/ipFamilies": ["IPv4"]}, ['spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set']),
        (BALANCED | {"spec/loadBalancerClass": "a/b"}, BALANCED | {"spec/loadBalancerClass": "a/c"}, ['spec.loadBalancerClass: Invalid value: "a/b": may not change once set']),
    ],
)  # fmt: skip
def test_what_may_change_of_a_service(changes, before, said):
    assert update_faults("Service", changes, before) == said


def test_only_load_balancers_have_ingress_points():
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    assert update_faults("Service", status, IP, "status") == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]
    assert update_faults("Service", status, IP | BALANCED, "status") == []
