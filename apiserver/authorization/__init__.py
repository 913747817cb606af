"""Who may do what.

deciding     what an authorizer is, its refusal in words, and those that need no rules
rights       what one user may do by rules (pure)
rbac         roles and bindings, as the cache has them → the rights of whoever asks
nodes        kubelets: their own node, and what the pods on it refer to
defaults     the roles and bindings that every cluster has
escalation   nobody grants what they do not have
restriction  no kubelet touches another's
signing      who may approve and sign certificates
"""

from apiserver.authorization.deciding import SELF, Authorizer, Decision, First, Groups, Masters, refusal

__all__ = ["SELF", "Authorizer", "Decision", "First", "Groups", "Masters", "refusal"]
