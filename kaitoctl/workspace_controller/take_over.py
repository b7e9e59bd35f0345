"""Taking Workspaces over from KAITO: those whose pods restart by it go one after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from kaitoctl.kaito import revisions
from kaitoctl.kube.objects import Object, ObjectKey, annotations_of, dig
from kaitoctl.kube.workloads import is_rolled_out
from kaitoctl.reconcile.field_differences import differences
from kaitoctl.reconcile.planner import Plan
from kaitoctl.workspace_controller.decisions import ANNOTATION_PREFIX, WORKLOADS, WRITTEN_FOR

_PATIENCE = timedelta(minutes=45)
"""How long the others wait for one that does not come up again: longer than any model may load."""

AGAIN_S = 10.0


def is_ours(workload: Object) -> bool:
    """Whether kaitoctl's controller was the last to write the workload: KAITO's gives it another revision."""
    notes = annotations_of(workload)
    number = notes.get(revisions.NUMBER)
    return f"{ANNOTATION_PREFIX}/desired-hash" in notes and notes.get(WRITTEN_FOR, number) == number


def restarts(changes: Plan, workload: Object) -> bool:
    """Whether carrying the plan out stops pods of the workload."""
    for step in changes.steps:
        if step.kind not in WORKLOADS or step.verb == "create":
            continue
        template = dig(step.request.body, "spec", "template")
        if step.verb == "delete" or differences(template or {}, dig(workload, "spec", "template") or {}):
            return True
    return False


class Turns:
    """Whose turn it is.

    Args:
        workload_of: the Workspace's own workload as last seen, None when there is none.
        clock: the present time.
    """

    def __init__(
        self, workload_of: Callable[[ObjectKey], Object | None], clock: Callable[[], datetime]
    ) -> None:
        self._workload_of = workload_of
        self._clock = clock
        self._holder: tuple[ObjectKey, datetime] | None = None

    def must_wait(self, key: ObjectKey, workload: Object | None, changes: Plan) -> bool:
        """Whether a Workspace must not be changed yet, since another one is still restarting."""
        if workload is None or is_ours(workload) or not restarts(changes, workload):
            return False
        if self._holder is None or self._holder[0] == key or self._is_done(*self._holder):
            self._holder = key, self._clock()
            return False
        return True

    def _is_done(self, key: ObjectKey, since: datetime) -> bool:
        workload = self._workload_of(key)
        if workload is None or self._clock() - since > _PATIENCE:
            return True
        return is_ours(workload) and is_rolled_out(workload)
