"""Pods that this node has from its own files, whether or not there is an API server, and how they are shown there.
https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
"""
