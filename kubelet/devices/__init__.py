"""Devices that claims have allocated: their drivers on this node, and how containers come to them.
https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/

A driver listens at a socket in `plugins_registry`, is asked to prepare a pod's claims before the pod starts, and to
undo that when the last pod of the node that uses them has ended.  What is prepared stands in a file of the root
directory, the one thing that the engine cannot know.
"""
