"""What objects use up of a namespace's ResourceQuotas. Pure; the API server charges by it, a controller recounts by it.

https://kubernetes.io/docs/concepts/policy/resource-quotas/

    amounts     resource lists that can be added, compared and written again as they were
    pods        what a pod requests and is limited to, as a whole
    evaluators  kind by kind: which resources of a quota it counts for, and how much of them one object uses
    scopes      which pods and claims a quota with scopes is about
"""
