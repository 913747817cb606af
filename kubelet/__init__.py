"""The node agent: makes the containers of this node be what the pods assigned to it ask for.

    syncing      desired pod × actual containers → actions and status; pure
    containers   one container of a pod → what the engine is asked to run; pure but for what it is given
    pods         the worker of each pod, the cache of containers, probes, hooks, statuses written back
    runtime      the engine behind an interface: docker, simulated
    images       their names and logins, pulling them, who may use them, removing what nobody uses
    network      pod addresses, veth pairs, routes; the only part that speaks netlink
    volumes      what pods mount, laid out under the root directory
    devices      those that claims have allocated: their drivers, and what containers get of them
    cgroups      what keeps the node, its classes of pods and each pod within what they were promised
    eviction     pods are ended before the node has nothing left
    statics      pods from files of this node, and the mirror pods that show them
    nodes        this machine's Node object and Lease
    usage        what pods use, and the forms in which it is told
    serving      the gRPC service, for the API server: logs, exec, attach, port-forward, stats
    web          the HTTPS port, for everybody who may see it: health, pods, what they use, what is counted

`agents` puts one kubelet together, `fleets` many simulated ones in one process.

The engine is the only store: everything that must survive a restart of the kubelet (attempt numbers, back-off, pod
addresses) stands in labels of the containers, so that there is no second truth to fall out of step with the first.
What drivers have prepared is none of the engine's business, and stands in a file.
"""
