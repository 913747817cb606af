"""What the verbs of the API do to objects, whichever door the request came through.

registries   the verbs, from request to answer
reading      get, list, watch
writing      create, update; patches, scales, pods: what else ends in an update
deleting     grace periods, finalizers
owners       owner references that were sent twice
objects      one object as a Struct, and its transaction
bootstrapping  the objects that a cluster begins with
cluster_addresses  the objects that tell of services' addresses; service_addresses: what one looks like
"""

from apiserver.registry.registries import Registry

__all__ = ["Registry"]
