"""What a claim was given, as its status has it: devices, what drivers are to know of them, and where they are. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from api import meta
from api.types import (
    AllocationResult,
    DeviceAllocationConfiguration,
    DeviceAllocationResult,
    DeviceClaimConfiguration,
    DeviceClassConfiguration,
    DeviceRequestAllocationResult,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from scheduler import capacities
from scheduler.capacities import Amounts
from scheduler.device_requests import Ask, Wanted
from scheduler.pools import Offered, Place

FROM_CLASS, FROM_CLAIM = "FromClass", "FromClaim"


class Pick(NamedTuple):
    wanted: Wanted
    offered: Offered
    takes: Amounts | None = None
    """Of a device that others may share."""


def result(
    ask: Ask, picks: Iterable[Pick], chosen: Sequence[int], place: Place, share: Callable[[], str]
) -> AllocationResult:
    """For the claim's status.  `share` makes an id for a share of a device."""
    return AllocationResult(
        devices=DeviceAllocationResult(results=[_result(p, share) for p in picks], config=_config(ask, chosen)),
        nodeSelector=_selector(picks, place),
    )


def _result(pick: Pick, share: Callable[[], str]) -> DeviceRequestAllocationResult:
    own, wanted = pick.offered.id, pick.wanted
    found = DeviceRequestAllocationResult(
        request=wanted.name, driver=own.driver, pool=own.pool, device=own.device, tolerations=wanted.tolerations,
        adminAccess=True if wanted.admin else None, bindingConditions=pick.offered.device.bindingConditions,
        bindingFailureConditions=pick.offered.device.bindingFailureConditions,
    )  # fmt: skip
    if pick.takes is not None:
        found.shareID = share()
        found.consumedCapacity = capacities.spelled(pick.offered, pick.takes)
    return found


def _config(ask: Ask, chosen: Sequence[int]) -> list[DeviceAllocationConfiguration]:
    """What classes say of the requests that they are for, each once, and then what the claim says."""
    served = [alternatives[at] for alternatives, at in zip(ask.requests, chosen, strict=True)]
    found = []
    for device_class in {w.device_class.metadata.name: w.device_class for w in served}.values():
        names = [w.name for w in served if w.device_class is device_class]
        found += [_configured(FROM_CLASS, config, names) for config in device_class.spec.config]
    devices = ask.claim.spec.devices
    for config in devices.config if devices is not None else ():
        if not config.requests:
            found.append(_configured(FROM_CLAIM, config, []))
        for wanted in served:
            if wanted.parent in config.requests or wanted.name in config.requests:
                found.append(_configured(FROM_CLAIM, config, config.requests))
    for each in found:
        if len(each.requests) == len(served):
            each.requests = []  # for all
    return found


def _configured(
    source: str, config: DeviceClassConfiguration | DeviceClaimConfiguration, requests: list[str]
) -> DeviceAllocationConfiguration:  # fmt: skip
    return DeviceAllocationConfiguration(source=source, requests=[*requests], opaque=config.opaque)


def _selector(picks: Iterable[Pick], place: Place) -> NodeSelector | None:
    """The nodes that can reach all of the devices; None: every one."""
    fields: list[NodeSelectorRequirement] = []
    expressions: list[NodeSelectorRequirement] = []
    for pick in picks:
        offer = pick.offered.offer
        where = pick.offered.device if offer.spec.perDeviceNodeSelection else offer.spec
        if where.nodeName or pick.offered.device.bindsToNode:
            only = NodeSelectorRequirement(key="metadata.name", operator="In", values=[place.name])
            return NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchFields=[only])])
        for term in where.nodeSelector.nodeSelectorTerms if where.nodeSelector is not None else ():
            _add(fields, term.matchFields)
            _add(expressions, term.matchExpressions)
    if not fields and not expressions:
        return None
    return NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchFields=fields, matchExpressions=expressions)])


def _add(there: list[NodeSelectorRequirement], more: Iterable[NodeSelectorRequirement]) -> None:
    for new in more:
        same = (new.key, new.operator, {*new.values})
        if all((known.key, known.operator, {*known.values}) != same for known in there):
            there.append(meta.clone(new))
