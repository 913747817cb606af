"""Node-pressure eviction: pods are ended before the node has nothing left.

https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/

    thresholds   which signals are watched, and from where on something is done; pure
"""
