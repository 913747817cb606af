"""The roles of upstream's controllers, each for the service account of that name in kube-system.

Clusters whose controllers use their own accounts need them, and so do people who look a controller's rights up.
"""

PREFIX = "system:controller:"
# A controller, then a line for each rule, written as in `defaults`. EVENTS: to tell of things, as almost all do.
TABLE = """
attachdetach-controller
  list,watch  :persistentvolumes,persistentvolumeclaims,pods
  READ  :nodes storage.k8s.io:csidrivers,csinodes
  patch,update  :nodes/status
  get,create,delete,list,watch  storage.k8s.io:volumeattachments
  EVENTS
certificate-controller
  READ,delete  certificates.k8s.io:certificatesigningrequests
  update  certificates.k8s.io:certificatesigningrequests/approval,certificatesigningrequests/status
  approve  certificates.k8s.io:signers [kubernetes.io/kube-apiserver-client-kubelet]
  sign  certificates.k8s.io:signers [kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown]
  create  authorization.k8s.io:subjectaccessreviews
  EVENTS
clusterrole-aggregation-controller
  escalate,READ,patch,update  rbac.authorization.k8s.io:clusterroles
cronjob-controller
  READ,update  batch:cronjobs
  READ,create,delete,patch,update  batch:jobs
  update  batch:cronjobs/finalizers,cronjobs/status
  delete,list  :pods
  EVENTS
daemon-set-controller
  READ  apps:daemonsets extensions:daemonsets
  update  apps:daemonsets/finalizers,daemonsets/status extensions:daemonsets/finalizers,daemonsets/status
  list,watch  :nodes
  create,delete,list,patch,watch  :pods
  create  :pods/binding
  READ,create,delete,patch,update  apps:controllerrevisions
  EVENTS
deployment-controller
  READ,update  apps:deployments extensions:deployments
  update  apps:deployments/finalizers,deployments/status extensions:deployments/finalizers,deployments/status
  READ,create,delete,patch,update  apps:replicasets extensions:replicasets
  READ,update  :pods
  EVENTS
device-taint-eviction-controller
  READ,delete  :pods
  patch,update  :pods/status
  READ  resource.k8s.io:deviceclasses,devicetaintrules,resourceclaims,resourceslices
  EVENTS
disruption-controller
  READ  apps:deployments,replicasets,statefulsets extensions:deployments,replicasets :replicationcontrollers
  READ  policy:poddisruptionbudgets
  update  policy:poddisruptionbudgets/status
  patch,update  :pods/status
  get  *:*/scale
  EVENTS
endpoint-controller
  READ  :pods,services
  create,delete,get,list,update  :endpoints
  create  :endpoints/restricted
  EVENTS
endpointslice-controller
  READ  :nodes,pods,services
  update  :services/finalizers
  create,delete,get,list,update  discovery.k8s.io:endpointslices
  create  discovery.k8s.io:endpointslices/restricted
  EVENTS
endpointslicemirroring-controller
  READ  :endpoints,services
  update  :endpoints/finalizers,services/finalizers
  create,delete,get,list,update  discovery.k8s.io:endpointslices
  create  discovery.k8s.io:endpointslices/restricted
  EVENTS
ephemeral-volume-controller
  READ  :pods
  update  :pods/finalizers
  READ,create  :persistentvolumeclaims
  EVENTS
expand-controller
  READ,patch,update  :persistentvolumes
  patch,update  :persistentvolumeclaims/status
  READ  :persistentvolumeclaims storage.k8s.io:storageclasses
  get  :endpoints,services,secrets
  EVENTS
generic-garbage-collector
  READ,delete,patch,update  *:*
  EVENTS
horizontal-pod-autoscaler
  READ  autoscaling:horizontalpodautoscalers
  update  autoscaling:horizontalpodautoscalers/status
  get,update  *:*/scale
  list  :pods metrics.k8s.io:pods
  get,list  custom.metrics.k8s.io:* external.metrics.k8s.io:*
  EVENTS
job-controller
  READ,patch,update  batch:jobs
  update  batch:jobs/finalizers,jobs/status
  create,delete,list,patch,watch  :pods
  EVENTS
legacy-service-account-token-cleaner
  get  :configmaps [kube-apiserver-legacy-service-account-token-tracking]
  delete,patch  :secrets
namespace-controller
  READ,delete  :namespaces
  update  :namespaces/finalize,namespaces/status
  delete,deletecollection,get,list  *:*
node-controller
  delete,get,list,patch,update  :nodes
  patch,update  :nodes/status,pods/status
  delete,get,list  :pods
  EVENTS
persistent-volume-binder
  READ,create,delete,update  :persistentvolumes
  update  :persistentvolumes/status,persistentvolumeclaims/status
  READ,update  :persistentvolumeclaims
  READ,create,delete  :pods
  READ  storage.k8s.io:storageclasses
  create,delete,get,update  :endpoints
  create,delete,get  :services
  get  :secrets
  get,list  :nodes
  watch  :events
  EVENTS
pod-garbage-collector
  delete,list,watch  :pods
  get,list  :nodes
  patch  :pods/status
pv-protection-controller
  READ,update  :persistentvolumes
  EVENTS
pvc-protection-controller
  READ,update  :persistentvolumeclaims
  READ  :pods
  EVENTS
replicaset-controller
  READ,update  apps:replicasets extensions:replicasets
  update  apps:replicasets/finalizers,replicasets/status extensions:replicasets/finalizers,replicasets/status
  create,delete,list,patch,watch  :pods
  EVENTS
replication-controller
  READ,update  :replicationcontrollers
  update  :replicationcontrollers/finalizers,replicationcontrollers/status
  create,delete,list,patch,watch  :pods
  EVENTS
resource-claim-controller
  READ  :pods
  update  :pods/finalizers
  READ,create,delete  resource.k8s.io:resourceclaims
  READ  resource.k8s.io:resourceclaimtemplates
  patch,update  resource.k8s.io:resourceclaims,resourceclaims/status,resourceclaims/binding :pods/status
  EVENTS
resourcequota-controller
  list,watch  *:*
  update  :resourcequotas/status
  EVENTS
root-ca-cert-publisher
  create,update  :configmaps
  EVENTS
route-controller
  list,watch  :nodes
  patch  :nodes/status
  EVENTS
selinux-warning-controller
  READ  :persistentvolumes,persistentvolumeclaims,pods storage.k8s.io:csidrivers
  EVENTS
service-account-controller
  create  :serviceaccounts
  EVENTS
service-cidrs-controller
  READ,patch,update  networking.k8s.io:servicecidrs
  patch,update  networking.k8s.io:servicecidrs/finalizers,servicecidrs/status
  READ  networking.k8s.io:ipaddresses
  EVENTS
service-controller
  READ  :services
  patch,update  :services/status
  list,watch  :nodes
  EVENTS
statefulset-controller
  list,watch  :pods
  READ  apps:statefulsets
  update  apps:statefulsets/finalizers,statefulsets/status
  create,delete,get,patch,update  :pods
  READ,create,delete,patch,update  apps:controllerrevisions
  create,delete,get,update  :persistentvolumeclaims
  EVENTS
ttl-after-finished-controller
  READ,delete  batch:jobs
  EVENTS
ttl-controller
  list,patch,update,watch  :nodes
  EVENTS
validatingadmissionpolicy-status-controller
  READ  admissionregistration.k8s.io:validatingadmissionpolicies
  get,patch,update  admissionregistration.k8s.io:validatingadmissionpolicies/status
  EVENTS
volumeattributesclass-protection-controller
  READ  :persistentvolumeclaims,persistentvolumes
  READ,update  storage.k8s.io:volumeattributesclasses
  EVENTS
"""  # noqa: E501

