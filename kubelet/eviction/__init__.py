"""Node-pressure eviction: pods are ended before the node has nothing left.

https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/

    thresholds   which signals are watched, and from where on something is done; pure
    deciding     what was observed × what was known → pressures, and what is to be reclaimed; pure
    ranking      which pod goes, and in which words; pure
    observing    what there is of everything now, and what each pod uses
    reclaiming   what can be freed before that
    evicting     the loop around them

One pod goes at a time, and the next one only if that was not enough.
"""
