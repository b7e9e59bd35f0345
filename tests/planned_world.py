"""A World with one of the ways to nodes, and with quotas: what plans are held against."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from direct import Direct
from world import World, gpu_node, gpus_asked, node_status

from kaitoctl.commands import make_plan
from kaitoctl.commands.cluster import FIELD_MANAGER
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy
from kaitoctl.commands.plan_documents import Written
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.catalog import instance_types
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.planning import Plan
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CRD,
    DEPLOYMENT,
    LIMIT_RANGE,
    NODE,
    NODE_CLAIM,
    POD,
    RESOURCE_QUOTA,
    STATEFUL_SET,
    Kind,
    Object,
    dig,
    generation_of,
    is_controlled_by,
    key_of,
    labels_of,
    uid_of,
)
from kaitoctl.kube.pod_state import is_finished
from kaitoctl.kube.response_bodies import ObjectList
from kaitoctl.reconcile.store import Store

_OWNER = "karpenter.kaito.sh/workspace-name"
_GIB = 2**30


class PlannedWorld(World):
    """Pods run, nodes come as the provisioner makes them, and the server refuses what is over the quota.

    Args:
        provisioner: the controller's.
        quota: `hard` of a ResourceQuota of the namespace; empty for none.
    """

    def __init__(self, provisioner: str = "", quota: Mapping[str, str] | None = None) -> None:
        super().__init__(runs_pods=True)
        self.settings = Settings(provisioner=provisioner)
        self.quota = quota or {}
        self.refused: set[str] = set()
        if provisioner == "karpenter":
            self.do(request.apply(CRD, _pools_crd(), manager="test", force=True))

    # --- quotas ---

    def used(self) -> dict[str, int]:
        """What the quota controller counts: a pod that has ended counts no more."""
        pods = [pod for pod in self.list(POD) if not is_finished(pod)]
        return {name: sum(_amount(name, pod) for pod in pods) for name in self.quota}

    def admits(self, pod: Object) -> bool:
        """As the ResourceQuota admission does: what is over refuses the pod."""
        used = self.used()
        is_over = any(used[name] + _amount(name, pod) > _number(most) for name, most in self.quota.items())
        self.refused.discard(_workspace(pod))
        if is_over:
            self.refused.add(_workspace(pod))
        return not is_over

    def quotas(self) -> list[Object]:
        """The ResourceQuota as the server shows it."""
        if not self.quota:
            return []
        used = {name: str(amount) for name, amount in self.used().items()}
        hard = dict(self.quota)
        metadata = {"name": "team", "namespace": "default"}
        return [{"metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}]

    # --- nodes ---

    def more_stores(self) -> dict[str, Store]:
        """The NodePools, where there are any."""
        pools = Store()
        for pool in self.pools():
            pools._replace(key_of(pool), pool)
        return {"pools": pools}

    def pools(self) -> list[Object]:
        """The NodePools."""
        return self.list(kaito.NODE_POOL) if self.settings.provisioner == "karpenter" else []

    def cluster_moves(self) -> bool:
        """What Karpenter and the workload controllers do besides."""
        self.refused.clear()
        moved = self._pools_move()
        moved = super().cluster_moves() or moved
        return self._refusals_are_told() or moved

    def _pools_move(self) -> bool:
        moved, wanted = False, set()
        for pool in self.pools():
            template = pool["spec"]["template"]
            asked = {item["key"]: item["values"] for item in template["spec"]["requirements"]}
            machine = asked["node.kubernetes.io/instance-type"][0]
            for number in range(pool["spec"]["replicas"]):
                name = f"pool-{key_of(pool).name}-{uid_of(pool)[:6]}-{number}"
                wanted.add(name)
                if self.get(NODE, name) is None:
                    self.apply(NODE, gpu_node(name, template["metadata"]["labels"], machine))
                    self.set_status(NODE, name, node_status(str(instance_types()[machine].gpus)))
                    moved = True
        for node in self.list(NODE):
            name = key_of(node).name
            if name.startswith("pool-") and name not in wanted:
                self.do(request.delete(NODE, "", name))
                moved = True
        return moved

    def _refusals_are_told(self) -> bool:
        """The status of workloads whose pods are refused: as many as there are, and why not more."""
        moved = False
        for kind in (DEPLOYMENT, STATEFUL_SET):
            for workload in self.list(kind):
                there = sum(is_controlled_by(pod, workload) for pod in self.list(POD))
                is_refused = key_of(workload).name in self.refused
                status = {"observedGeneration": generation_of(workload)}
                status |= dict.fromkeys(
                    ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
                    there if is_refused else workload["spec"]["replicas"],
                )
                failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
                conditions = [{**failure, "message": "exceeded quota: team"}] if is_refused else []
                told = dig(workload, "status", "conditions") or []
                now = dig(workload, "status", "replicas") or 0  # none is left out
                if (kind is DEPLOYMENT and bool(told) != is_refused) or now != status["replicas"]:
                    self.set_status(kind, key_of(workload).name, {**status, "conditions": conditions})
                    moved = True
        return moved

    def purchases(self) -> dict[str, tuple[str, str]]:
        """What has been asked for, by its own id: whose it is, and its name."""
        found = {
            uid_of(claim): (labels_of(claim).get("kaito.sh/workspace", ""), key_of(claim).name)
            for claim in self.list(NODE_CLAIM)
        }
        for pool in self.pools():
            for number in range(pool["spec"]["replicas"]):
                found[f"{uid_of(pool)}-{number}"] = labels_of(pool)[_OWNER], key_of(pool).name
        return found


class PlannedDirect(Direct):
    """The client of such a cluster, in which the controller's own Deployment says how it runs."""

    world: PlannedWorld

    async def list(
        self, kind: Kind, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        if kind in (RESOURCE_QUOTA, LIMIT_RANGE):
            return ObjectList(self.world.quotas() if kind == RESOURCE_QUOTA else [], "")
        if kind == DEPLOYMENT and namespace == "kaito-workspace":
            return ObjectList([_controller(self.world.settings.provisioner)], "")
        return await super().list(
            kind, namespace, label_selector=label_selector, field_selector=field_selector
        )


def written(world: World, body: Object) -> None:
    """What `apply` does with a document."""
    world.do(request.apply(kaito.kind_of(body), body, manager=FIELD_MANAGER))


def settle(world: PlannedWorld) -> None:
    """Reconciles of all Workspaces, and everybody else's part, until nothing is written any more."""
    for _ in range(40):
        # A controller looks again after those that are gone, as long as there is something of theirs.
        names = {key_of(one).name for one in world.list(kaito.WORKSPACE)}
        names |= {owner for owner, _ in world.purchases().values()}
        wrote = [world.reconcile(name) for name in sorted(names)]
        if not world.cluster_moves() and not any(wrote):
            return
    raise AssertionError("still writing")


def plan_of(world: World, manifests: Iterable[Object], managed: ManagedBy = NOT_SAID) -> Plan:
    """The plan for Workspaces and sets, by the command's own code."""
    documents = [Written(f"document {key_of(one).name}", one["kind"], key_of(one), one) for one in manifests]
    asking = make_plan.PlanRequest(is_sandbox=False, managed=managed, force=False)
    client = PlannedDirect(world) if isinstance(world, PlannedWorld) else Direct(world)
    return asyncio.run(make_plan.make(client, documents, asking))  # type: ignore[arg-type]


def _controller(provisioner: str) -> Object:
    arguments = ["run-controller", *(["--node-provisioner", provisioner] if provisioner else [])]
    container = {"name": "controller", "image": "r.io/kaitoctl:1", "args": arguments}
    return {"metadata": {"name": "controller"}, "spec": {"template": {"spec": {"containers": [container]}}}}


def _workspace(pod: Object) -> str:
    return labels_of(pod).get("kaito.sh/workspace", "")


def _amount(name: str, pod: Object) -> int:
    if name == "pods":
        return 1
    if name == "requests.nvidia.com/gpu":
        return gpus_asked(pod)
    assert name == "requests.storage"
    claims = [
        dig(one, "ephemeral", "volumeClaimTemplate", "spec") for one in dig(pod, "spec", "volumes") or ()
    ]
    return sum(_number(one["resources"]["requests"]["storage"]) for one in claims if one)


def _number(text: str) -> int:
    return int(text.removesuffix("Gi")) * (_GIB if text.endswith("Gi") else 1)


def _pools_crd() -> Object:
    schema: Any = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "NodePool", "plural": "nodepools", "singular": "nodepool", "listKind": "NodePoolList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "nodepools.karpenter.sh"},
        "spec": {"group": "karpenter.sh", "scope": "Cluster", "names": names, "versions": [version]},
    }