# Roles in one namespace, and who holds them: NAMESPACE/NAME, rules, and after `=` the subjects.
NAMESPACED = """
kube-system/extension-apiserver-authentication-reader
  READ  :configmaps [extension-apiserver-authentication]
  = system::extension-apiserver-authentication-reader  User system:kube-controller-manager, User system:kube-scheduler
kube-system/system::leader-locking-kube-controller-manager
  watch  :configmaps
  get,update  :configmaps [kube-controller-manager]
  = system::leader-locking-kube-controller-manager  User system:kube-controller-manager, ServiceAccount kube-system/kube-controller-manager
kube-system/system::leader-locking-kube-scheduler
  watch  :configmaps
  get,update  :configmaps [kube-scheduler]
  = system::leader-locking-kube-scheduler  User system:kube-scheduler, ServiceAccount kube-system/kube-scheduler
kube-system/system:controller:bootstrap-signer
  READ  :secrets
  = system:controller:bootstrap-signer  ServiceAccount kube-system/bootstrap-signer
kube-system/system:controller:cloud-provider
  create,READ  :configmaps
  = system:controller:cloud-provider  ServiceAccount kube-system/cloud-provider
kube-system/system:controller:token-cleaner
  READ,delete  :secrets
  EVENTS
  = system:controller:token-cleaner  ServiceAccount kube-system/token-cleaner
kube-public/system:controller:bootstrap-signer
  READ  :configmaps
  update  :configmaps [cluster-info]
  EVENTS
  = system:controller:bootstrap-signer  ServiceAccount kube-system/bootstrap-signer
kube-system/system:kube-dns
  READ,create,delete,patch,update  :services discovery.k8s.io:endpointslices
  = system:kube-dns  User system:kube-dns
"""  # noqa: E501
