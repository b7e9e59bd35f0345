"""The part of a reconcile that buys nodes: none on the word of a store alone, and none twice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from kaitoctl.kaito import api, claim_attempts, node_claims, provisioning
from kaitoctl.kaito.claim_attempts import ClaimAttempts
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import JOB, NODE_CLAIM, Object, dig, is_being_deleted, key_of, uid_of
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import refused_pods, replicas
from kaitoctl.workspace_controller import steps
from kaitoctl.workspace_controller.decisions import MANAGER, StageError
from kaitoctl.workspace_controller.node_view import Look, NodeView
from kaitoctl.workspace_controller.stores import (
    Stores,
    bought_for,
    counted,
    machine_stays,
    workspace_of_labels,
)

LOOK_AGAIN_S = 60.0
"""Deleted NodeClaims are gone when their machines are; the store shows it, this is for news that got lost."""


@dataclass(slots=True)
class ClaimResult(StageError):
    """What a reconcile did about nodes, and why not more.

    Args:
        asked: the claims that were asked for while nodes are waited for.
        kept: why claims that are not needed are not deleted.
        again_s: look again after so many seconds; None for not.
    """

    asked: dict[str, ClaimAttempts] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    again_s: float | None = None

    def look_again(self, after_s: float) -> None:
        """Look again then, or earlier."""
        self.again_s = after_s if self.again_s is None else min(self.again_s, after_s)


def claims_of(stores: Stores, workspace: Object) -> list[Object]:
    """The NodeClaims that were made for this very incarnation of the Workspace, or by KAITO for its name."""
    if not stores.claims and not stores.machines:  # in many clusters nobody asks for nodes
        return []
    return bought_for(stores, key_of(workspace), uid_of(workspace))


class Claims:
    """Asks for the nodes that are missing.

    Args:
        stores: the world as last seen.
        nodes: what they say about nodes.
        clock: the present time.
    """

    def __init__(
        self, stores: Stores, nodes: NodeView, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._settings = settings
        self._clock = clock

    def buy(
        self, workspace: Object, newest: Object, look: Look, workload: Object | None, result: ClaimResult
    ) -> Generator[Request, Object, None]:
        """Ask for the nodes that are missing and not on their way.

        A node that still holds our pods is not replaced while it is there: a kubelet that restarts would buy
        another one each time. Nor is one bought for a pod of which the scheduler has not said that there is
        no place: it may be about to find one. A claim that vanished (Karpenter deletes those it finds no
        capacity for) is made again, but with growing patience. For pods that the API server refuses (a quota)
        none is bought: nobody would be on it.

        Args:
            workspace: to be built.
            newest: as it is in the cluster: the same, unless that is refused.
            look: at its nodes.
            workload: its own, None while there is none.
            result: what came of it.
        """
        verdict = look.verdict
        if verdict.enough:
            return
        result.asked = claim_attempts.attempts_of(workspace)
        if look.waits_for_others:
            result.look_again(LOOK_AGAIN_S)
        if verdict.unusable_preferred or not self._stores.can_claim():
            return
        found, serving = claims_of(self._stores, workspace), set(verdict.selected)
        claims = counted(self._stores, found)
        result.kept += [machine_stays(self._stores, one) for one in found if one not in claims]
        self._note_launching(workspace, claims, result)
        missing = verdict.missing - len(look.held - serving) - look.undecided - _pods_to_come(workload)
        if refused := refused_pods(workload) if workload is not None else "":
            missing = min(missing, self._unplaced_pods(workspace))
            if missing <= 0 and not claims:
                result.note = f"no node is asked for while the pods are refused: {refused}"
        demand = node_claims.demand(
            workspace,
            claims,
            missing=missing,
            in_use=serving | look.held,
            full={node for claim in claims if (node := node_claims.node_of(claim)) and self._guests(claim)},
        )
        if demand.is_final:
            taken = ", ".join(claim["metadata"]["name"] for claim in demand.lost)
            result.refusal = (
                f"others hold the GPUs of the nodes that were bought (NodeClaims {taken}); no more are bought"
            )
        if not demand.number:
            return
        if why := node_claims.contradiction(workspace, self._settings.catalog):
            result.refusal = why
            return
        if api.FINALIZER not in (workspace["metadata"].get("finalizers") or ()):
            yield steps.finalizers(workspace, ours=True)  # refused if our view is old
        elif not (yield from steps.is_view_current(newest)):
            return  # no node is bought for what was wanted once
        names = {claim["metadata"]["name"] for claim in claims}
        free = (name for name in node_claims.names(workspace) if name not in names)
        yield from self._ask(workspace, islice(free, demand.number), result)

    def _note_launching(self, workspace: Object, claims: Iterable[Object], result: ClaimResult) -> None:
        if launching := node_claims.launching(workspace, claims, self._clock()):
            result.note = node_claims.launching_words(launching)
            result.look_again(LOOK_AGAIN_S)  # when their time is over, nothing changes that could be seen

    def _unplaced_pods(self, workspace: Object) -> int:
        """How many of its pods exist and have no node."""
        pods = self._stores.pods.by(workspace_of_labels, key_of(workspace))
        return sum(
            not (dig(pod, "spec", "nodeName") or is_finished(pod) or is_being_deleted(pod)) for pod in pods
        )

    def _ask(
        self, workspace: Object, names: Iterable[str], result: ClaimResult
    ) -> Generator[Request, Object, None]:
        for name in names:
            now, before = self._clock(), result.asked.get(name)
            if before is not None and (wait_s := before.wait_s(now)) > 0:
                again_at = conditions.timestamp(before.again_at)
                times = "once" if before.times == 1 else f"{before.times} times"
                result.note = (
                    f"NodeClaim {name}, asked for {times}, has vanished (no capacity?); again at {again_at}"
                )
                result.look_again(wait_s)
                continue
            wanted = provisioning.owned_claim(workspace, name, self._settings)
            claim = yield request.apply(NODE_CLAIM, wanted, manager=MANAGER)
            if uid_of(claim):  # a dry run's has none, and its absence later means nothing
                result.asked[name] = ClaimAttempts(before.times + 1 if before else 1, now)

    def _guests(self, claim: Object) -> list[str]:
        owner = next(iter(workspace_of_labels(claim)), None)
        return self._nodes.guests(node_claims.node_of(claim), owner) if node_claims.node_of(claim) else []


def _pods_to_come(workload: Object | None) -> int:
    """How many pods of a workload nobody has made yet: where they go is not known."""
    if workload is None or workload.get("kind") == JOB.kind:
        return 0
    return max(replicas(workload) - int(dig(workload, "status", "replicas") or 0), 0)
