"""The Workspace controller.

`stores`: what is seen. `decisions`: what follows. `reconciler`: a pass, which acts. `running`: the wiring.
"""

from __future__ import annotations

from kaitoctl.workspace_controller.decisions import (
    ANNOTATION_PREFIX,
    MANAGER,
    WORKLOADS,
    children_of,
    gpus_of,
    pod_gpus,
    refusal_of,
)
from kaitoctl.workspace_controller.reconciler import Pass, WorkspaceReconciler
from kaitoctl.workspace_controller.running import Running, run
from kaitoctl.workspace_controller.stores import Stores, keep_of

__all__ = [
    "ANNOTATION_PREFIX",
    "MANAGER",
    "WORKLOADS",
    "Pass",
    "Running",
    "Stores",
    "WorkspaceReconciler",
    "children_of",
    "gpus_of",
    "keep_of",
    "pod_gpus",
    "refusal_of",
    "run",
]
