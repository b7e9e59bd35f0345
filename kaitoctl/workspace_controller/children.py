"""The objects that a Workspace owns: which ones there are, what should change, and the changes made."""

from __future__ import annotations

from collections.abc import Generator

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.errors import ApiError
from kaitoctl.kaito import desired, tuning
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.node_check import Verdict
from kaitoctl.kaito.own_workloads import is_current
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    POD,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    is_controlled_by,
    key_of,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.kube.workloads import outdated_pods
from kaitoctl.reconcile.planner import Plan, plan
from kaitoctl.workspace_controller import steps
from kaitoctl.workspace_controller.adoption import adopted_child
from kaitoctl.workspace_controller.decisions import (
    ANNOTATION_PREFIX,
    MANAGER,
    WORKLOADS,
    children_of,
    node_shape,
    pod_gpus,
)
from kaitoctl.workspace_controller.stores import Stores, workspace_of_labels

CHILD_NAMES = (desired.headless_name, tuning.config_name, desired.config_name, desired.strengths_name)
"""What children are called that do not have the Workspace's own name."""


class Children(Struct, frozen=True):
    """The children of Workspaces.

    Args:
        stores: the world as last seen.
    """

    stores: Stores

    def workload(self, workspace: Object) -> Object | None:
        """The Workspace's own workload as last seen; a foreign one of the same name does not count."""
        if not workspace.get("tuning"):
            return self.serving(workspace)
        job = self.stores.jobs.get(key_of(workspace))
        return job if job is not None and is_controlled_by(job, workspace) else None

    def serving(self, workspace: Object) -> Object | None:
        """The Workspace's own Deployment or StatefulSet."""
        for store in (self.stores.deployments, self.stores.stateful_sets):
            workload = store.get(key_of(workspace))
            if workload is not None and is_controlled_by(workload, workspace):
                return workload
        return None

    def pods(self, workspace: Object) -> list[Object]:
        """The pods that are labelled with the Workspace."""
        return self.stores.pods.by(workspace_of_labels, key_of(workspace))

    def observe(self, workspace: Object) -> list[tuple[Kind, Object]]:
        """Objects that carry the names of the Workspace's children, and all that it owns."""
        key, uid = key_of(workspace), uid_of(workspace)
        names = (key, *[ObjectKey(key.namespace, name(workspace)) for name in CHILD_NAMES])
        stores = (
            (DEPLOYMENT, self.stores.deployments),
            (STATEFUL_SET, self.stores.stateful_sets),
            (SERVICE, self.stores.services),
            (JOB, self.stores.jobs),
            (CONFIG_MAP, self.stores.config_maps),
        )
        children: dict[tuple[Kind, ObjectKey], Object] = {}
        for kind, store in stores:
            for child in [*store.by_owner(uid), *(store[name] for name in names if name in store)]:
                children[kind, key_of(child)] = child
        return [(kind, child) for (kind, _), child in children.items()]

    def plan(
        self,
        workspace: Object,
        verdict: Verdict,
        observed: list[tuple[Kind, Object]],
        output_dir: str,
        revision: int,
        settings: Settings,
    ) -> Plan:
        """What has to change, given the nodes that there are; no pods before there are nodes to run them."""
        workload = self.workload(workspace)
        gpus = pod_gpus(workspace, verdict, workload)
        wanted = children_of(
            workspace,
            gpus=gpus,
            settings=settings,
            output_dir=output_dir,
            revision=revision,
            nodes=node_shape(workspace, settings, verdict),
        )
        wanted = [adopted_child(child, workload) for child in wanted]
        changes = plan(workspace, wanted, observed, manager=MANAGER, annotation_prefix=ANNOTATION_PREFIX)
        return replace(changes, steps=()) if not verdict.enough and workload is None else changes

    def write(self, changes: Plan, workload: Object | None) -> Generator[Request, Object, Object | None]:
        """Carry the plan out; returns the workload as it is then, which saves a status write."""
        for step in changes.steps:
            try:
                answer = yield step.request
            except ApiError as error:
                if step.verb == "delete" and error.status == 404:
                    continue  # gone already; the store will show it
                raise
            if step.kind in WORKLOADS and step.verb != "delete":
                workload = answer
        return workload

    def replace_together(
        self, workspace: Object, workload: Object | None
    ) -> Generator[Request, Object, None]:
        """Delete all outdated pods of a distributed model at once.

        A StatefulSet replaces one pod after another and waits until each is ready; but a pod becomes ready
        only in a group, and pods of two templates are none.
        """
        if workload is None or workload.get("kind") != STATEFUL_SET.kind:
            return
        if is_current(workspace, workload):
            for pod in outdated_pods(workload, self.pods(workspace)):
                yield from steps.delete_if_present(request.delete(POD, *key_of(pod), uid=uid_of(pod)))
