"""What the events of NodeClaims that are gone tell of the next one.

Karpenter deletes a claim that it finds no capacity for, KAITO asks again, and the new claim says nothing yet:
it is as young as ever. For an hour the events are left. Source: karpenter v1.14
nodeclaim/lifecycle/launch.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from kaitoctl.kaito import node_check
from kaitoctl.kaito.diagnosis import karpenter
from kaitoctl.kaito.diagnosis.case import Case, claim_warnings, event_words
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube.objects import Object, dig, key_of

_VANISHED_WITHIN_S = 3600.0
_RETRIES = 32  # names of our own claims beyond the first ones: a lost one is not asked for again

# Of the claims that KAITO makes itself. Source: KAITO v0.9 pkg/utils/nodeclaim GenerateNodeClaimName.
_KAITOS_OWN = r"ws[0-9a-f]{6,}$"

# What stays as it was for the next claim.
_STAYS = ("quota-exceeded", "instance-type-unavailable", "node-class-not-ready")


def warnings(case: Case) -> Iterator[Object]:
    """Warnings of the last hour about gone claims that may have been this Workspace's, the newest first."""
    if case.seen.verdict is not None and case.seen.verdict.rules.is_byo:
        return  # KAITO asks for none
    # What is older than the Workspace was about another, which may have had its name.
    most_s = min(_VANISHED_WITHIN_S, case.waited_s or _VANISHED_WITHIN_S)
    there = {claim["metadata"]["name"] for claim in case.seen.claims}
    for event in sorted(claim_warnings(case), key=event_time, reverse=True):
        if case.age_s(event_time(event)) > most_s:
            return
        name = _name_of(event)
        if name in there:
            continue
        # Our controller's claims have names that follow from the Workspace: others are another's.
        if _is_surely_ours(case, name) or (not case.seen.is_ours and re.match(_KAITOS_OWN, name)):
            yield event


def is_turned_down(case: Case) -> bool:
    """Whether claims of this very Workspace were given up."""
    return any(_is_surely_ours(case, _name_of(event)) for event in warnings(case))


def turned_down_before(case: Case) -> Object | None:
    """The event by which a claim before the present one was given up, for a reason that stays.

    Another Workspace's counts where it names the instance type that is wanted here.
    """
    kind = node_check.instance_type_of(case.workspace).lower()
    for event in warnings(case):
        reason, words = str(event.get("reason") or ""), event_words(event)[1]
        if not _is_surely_ours(case, _name_of(event)) and not (kind and kind in words.lower()):
            continue
        known = karpenter.LAUNCH.get(reason) or karpenter.by_words(f"{reason} {words}")
        if known.code in _STAYS:
            return event
    return None


def whose(case: Case, event: Object) -> list[tuple[str, str]]:
    """As evidence: what cannot be known of a claim that is gone."""
    name = _name_of(event)
    if _is_surely_ours(case, name):
        return []
    return [("cluster", f"{name} is gone; that it was this Workspace's can no longer be seen")]


def _name_of(event: Object) -> str:
    return str(dig(event, "involvedObject", "name") or "")


def _is_surely_ours(case: Case, name: str) -> bool:
    from kaitoctl.kaito import node_claims as own

    key = key_of(case.workspace)
    if name.startswith(f"{key.namespace}-{key.name}-"):
        return True
    required = node_check.required_nodes(case.workspace)
    return name in islice(own.names(case.workspace), required + _RETRIES)
