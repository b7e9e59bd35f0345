"""A controller library: it knows Kubernetes, and nothing of KAITO. Its public names are those below.

They are imported when they are asked for: who plans, or compares, needs no event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaitoctl.reconcile.backoff import Backoff
    from kaitoctl.reconcile.controller import (
        Controller,
        Outcome,
        Reconcile,
        ReconcileResult,
        own_key,
        owner_keys,
        run_all,
    )
    from kaitoctl.reconcile.derived import Derived
    from kaitoctl.reconcile.dry_run import Decision, DryRun
    from kaitoctl.reconcile.field_differences import Difference, compared, differences
    from kaitoctl.reconcile.generator_driver import Sender, drive
    from kaitoctl.reconcile.informer import Informer, follow
    from kaitoctl.reconcile.leader_election import LeaderElection
    from kaitoctl.reconcile.planner import Child, Foreign, Plan, Step, plan
    from kaitoctl.reconcile.store import Change, Store
    from kaitoctl.reconcile.workqueue import WorkQueue

__all__ = [
    "Backoff",
    "Change",
    "Child",
    "Controller",
    "Decision",
    "Derived",
    "Difference",
    "DryRun",
    "Foreign",
    "Informer",
    "LeaderElection",
    "Outcome",
    "Plan",
    "Reconcile",
    "ReconcileResult",
    "Sender",
    "Step",
    "Store",
    "WorkQueue",
    "compared",
    "differences",
    "drive",
    "follow",
    "own_key",
    "owner_keys",
    "plan",
    "run_all",
]

_MODULES = {
    "backoff": ("Backoff",),
    "controller": (
        *("Controller", "Outcome", "Reconcile", "ReconcileResult"),
        *("own_key", "owner_keys", "run_all"),
    ),
    "field_differences": ("Difference", "compared", "differences"),
    "derived": ("Derived",),
    "dry_run": ("Decision", "DryRun"),
    "generator_driver": ("Sender", "drive"),
    "informer": ("Informer", "follow"),
    "leader_election": ("LeaderElection",),
    "planner": ("Child", "Foreign", "Plan", "Step", "plan"),
    "store": ("Change", "Store"),
    "workqueue": ("WorkQueue",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
