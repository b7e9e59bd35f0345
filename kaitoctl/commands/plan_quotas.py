"""Pods that a quota of the namespace refuses, said before nodes are bought for them or old pods go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kaitoctl.kaito import desired, node_check, planning
from kaitoctl.kaito.planning import Effects
from kaitoctl.kube.objects import JOB, Object, ObjectKey, dig, is_being_deleted, key_of
from kaitoctl.kube.quotas import Pods, Quotas
from kaitoctl.kube.workloads import replicas, running
from kaitoctl.workspace_controller import WORKLOADS, children_of

if TYPE_CHECKING:
    from kaitoctl.commands.plan_world import World


class QuotaEffects:
    """Adds to what follows from Workspaces what quotas do about it, one Workspace after another.

    Args:
        world: with the quotas.
        pods: the unfinished pods of each Workspace.
    """

    def __init__(self, world: World, pods: Mapping[ObjectKey, Sequence[Object]]) -> None:
        self._world, self._pods = world, pods
        self._quotas, self._contended = (Quotas(world.quotas, world.ranges) for _ in range(2))
        self._waiting: dict[str, list[str]] = {}
        if world.quotas:
            self._count_waiting()

    def of(self, workspace: Object, workload: Object | None, effects: Effects) -> Effects:
        """The effects, with the pods that are refused among them.

        Args:
            workspace: as the server would have it.
            workload: what it runs in then; None to work it out.
            effects: what its controller does.
        """
        key = key_of(workspace)
        if effects.refusal or not self._quotas.limits(key.namespace):
            return effects
        if workload is None and effects.waits:
            return effects  # nothing is built before there are nodes: no pod takes anything
        workload = workload or self._workload(workspace)
        if workload is None:
            return effects
        there = [pod for pod in self._pods.get(key, ()) if not is_being_deleted(pod)]
        wanted = int(dig(workload, "spec", "parallelism") or replicas(workload))
        spec = dig(workload, "spec", "template", "spec") or {}
        if not effects.restarts:
            claims = tuple(
                one.get("spec") or {} for one in dig(workload, "spec", "volumeClaimTemplates") or ()
            )
            why = self._take(key, Pods(spec, max(0, wanted - len(there)), claims))
            waits = "; ".join(filter(None, (effects.waits, why)))
            return replace(effects, waits=waits, returned=_returned(effects, why))
        if planning.surges(workload):
            why = self._take(key, Pods(spec, 1))
            words = "the Deployment starts a new pod before the old one ends, and the new pod is refused: "
        else:
            why = self._take(key, Pods(spec, wanted), there)
            words = "the old pods end, and new ones are refused: "
        if not why:
            return effects
        deadlock = effects.deadlock or words + why
        return replace(effects, deadlock=deadlock, returned=_returned(effects, why))

    def _take(self, key: ObjectKey, pods: Pods, freed: Sequence[Object] = ()) -> str:
        """Why not all of the pods are let in; pods that wait already may come first."""
        _, why = self._quotas.take(key.namespace, pods, freed)
        _, may = self._contended.take(key.namespace, pods, freed)
        others = [name for name in self._waiting.get(key.namespace, ()) if name != key.name]
        if why or not may or not others:
            return why
        return f"its pods may be refused: {may}, as pods of {', '.join(others[:3])} wait for the same"

    def _count_waiting(self) -> None:
        """Pods that there should be, and that are not there: a quota refuses them, or has until now."""
        stores = self._world.stores
        for workload in [*stores.deployments.values(), *stores.stateful_sets.values()]:
            key, missing = key_of(workload), replicas(workload) - running(workload)
            if missing > 0 and self._contended.limits(key.namespace):
                spec = dig(workload, "spec", "template", "spec") or {}
                self._contended.take(key.namespace, Pods(spec, missing))
                self._waiting.setdefault(key.namespace, []).append(key.name)

    def _workload(self, workspace: Object) -> Object | None:
        """What the Workspace would run in; None where nothing would be built."""
        settings = desired.with_generation(workspace, self._world.settings)
        if workspace.get("tuning") or desired.refusal(workspace, settings):
            return None  # a tuning Workspace names its output elsewhere, and has one pod
        sized = desired.sized(workspace, settings)
        gpus = node_check.gpus_per_pod(sized, (), settings.catalog)
        made = children_of(sized, gpus=gpus, settings=settings)
        return next((one.manifest for one in made if one.kind in WORKLOADS and one.kind is not JOB), None)


def _returned(effects: Effects, why: str) -> tuple[str, ...]:
    """What goes all the same: a Workspace that never gets all its pods outgrows nothing."""
    return tuple(line for line in effects.returned if not why or line not in effects.outgrown)
