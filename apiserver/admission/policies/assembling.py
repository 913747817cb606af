"""Both kinds of policies, on the same means."""

from apiserver.admission.policies.dispatching import Means
from apiserver.admission.policies.mutating import MutatingPolicies
from apiserver.admission.policies.sources import FindKind, Params
from apiserver.admission.policies.validating import ValidatingPolicies
from apiserver.admission.webhooks.forms import Forms
from apiserver.admission.webhooks.hooks import Source
from apiserver.authorization import Authorizer
from apiserver.rules import conversions


class AdmissionPolicies:
    def __init__(self, source: Source, forms: Forms, authorizer: Authorizer, find: FindKind) -> None:
        """`find` gives the kind of an apiVersion and a kind's name, as it is served at the moment."""
        means = Means(source, forms, Params(source, forms, find, conversions.stored_kind), authorizer)
        self.mutating = MutatingPolicies(means)
        self.validating = ValidatingPolicies(means)
