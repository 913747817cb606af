"""Certificates that the kubelet asks for itself: the one it calls with and the one it serves with.

https://kubernetes.io/docs/tasks/tls/certificate-rotation/
"""
