"""The kubelet's HTTPS port, as upstream offers it.

    door         the way of a request: is there such a page, who asks, may they
    askers       who asks: a client's certificate or a bearer token
    rights       what one must be allowed to, path by path, and whether one is
    assembling   every page by its path
    pages, configz, measures, counts, processes, files   what the pages show

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""
