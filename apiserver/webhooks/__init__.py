"""Calls from the API server to servers that extend it: admission and conversion webhooks, aggregated API servers.

connecting   where a URL leads: to a Service's endpoint, through its pod's node, or straight to an address
words        what went wrong, as Go's HTTP client says it
calling      one JSON document there, one back
"""

from apiserver.webhooks.calling import Caller, CallFault

__all__ = ["CallFault", "Caller"]
