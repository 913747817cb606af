"""How any component talks and runs: client, informers, queues, controllers, leases, events, running, testing.

Something belongs here if a second component would otherwise write it again, and it knows no component.
"""
