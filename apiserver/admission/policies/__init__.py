"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL that objects in the cluster state.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/

compiling    one policy: its expressions as programs
sources      policies and bindings as the watch cache has them, indexed by resource; their parameters
dispatching  from a request to what it is to be judged by
evaluating   the variables of expressions, and the bounds of their evaluation
authorizers  how expressions ask what somebody may do
validating   a Judge
mutating     a Plugin; patches: what its expressions make of an object
type_checks  what expressions mean for the types that a policy matches, told in its status
"""
