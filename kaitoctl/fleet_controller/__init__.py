"""The InferenceSet controller, beside that of the Workspaces: it makes, changes and deletes their Workspaces.

`reconcile` is one reconcile; `wiring` the informers, and which sets a change is for.
"""

from __future__ import annotations

from kaitoctl.fleet_controller.both_controllers import run_together
from kaitoctl.fleet_controller.reconcile import FleetReconciler, FleetStores
from kaitoctl.fleet_controller.wiring import run, transform_of

__all__ = ["FleetReconciler", "FleetStores", "run", "run_together", "transform_of"]
