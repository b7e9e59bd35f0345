"""Pods that a quota of the namespace refuses, said before nodes are bought for them or old pods go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kaitoctl.kaito import planning
from kaitoctl.kaito.planning import Effects
from kaitoctl.kube.objects import Object, ObjectKey, dig, is_being_deleted, key_of
from kaitoctl.kube.quotas import Pods, Quotas
from kaitoctl.kube.workloads import replicas, running
from kaitoctl.workspace_controller import workload_of

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
        self._crowded: dict[str, str] = {}
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
            # Nothing is built before there are nodes: no pod takes anything, unless it gets those of a rival.
            waits = "; ".join(filter(None, (effects.waits, self._among_rivals(key, effects))))
            return replace(effects, waits=waits)
        workload = workload or workload_of(workspace, self._world.settings)
        if workload is None:
            return effects
        pods, freed = self._new_pods(key, workload, effects)
        why = self._take(key, pods, freed) or self._among_rivals(key, effects)
        if not effects.restarts:
            waits = "; ".join(filter(None, (effects.waits, why)))
            return replace(effects, waits=waits, returned=_returned(effects, why))
        if planning.surges(workload):
            words = "the Deployment starts a new pod before the old one ends, and the new pod is refused: "
        else:
            words = "the old pods end, and new ones are refused: "
        if not why:
            return effects
        deadlock = effects.deadlock or words + why
        return replace(effects, deadlock=deadlock, returned=_returned(effects, why))

    def survey(self, planned: Iterable[tuple[Object, Object | None, Effects]]) -> None:
        """See where not all pods have room that may come: which of rivals gets nodes first nobody knows.

        Args:
            planned: each Workspace, what it runs in then, and what its controller does.
        """
        if not self._world.quotas:
            return
        everyone = Quotas(self._world.quotas, self._world.ranges)
        found = {
            key_of(workspace): (workspace, workload, effects) for workspace, workload, effects in planned
        }
        rivals = {name for _, _, effects in found.values() for name in effects.rivals}
        for key, workspace in self._world.stores.workspaces.items():
            if str(key) in rivals and key not in found:
                found[key] = workspace, None, Effects()
        for key, (workspace, workload, effects) in found.items():
            workload = workload or workload_of(workspace, self._world.settings)
            if workload is None or effects.refusal or not everyone.limits(key.namespace):
                continue
            pods, freed = self._new_pods(key, workload, effects)
            _, why = everyone.take(key.namespace, pods, freed)
            if why:
                self._crowded.setdefault(key.namespace, why)

    def _among_rivals(self, key: ObjectKey, effects: Effects) -> str:
        """Why its pods may be refused where others may get the nodes, and the quota, before it."""
        why = self._crowded.get(key.namespace) if effects.rivals else None
        others = ", ".join(effects.rivals[:3])
        return f"its pods may be refused: {why}, as those of {others} may come first" if why else ""

    def _new_pods(self, key: ObjectKey, workload: Object, effects: Effects) -> tuple[Pods, Sequence[Object]]:
        """The pods that are made, and those that end before."""
        there = [pod for pod in self._pods.get(key, ()) if not is_being_deleted(pod)]
        wanted = int(dig(workload, "spec", "parallelism") or replicas(workload))
        if not effects.restarts:
            return Pods.made_by(workload, max(0, wanted - len(there))), ()
        spec = dig(workload, "spec", "template", "spec") or {}  # its claims are there
        return (Pods(spec, 1), ()) if planning.surges(workload) else (Pods(spec, wanted), there)

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


def _returned(effects: Effects, why: str) -> tuple[str, ...]:
    """What goes all the same: a Workspace that never gets all its pods outgrows nothing."""
    return tuple(line for line in effects.returned if not why or line not in effects.outgrown)
