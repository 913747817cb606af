"""Who did what, when, and what came of it: one line of JSON for each stage of a request that the policy asks for.

https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/

    policies    which requests are told of, at which level, at which stages (pure)
    entries     one request from its arrival to its answer → events
    calls       the same for the gRPC door
    logs        where events go: a file that is rotated, or standard output; never in the way of the event loop

The request that a task serves is in CURRENT, so that bodies and decisions find it without being handed through every
layer.  Without a policy there is none, and nothing of this costs anything.
"""

from apiserver.auditing.calls import Caller
from apiserver.auditing.entries import CURRENT, Audited, Auditor, Entry, annotate
from apiserver.auditing.logs import Limits, Log
from apiserver.auditing.policies import Policy, load

__all__ = ["CURRENT", "Audited", "Auditor", "Caller", "Entry", "Limits", "Log", "Policy", "annotate", "load"]
