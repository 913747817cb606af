"""The roles and bindings that every cluster has, as upstream's bootstrap policy names them.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from collections.abc import Iterator

from api.types import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    LabelSelector,
    ObjectMeta,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from apiserver.authorization import controller_roles

BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
GROUP = "rbac.authorization.k8s.io"
SYSTEM = "kube-system"
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]

# A role, then a line for each rule: verbs, then GROUP:RESOURCES (":" alone is the core group) or paths, [names].
TABLE = """
cluster-admin
  *  *:*
  *  *
system:discovery
  get  /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/
system:public-info-viewer
  get  /healthz /livez /readyz /version /version/
system:monitoring
  get  /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*
system:basic-user
  create  authorization.k8s.io:selfsubjectaccessreviews,selfsubjectrulesreviews
  create  authentication.k8s.io:selfsubjectreviews
system:auth-delegator
  create  authentication.k8s.io:tokenreviews authorization.k8s.io:subjectaccessreviews
system:service-account-issuer-discovery
  get  /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/
system:aggregate-to-admin  admin
  create  authorization.k8s.io:localsubjectaccessreviews
  READ,WRITE  rbac.authorization.k8s.io:roles,rolebindings
system:aggregate-to-edit  edit
  READ  :pods/attach,pods/proxy,secrets,services/proxy,pods/exec,pods/portforward
  impersonate  :serviceaccounts
  WRITE  :pods,pods/attach,pods/proxy,pods/portforward,pods/exec
  create  :pods/eviction
  WRITE  :configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
  create  :serviceaccounts/token
  WRITE  apps:daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
  WRITE  autoscaling:horizontalpodautoscalers batch:cronjobs,jobs policy:poddisruptionbudgets
  WRITE  networking.k8s.io:ingresses,networkpolicies resource.k8s.io:resourceclaims,resourceclaimtemplates
  create,delete,deletecollection,get,list,patch,update,watch  coordination.k8s.io:leases
system:aggregated-metrics-reader  view
  READ  metrics.k8s.io:nodes,pods
system:aggregate-to-view  view
  READ  :configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
  READ  :bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
  READ  :namespaces
  READ  discovery.k8s.io:endpointslices
  READ  apps:controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
  READ  autoscaling:horizontalpodautoscalers,horizontalpodautoscalers/status
  READ  batch:cronjobs,cronjobs/status,jobs,jobs/status policy:poddisruptionbudgets,poddisruptionbudgets/status
  READ  networking.k8s.io:ingresses,ingresses/status,networkpolicies
  READ  resource.k8s.io:resourceclaims,resourceclaims/status,resourceclaimtemplates
system:kube-aggregator
  READ  :endpoints,services
system:heapster
  READ  :events,namespaces,nodes,pods
system:node
  create  authentication.k8s.io:tokenreviews authorization.k8s.io:localsubjectaccessreviews,subjectaccessreviews
  READ  :services
  create,get,list,watch,patch,update  :nodes
  patch,update  :nodes/status
  create,patch,update  :events events.k8s.io:events
  get,list,watch,create,delete  :pods
  patch,update  :pods/status
  create  :pods/eviction
  get,list,watch  :configmaps,secrets
  get  :persistentvolumeclaims,persistentvolumes,endpoints,serviceaccounts
  get,patch,update  :persistentvolumeclaims/status
  create,get,list,watch  certificates.k8s.io:certificatesigningrequests
  create,delete,get,patch,update  coordination.k8s.io:leases
  get  storage.k8s.io:volumeattachments
  READ  storage.k8s.io:csidrivers node.k8s.io:runtimeclasses
  create,delete,get,patch,update  storage.k8s.io:csinodes
  create  :serviceaccounts/token
  get  resource.k8s.io:resourceclaims
  READ,WRITE  resource.k8s.io:resourceslices
system:node-proxier
  list,watch  :services,endpoints
  get,list,watch  :nodes
  create,patch,update  :events events.k8s.io:events
  list,watch  discovery.k8s.io:endpointslices networking.k8s.io:servicecidrs
