"""The Workspace controller.

`stores`: what is seen. `decisions`: what follows. `reconcile`: one reconcile, stage by stage. `wiring`: the
informers, and which Workspaces a change is for.
"""

from __future__ import annotations

from kaitoctl.workspace_controller.adoption import adopted_child
from kaitoctl.workspace_controller.decisions import (
    ANNOTATION_PREFIX,
    MANAGER,
    WORKLOADS,
    children_of,
    gpus_of,
    node_shape,
    pod_gpus,
    refusal_of,
    workload_of,
)
from kaitoctl.workspace_controller.model_config import config_name, context_in
from kaitoctl.workspace_controller.node_pools import MANAGED_POOLS
from kaitoctl.workspace_controller.reconcile import ReconcileSteps, WorkspaceReconciler
from kaitoctl.workspace_controller.stores import Stores, transform_of
from kaitoctl.workspace_controller.wiring import Running, run

__all__ = [
    "ANNOTATION_PREFIX",
    "MANAGED_POOLS",
    "MANAGER",
    "WORKLOADS",
    "ReconcileSteps",
    "Running",
    "Stores",
    "WorkspaceReconciler",
    "adopted_child",
    "children_of",
    "config_name",
    "context_in",
    "gpus_of",
    "node_shape",
    "pod_gpus",
    "refusal_of",
    "run",
    "transform_of",
    "workload_of",
]
