"""Every built-in kind of Kubernetes v1.37 that is stable, in one table, and those that a feature gate opens.

The API server serves what stands here, the client finds a type's path here, controllers that work on every kind
(garbage collection, namespaces) walk it.  Printer columns are the REST door's business and stand there.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

from api import custom, schema, types

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, as one version of one API group serves it."""

    group: str
    """"" for the core group."""
    version: str
    name: str
    """In CamelCase: Pod."""
    plural: str
    """The resource, as paths and RBAC name it: pods."""
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    custom: bool = False
    """Described by a CustomResourceDefinition; its objects are api.custom.CustomObject."""
    singular_name: str = ""
    """If it is another one than the name in lower case."""
    shape: Any = field(default=None, compare=False, repr=False)
    """What the API server has compiled of a custom kind's schema; nothing to anybody else."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.singular_name or self.name.lower()

    @property
    def group_resource(self) -> str:
        """As upstream's messages write it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """As upstream's messages write it: `Pod`, `Deployment.apps`."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def type(self) -> type[Any]:
        """The Struct of this kind, or CustomObject."""
        if self.custom:
            return custom.CustomObject
        return getattr(types, _type_names()[self])  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"{self.api_version} {self.name}"

    def __hash__(self) -> int:
        # Of all fields it would cost more than many of the look-ups that it is for.
        return hash((self.group, self.plural, self.version))


# kind, plural, scope (n: namespaced, c: cluster), short names, categories, subresources; `!` marks kinds that can only
# be created (reviews and the like), `?` those that can only be read: nothing of them is stored.
TABLE = """
v1
  Binding                         bindings                           n -       -    -                          !
  ComponentStatus                 componentstatuses                  c cs      -    -                          ?
  ConfigMap                       configmaps                         n cm      -    -
  Endpoints                       endpoints                          n ep      -    -
  Event                           events                             n ev      -    -
  LimitRange                      limitranges                        n limits  -    -
  Namespace                       namespaces                         c ns      -    finalize,status
  Node                            nodes                              c no      -    proxy,status
  PersistentVolumeClaim           persistentvolumeclaims             n pvc     -    status
  PersistentVolume                persistentvolumes                  c pv      -    status
  Pod                             pods                               n po      all  attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize,status
  PodTemplate                     podtemplates                       n -       -    -
  ReplicationController           replicationcontrollers             n rc      all  scale,status
  ResourceQuota                   resourcequotas                     n quota   -    status
  Secret                          secrets                            n -       -    -
  ServiceAccount                  serviceaccounts                    n sa      -    token
  Service                         services                           n svc     all  proxy,status
admissionregistration.k8s.io/v1
  MutatingAdmissionPolicy         mutatingadmissionpolicies          c -       api-extensions -
  MutatingAdmissionPolicyBinding  mutatingadmissionpolicybindings    c -       api-extensions -
  MutatingWebhookConfiguration    mutatingwebhookconfigurations      c -       api-extensions -
  ValidatingAdmissionPolicy       validatingadmissionpolicies        c -       api-extensions status
  ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings c -       api-extensions -
  ValidatingWebhookConfiguration  validatingwebhookconfigurations    c -       api-extensions -
apiextensions.k8s.io/v1
  CustomResourceDefinition        customresourcedefinitions          c crd,crds api-extensions status
apiregistration.k8s.io/v1
  APIService                      apiservices                        c -       api-extensions status
apps/v1
  ControllerRevision              controllerrevisions                n -       -    -
  DaemonSet                       daemonsets                         n ds      all  status
  Deployment                      deployments                        n deploy  all  scale,status
  ReplicaSet                      replicasets                        n rs      all  scale,status
  StatefulSet                     statefulsets                       n sts     all  scale,status
authentication.k8s.io/v1
  SelfSubjectReview               selfsubjectreviews                 c -       -    -                          !
  TokenReview                     tokenreviews                       c -       -    -                          !
authorization.k8s.io/v1
  LocalSubjectAccessReview        localsubjectaccessreviews          n -       -    -                          !
  SelfSubjectAccessReview         selfsubjectaccessreviews           c -       -    -                          !
  SelfSubjectRulesReview          selfsubjectrulesreviews            c -       -    -                          !
  SubjectAccessReview             subjectaccessreviews               c -       -    -                          !
autoscaling/v2
  HorizontalPodAutoscaler         horizontalpodautoscalers           n hpa     all  status
autoscaling/v1
  HorizontalPodAutoscaler         horizontalpodautoscalers           n hpa     all  status
batch/v1
  CronJob                         cronjobs                           n cj      all  status
  Job                             jobs                               n -       all  status
certificates.k8s.io/v1
  CertificateSigningRequest       certificatesigningrequests         c csr     -    approval,status
coordination.k8s.io/v1
  Lease                           leases                             n -       -    -
discovery.k8s.io/v1
  EndpointSlice                   endpointslices                     n -       -    -
events.k8s.io/v1
  Event                           events                             n ev      -    -
flowcontrol.apiserver.k8s.io/v1
  FlowSchema                      flowschemas                        c -       -    status
  PriorityLevelConfiguration      prioritylevelconfigurations        c -       -    status
metrics.k8s.io/v1beta1
  NodeMetrics                     nodes                              c -       -    -                          ?
  PodMetrics                      pods                               n -       -    -                          ?
networking.k8s.io/v1
  IngressClass                    ingressclasses                     c -       -    -
  Ingress                         ingresses                          n ing     -    status
  IPAddress                       ipaddresses                        c ip      -    -
  NetworkPolicy                   networkpolicies                    n netpol  -    -
  ServiceCIDR                     servicecidrs                       c -       -    status
node.k8s.io/v1
  RuntimeClass                    runtimeclasses                     c -       -    -
policy/v1
  PodDisruptionBudget             poddisruptionbudgets               n pdb     -    status
rbac.authorization.k8s.io/v1
  ClusterRoleBinding              clusterrolebindings                c -       -    -
  ClusterRole                     clusterroles                       c -       -    -
  RoleBinding                     rolebindings                       n -       -    -
  Role                            roles                              n -       -    -
resource.k8s.io/v1
  DeviceClass                     deviceclasses                      c -       -    -
  ResourceClaim                   resourceclaims                     n -       -    status
  ResourceClaimTemplate           resourceclaimtemplates             n -       -    -
  ResourceSlice                   resourceslices                     c -       -    -
scheduling.k8s.io/v1
  PriorityClass                   priorityclasses                    c pc      -    -
storage.k8s.io/v1
  CSIDriver                       csidrivers                         c -       -    -
  CSINode                         csinodes                           c -       -    -
  CSIStorageCapacity              csistoragecapacities               n -       -    -
  StorageClass                    storageclasses                     c sc      -    -
  VolumeAttachment                volumeattachments                  c -       -    status
  VolumeAttributesClass           volumeattributesclasses            c vac     -    -
"""  # noqa: E501