wherry:kube-proxy
  list,watch  :pods,namespaces networking.k8s.io:networkpolicies
system:node-bootstrapper
  create,get,list,watch  certificates.k8s.io:certificatesigningrequests
system:node-problem-detector
  get  :nodes
  patch  :nodes/status
  create,patch,update  :events events.k8s.io:events
system:kubelet-api-admin
  get,list,watch,proxy  :nodes
  *  :nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats
system:kube-controller-manager
  *  *:*
system:kube-scheduler
  create,patch,update  :events events.k8s.io:events
  create,get,list,update,patch,watch  coordination.k8s.io:leases
  READ  :nodes,namespaces,services,replicationcontrollers,persistentvolumeclaims,persistentvolumes
  READ,delete  :pods
  create  :bindings,pods/binding
  patch,update  :pods/status
  READ  apps:replicasets,statefulsets policy:poddisruptionbudgets
  patch,update  :persistentvolumeclaims,persistentvolumes
  create  authentication.k8s.io:tokenreviews authorization.k8s.io:subjectaccessreviews
  READ  storage.k8s.io:csidrivers,csinodes,csistoragecapacities,storageclasses,volumeattachments
  patch,update  scheduling.k8s.io:podgroups/status
  READ  scheduling.k8s.io:* resource.k8s.io:deviceclasses,resourceslices
  get,list,watch,create,patch,update  resource.k8s.io:resourceclaims,resourceclaims/status
  patch,update  resource.k8s.io:resourceclaims/binding
system:volume-scheduler
  get,list,patch,update,watch  :persistentvolumes,persistentvolumeclaims
  READ  storage.k8s.io:storageclasses
system:kube-dns
  READ  :endpoints,services,namespaces,pods discovery.k8s.io:endpointslices
  create,patch,update  :events events.k8s.io:events
system:persistent-volume-provisioner
  create,delete,get,list,watch  :persistentvolumes
  get,list,update,watch  :persistentvolumeclaims
  READ  storage.k8s.io:storageclasses
  watch  :events
  create,patch,update  :events
system:certificates.k8s.io:certificatesigningrequests:nodeclient
  create  certificates.k8s.io:certificatesigningrequests/nodeclient
system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
  create  certificates.k8s.io:certificatesigningrequests/selfnodeclient
system:certificates.k8s.io:legacy-unknown-approver
  approve  certificates.k8s.io:signers [kubernetes.io/legacy-unknown]
system:certificates.k8s.io:kubelet-serving-approver
  approve  certificates.k8s.io:signers [kubernetes.io/kubelet-serving]
system:certificates.k8s.io:kube-apiserver-client-approver
  approve  certificates.k8s.io:signers [kubernetes.io/kube-apiserver-client]
system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
  approve  certificates.k8s.io:signers [kubernetes.io/kube-apiserver-client-kubelet]
