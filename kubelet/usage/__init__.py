"""What this node's pods use, read when somebody wants to know, and the forms in which it is told.

    figures            the numbers; plain values
    cgroups            a process's control group and network namespace → figures; version 1 and 2
    simulated          the same of containers that do not exist
    disks              what volumes and writable layers hold; looked at seldom
    looking            one look at everything that runs here, shared by all who ask at the same time
    summaries          looks → /stats/summary; pure
    resource_samples   a look → /metrics/resource; pure
    container_samples  a look → /metrics/cadvisor; pure

Upstream samples everything every ten seconds whether anybody asks or not; these files cost a tenth of a millisecond a
container, so they are read when they are asked for.
"""