# What is served only where its feature gate is on, as upstream: by gate.
_GATED_TABLES = {
    "GenericWorkload": """
scheduling.k8s.io/v1beta1
  PodGroup                        podgroups                          n -       -    status
  Workload                        workloads                          n -       -    -
""",
}


def _parse(table: str) -> tuple[Kind, ...]:
    def words(cell: str) -> tuple[str, ...]:
        return () if cell == "-" else tuple(cell.split(","))

    kinds, group, version = [], "", ""
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            group, _, version = line.rpartition("/")
            continue
        name, plural, scope, short, categories, subresources, *marks = line.split()
        verbs: tuple[str, ...] = CREATE_ONLY if "!" in marks else ("get", "list") if "?" in marks else ALL_VERBS
        if name == "Namespace":
            verbs = tuple(v for v in verbs if v != "deletecollection")
        kinds.append(
            Kind(
                group=group, version=version, name=name, plural=plural, namespaced=scope == "n",
                short_names=words(short), categories=words(categories), subresources=words(subresources), verbs=verbs,
            )
        )  # fmt: skip
    return tuple(kinds)


BUILT_IN: tuple[Kind, ...] = _parse(TABLE)
GATED: dict[str, tuple[Kind, ...]] = {gate: _parse(table) for gate, table in _GATED_TABLES.items()}
_BY_RESOURCE = {(k.group, k.version, k.plural): k for k in (*BUILT_IN, *chain(*GATED.values()))}
_BY_KIND = {(k.api_version, k.name): k for k in _BY_RESOURCE.values()}
_OF: dict[type[Any], Kind] = {}


@cache
def _type_names() -> dict[Kind, str]:
    by_kind: dict[Kind, str] = {}
    for name, full in schema.names().items():
        properties = schema.definitions()[full].get("properties", {})
        for api_version in properties.get("apiVersion", {}).get("enum", ()):
            if kind := _BY_KIND.get((api_version, properties["kind"]["enum"][0])):
                by_kind[kind] = name
    return by_kind


def served(gates: Collection[str]) -> tuple[Kind, ...]:
    """The built-in kinds where these feature gates are on."""
    return (*BUILT_IN, *chain.from_iterable(found for gate, found in GATED.items() if gate in gates))


def by_resource(group: str, version: str, plural: str) -> Kind | None:
    """The built-in kind behind a path such as `/apis/GROUP/VERSION/PLURAL`; None if there is none."""
    return _BY_RESOURCE.get((group, version, plural))


def by_name(api_version: str, kind: str) -> Kind | None:
    """The built-in kind of an object's `apiVersion` and `kind`; None if there is none."""
    return _BY_KIND.get((api_version, kind))


def of(type_: type[Any]) -> Kind:
    """The kind that a Struct type is: `of(Pod).plural == "pods"`.  Raises KeyError for a type that is not a kind."""
    kind = _OF.get(type_) or getattr(type_, "KIND", None)
    if kind is None:
        example = type_()
        kind = _OF[type_] = _BY_KIND[example.apiVersion, example.kind]
    return kind
