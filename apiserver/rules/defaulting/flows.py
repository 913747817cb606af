"""Flow schemas and priority levels."""

from api.types import (
    ExemptPriorityLevelConfiguration,
    FlowSchema,
    PriorityLevelConfiguration,
    QueuingConfiguration,
)  # fmt: skip

PRECEDENCE = 1000
SHARES = 30
QUEUES, HAND, LENGTH = 64, 8, 50


def flow_schema(obj: FlowSchema) -> None:
    if obj.spec.matchingPrecedence is None:
        obj.spec.matchingPrecedence = PRECEDENCE


def priority_level(obj: PriorityLevelConfiguration) -> None:
    spec = obj.spec
    if spec.type == "Exempt":
        spec.exempt = spec.exempt or ExemptPriorityLevelConfiguration()
        spec.exempt.nominalConcurrencyShares = spec.exempt.nominalConcurrencyShares or 0
        spec.exempt.lendablePercent = spec.exempt.lendablePercent or 0
    if spec.limited is None:
        return
    if spec.limited.nominalConcurrencyShares is None:
        spec.limited.nominalConcurrencyShares = SHARES
    spec.limited.lendablePercent = spec.limited.lendablePercent or 0
    response = spec.limited.limitResponse
    if response is not None and response.type == "Queue":
        response.queuing = queuing = response.queuing or QueuingConfiguration()
        queuing.queues = QUEUES if queuing.queues is None else queuing.queues
        queuing.handSize = HAND if queuing.handSize is None else queuing.handSize
        queuing.queueLengthLimit = LENGTH if queuing.queueLengthLimit is None else queuing.queueLengthLimit
