"""NetworkPolicies, enforced for the pods of this node.

Here and not in a component of its own, because it is the same work on the same packets: what a Service's address became
must be judged after kube_proxy has translated it, and a fourth process on each node would cost as much memory as the
cluster's policies. The kubelet, which plumbs pods, knows none but its own.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""