"""  # noqa: E501

AGGREGATED = {"admin": "", "edit": "admin", "view": "edit"}
"""Role → the one that it is part of itself. The controller manager fills them in."""

BINDINGS = """
cluster-admin                            Group system:masters
system:discovery                         Group system:authenticated
system:basic-user                        Group system:authenticated
system:public-info-viewer                Group system:authenticated, Group system:unauthenticated
system:monitoring                        Group system:monitoring
system:node-proxier                      User system:kube-proxy
wherry:kube-proxy                        User system:kube-proxy
system:kube-controller-manager           User system:kube-controller-manager
system:kube-scheduler                    User system:kube-scheduler
system:volume-scheduler                  User system:kube-scheduler
system:kube-dns                          ServiceAccount kube-system/kube-dns, User system:kube-dns
system:service-account-issuer-discovery  Group system:serviceaccounts
system:node
"""


def cluster_roles() -> Iterator[ClusterRole]:
    for head, lines in _blocks(TABLE):
        name, _, part = head.partition("  ")
        yield ClusterRole(metadata=_metadata(name, part), rules=[r for line in lines for r in _rules(line.split())])
    for name, part in AGGREGATED.items():
        chosen = LabelSelector(matchLabels={AGGREGATE + name: "true"})
        yield ClusterRole(
            metadata=_metadata(name, part), aggregationRule=AggregationRule(clusterRoleSelectors=[chosen])
        )
    for head, lines in _blocks(controller_roles.TABLE):
        rules = [r for line in lines for r in _rules(line.split())]
        yield ClusterRole(metadata=_metadata(controller_roles.PREFIX + head), rules=rules)


def cluster_role_bindings() -> Iterator[ClusterRoleBinding]:
    for line in BINDINGS.strip().splitlines():
        name, _, subjects = line.partition(" ")
        ref = RoleRef(apiGroup=GROUP, kind="ClusterRole", name=name)
        yield ClusterRoleBinding(metadata=_metadata(name), roleRef=ref, subjects=_subjects(subjects))
    for head, _ in _blocks(controller_roles.TABLE):
        name = controller_roles.PREFIX + head
        account = Subject(kind="ServiceAccount", name=head, namespace=SYSTEM)
        ref = RoleRef(apiGroup=GROUP, kind="ClusterRole", name=name)
        yield ClusterRoleBinding(metadata=_metadata(name), roleRef=ref, subjects=[account])


def roles() -> Iterator[Role]:
    for head, lines in _blocks(controller_roles.NAMESPACED):
        namespace, _, name = head.partition("/")
        rules = [r for line in lines if not line.startswith("=") for r in _rules(line.split())]
        yield Role(metadata=_metadata(name, namespace=namespace), rules=rules)


def role_bindings() -> Iterator[RoleBinding]:
    for head, lines in _blocks(controller_roles.NAMESPACED):
        namespace, _, role = head.partition("/")
        name, _, subjects = lines[-1].removeprefix("= ").partition("  ")
        yield RoleBinding(
            metadata=_metadata(name, namespace=namespace),
            roleRef=RoleRef(apiGroup=GROUP, kind="Role", name=role),
            subjects=_subjects(subjects),
        )


def _blocks(table: str) -> Iterator[tuple[str, list[str]]]:
    """Each line that begins at the margin, with the indented ones below it."""
    head, lines = "", []
    for line in table.strip().splitlines():
        if line.startswith(" "):
            lines.append(line.strip())
            continue
        if head:
            yield head, lines
        head, lines = line, []
    yield head, lines


def _metadata(name: str, part: str = "", namespace: str = "") -> ObjectMeta:
    aggregated = {AGGREGATE + part.strip(): "true"} if part.strip() else {}
    return ObjectMeta(
        name=name, namespace=namespace, labels=BOOTSTRAPPING | aggregated, annotations={AUTOUPDATE: "true"}
    )


def _rules(words: list[str]) -> Iterator[PolicyRule]:
    if words == ["EVENTS"]:
        yield PolicyRule(verbs=["create", "patch", "update"], apiGroups=["", "events.k8s.io"], resources=["events"])
        return
    verbs = [v for word in words[0].split(",") for v in {"READ": READ, "WRITE": WRITE}.get(word, [word])]
    names = words[-1].strip("[]").split(",") if words[-1].startswith("[") else []
    paths = [w for w in words[1:] if w.startswith("/") or w == "*"]
    if paths:
        yield PolicyRule(verbs=verbs, nonResourceURLs=paths)
        return
    for word in words[1 : -1 if names else None]:
        group, _, resources = word.partition(":")
        yield PolicyRule(verbs=verbs, apiGroups=[group], resources=resources.split(","), resourceNames=names)


def _subjects(text: str) -> list[Subject]:
    return [_subject(*each.split()) for each in text.split(",") if each.strip()]


def _subject(kind: str, name: str) -> Subject:
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return Subject(kind=kind, name=name, namespace=namespace)
    return Subject(kind=kind, apiGroup=GROUP, name=name)
