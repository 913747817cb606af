"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: servers outside of the cluster's own that have a say.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/

    hooks       what the configurations say, indexed by resource, as the watch cache has them
    selecting   which hooks a request is to be shown to
    forms       the object in the version that a hook asks for
    reviews     the AdmissionReview there, and what comes back
    calling     one hook: called, and what its silence means
    mutating    one after the other; each may change the object
    validating  all at once; none may
"""

from apiserver.admission.webhooks.calling import Post
from apiserver.admission.webhooks.conditions import Conditions
from apiserver.admission.webhooks.forms import Forms, Served
from apiserver.admission.webhooks.hooks import Source
from apiserver.admission.webhooks.mutating import MutatingWebhooks
from apiserver.admission.webhooks.validating import ValidatingWebhooks

__all__ = ["Conditions", "Forms", "MutatingWebhooks", "Served", "ValidatingWebhooks", "Webhooks"]


class Webhooks:
    """Both, on the same means."""

    def __init__(self, source: Source, post: Post, forms: Forms, conditions: Conditions) -> None:
        self.mutating = MutatingWebhooks(source, post, forms, conditions)
        self.validating = ValidatingWebhooks(source, post, forms, conditions)
