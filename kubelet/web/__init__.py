"""The kubelet's HTTPS port, as upstream offers it.

    askers   who asks: a client's certificate or a bearer token
    rights   what one must be allowed to, path by path, and whether one is
    door     the way of a request, and the pages by their paths

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""
