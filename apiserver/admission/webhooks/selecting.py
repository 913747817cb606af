"""Which webhooks a request is shown to, and as what."""

from dataclasses import dataclass

from api.kinds import Kind
from apiserver.admission.attributes import Attributes
from apiserver.admission.matching import matching_kind, namespace_matches, object_matches
from apiserver.admission.reading import Reader
from apiserver.admission.webhooks.forms import Forms
from apiserver.admission.webhooks.hooks import GROUP, Hook

EXEMPT = frozenset(
    {
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
    }
)  # fmt: skip
"""What decides about admission is never shown to webhooks: a broken one could not be removed any more."""


@dataclass(frozen=True, slots=True)
class Call:
    hook: Hook
    kind: Kind
    """As which the webhook wants the objects."""


def is_exempt(kind: Kind) -> bool:
    return kind.group == GROUP and kind.plural in EXEMPT


async def call_for(hook: Hook, about: Attributes, forms: Forms, reader: Reader) -> Call | None:
    """The call that the request means for the hook, its conditions aside; None if it is not about it.

    Raises NotFound if the request's namespace is asked about, and is not there.
    """
    equivalents = () if hook.exact else forms.equivalents(about.asked)
    kind = matching_kind(hook.rules, about, equivalents)
    if kind is None or not object_matches(hook.objects, about):
        return None
    return Call(hook, kind) if await namespace_matches(hook.namespaces, about, reader) else None
