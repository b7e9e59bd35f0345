"""What a replica of an InferenceSet costs the sets' controller: processor time of its own, and writes.

    python -m bench fleets [--rounds N]

A hundred sets of ten replicas: they are made, get another adapter one replica at a time, and rest. Requests
are answered by the sandbox's API in process, whose time does not count; Workspaces serve as soon as they are
asked to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote

from bench.figures import Figure, of_values
from kaitoctl import packaged
from kaitoctl.errors import ApiError
from kaitoctl.fleet_controller import FleetReconciler, FleetStores, transform_of
from kaitoctl.kaito import api
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube import conditions, request
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.fast_json import decode, encode
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    CRD,
    NAMESPACE,
    Kind,
    Object,
    ObjectKey,
    generation_of,
    key_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.api import Api, Call, Response

PART = "fleets"
SETS, REPLICAS = 100, 10
_STORED: Mapping[str, Kind] = {
    "sets": api.INFERENCE_SET,
    "workspaces": api.WORKSPACE_V1BETA1,
    "revisions": CONTROLLER_REVISION,
}
_MOST = 200


@dataclass
class Run:
    """A cluster of sets, and what their controller has spent on them."""

    api: Api = field(default_factory=lambda: Api(clock=lambda: datetime.now(UTC)))
    cpu_s: float = 0.0
    writes: int = 0

    def do(self, asked: Request) -> Object:
        body = b"" if asked.body is None else encode(asked.body)
        answer = self.api.answer(
            Call(asked.method, unquote(asked.path), dict(asked.query), body, asked.content_type)
        )
        assert isinstance(answer, Response)
        parsed: Object = decode(answer.body)
        if answer.status >= 300:
            raise ApiError(answer.status, str(parsed.get("reason")), str(parsed.get("message")))
        return parsed

    def listed(self, kind: Kind, namespace: str) -> list[Object]:
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [{**head, **item} for item in self.do(Request("GET", kind.path(namespace)))["items"]]

    def stores(self, namespace: str) -> FleetStores:
        views = {}
        for name, kind in _STORED.items():
            store = views[name] = Store()
            for obj in self.listed(kind, namespace):
                store._replace(key_of(obj), transform_of(kind)(obj))
        return FleetStores(**views)

    def reconcile(self, namespace: str) -> bool:
        """One reconcile of the set of a namespace; whether it wrote."""
        steps = FleetReconciler(self.stores(namespace), Settings()).reconcile(ObjectKey(namespace, "phis"))
        wrote, answer = False, None
        while True:
            began = time.process_time()
            try:
                asked = next(steps) if answer is None else steps.send(answer)
            except StopIteration:
                return wrote
            finally:
                self.cpu_s += time.process_time() - began
            wrote, self.writes = wrote or asked.is_write, self.writes + asked.is_write
            answer = self.do(asked)

    def settle(self) -> None:
        """Until every set rests."""
        for number in range(SETS):
            namespace = f"team-{number}"
            for _ in range(_MOST):
                if not self.reconcile(namespace) and not self.serve(namespace):
                    break
            else:
                raise AssertionError(f"{namespace} never rests")

    def serve(self, namespace: str) -> bool:
        """Workspaces serve what they ask for; whether one did not yet."""
        moved = False
        for one in self.listed(api.WORKSPACE_V1BETA1, namespace):
            if conditions.is_true(one, api.WORKSPACE_SUCCEEDED, generation=generation_of(one)):
                continue
            news = conditions.condition(api.WORKSPACE_SUCCEEDED, True, "workspaceSucceeded", "it serves")
            merged = conditions.merge([], [news], generation=generation_of(one), now=datetime.now(UTC))
            patch = {"status": {"conditions": merged}}
            kind = api.WORKSPACE_V1BETA1
            self.do(request.merge_patch(kind, *key_of(one), patch, manager="bench", subresource="status"))
            moved = True
        return moved

    def spent(self) -> tuple[float, float]:
        """Milliseconds and writes for each replica since this was asked last."""
        found = self.cpu_s * 1000 / (SETS * REPLICAS), self.writes / (SETS * REPLICAS)
        self.cpu_s, self.writes = 0.0, 0
        return found


def inference_set(namespace: str, *adapters: str) -> Object:
    inference: Object = {"preset": {"name": "phi-4-mini-instruct"}}
    if adapters:
        inference["adapters"] = [{"source": {"name": name, "image": f"r.io/{name}:1"}} for name in adapters]
    template = {"resource": {"instanceType": "Standard_NC24ads_A100_v4"}, "inference": inference}
    return {
        "apiVersion": api.INFERENCE_SET.api_version,
        "kind": api.INFERENCE_SET.kind,
        "metadata": {"name": "phis", "namespace": namespace},
        "spec": {
            "replicas": REPLICAS,
            "labelSelector": {"matchLabels": {"apps": "phi"}},
            "template": template,
        },
    }


def measured() -> dict[str, tuple[float, float]]:
    """Milliseconds of processor time and writes for each replica, by what was done."""
    run, found = Run(), dict[str, tuple[float, float]]()
    for file in sorted(packaged.folder("schemas").glob("kaito.sh_*.yaml")):
        for crd in load_yaml(file.read_text(), str(file)):
            run.do(request.apply(CRD, crd, manager="bench", force=True))
    for number in range(SETS):
        made: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{number}"}}
        run.do(request.create(NAMESPACE, made))
    for what, adapters in (("made", ()), ("another adapter", ("a",))):
        for number in range(SETS):
            asked = inference_set(f"team-{number}", *adapters)
            run.do(request.apply(api.INFERENCE_SET, asked, manager="user", force=True))
        run.settle()
        found[what] = run.spent()
    for number in range(SETS):
        run.reconcile(f"team-{number}")
    found["at rest"] = run.spent()
    return found


def figures(rounds: int) -> list[Figure]:
    runs = [measured() for _ in range(rounds)]
    made = []
    for what in runs[0]:
        cpu = [run[what][0] for run in runs]
        writes = [run[what][1] for run in runs]
        name = f"{SETS} sets of {REPLICAS} replicas, {what}"
        made.append(of_values(PART, f"{name}: CPU for each replica", cpu, unit="ms"))
        aim = "= 0" if what == "at rest" else ""
        made.append(of_values(PART, f"{name}: writes for each replica", writes, unit="", aim=aim))
    return made
