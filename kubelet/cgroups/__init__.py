"""Control groups: what keeps a node, its classes of pods and each pod within what they were promised.

names    where a group stands, in both of the engine's ways to name one
limits   what a pod's group, a class's and the node's are to have; pure
trees    the kernel's files, of cgroup v1 and of v2
keeping  this node's groups, made to be as they should
"""
