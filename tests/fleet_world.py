"""A cluster with InferenceSets, and one set controller after another; Workspaces come up."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from world import Crash, Fault, crds

from kaitoctl.errors import ApiError
from kaitoctl.fleet_controller import FleetReconciler, FleetStores, transform_of
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.workspace_conditions import FAILED
from kaitoctl.kube import conditions, request
from kaitoctl.kube.fast_json import decode, encode
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    CRD,
    Kind,
    Object,
    ObjectKey,
    copy_of,
    generation_of,
    is_being_deleted,
    key_of,
    with_type,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.controller import Outcome
from kaitoctl.reconcile.store import Store
from kaitoctl.sandbox.api import Api, Call, Response

SET, WORKSPACE = kaito.INFERENCE_SET, kaito.WORKSPACE_V1BETA1
KEY = ObjectKey("default", "phis")
STORED: Mapping[str, Kind] = {"sets": SET, "workspaces": WORKSPACE, "revisions": CONTROLLER_REVISION}
START = datetime(2026, 11, 29, tzinfo=UTC)


def inference_set(replicas: int = 3, **template: Any) -> Object:
    """The guide's kind of model, served by several."""
    inference = {"preset": {"name": "phi-4-mini-instruct"}, **template}
    return {
        "apiVersion": SET.api_version,
        "kind": SET.kind,
        "metadata": {"name": KEY.name, "namespace": KEY.namespace},
        "spec": {
            "replicas": replicas,
            "labelSelector": {"matchLabels": {"apps": "phi"}},
            "template": {
                "resource": {"instanceType": "Standard_NC24ads_A100_v4"},
                "inference": inference,
            },
        },
    }


def adapter(name: str) -> Object:
    return {"source": {"name": name, "image": f"registry.example/{name}:1"}}


class FleetWorld:
    """A cluster of the CRDs alone.

    Attributes:
        broken: whether a Workspace fails, given what it asks for.
        faults: what happens to the request of a number.
        quotas: the ResourceQuotas of the namespace.
        frozen: the stores of a controller whose watches lag; None while they do not.
    """

    def __init__(self) -> None:
        self.now = START
        self.api = Api(clock=lambda: self.now)
        self.requests: list[Request] = []
        self.faults: Mapping[int, Fault] = {}
        self.frozen: dict[str, list[Object]] | None = None
        self.broken: Callable[[Object], bool] = lambda workspace: False
        self.check: Callable[[Request], None] = lambda asked: None
        self.quotas: list[Object] = []
        self.room: Callable[[Object], str] = lambda workspace: ""
        self.is_used: Callable[[ObjectKey], bool] = lambda key: False
        for crd in crds():
            if crd["spec"]["group"] == kaito.GROUP:
                self.do(request.apply(CRD, crd, manager="test", force=True))

    def do(self, asked: Request) -> Object:
        if asked.path.endswith(("/resourcequotas", "/limitranges")):  # the sandbox has no such kinds
            return {"items": self.quotas if asked.path.endswith("/resourcequotas") else []}
        body = b"" if asked.body is None else encode(asked.body)
        call = Call(asked.method, unquote(asked.path), dict(asked.query), body, asked.content_type)
        answer = self.api.answer(call)
        assert isinstance(answer, Response)
        parsed: Object = decode(answer.body)
        if answer.status >= 300:
            raise ApiError(
                answer.status, str(parsed.get("reason")), str(parsed.get("message")),
                details=parsed.get("details"),
            )  # fmt: skip
        return parsed

    def listed(self, kind: Kind) -> list[Object]:
        items = self.do(Request("GET", kind.path()))["items"]
        return [with_type(kind, item) for item in items]

    @property
    def the_set(self) -> Object:
        return self.do(request.get(SET, *KEY))

    @property
    def workspaces(self) -> list[Object]:
        return self.listed(WORKSPACE)

    @property
    def live(self) -> list[Object]:
        return [one for one in self.workspaces if not is_being_deleted(one)]

    def ready(self) -> int:
        return sum(self.is_ready(one) for one in self.live)

    @staticmethod
    def is_ready(one: Object) -> bool:
        return conditions.is_true(one, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(one))

    def apply(self, obj: Object) -> Object:
        return self.do(request.apply(SET, obj, manager="user", force=True))

    def condition(self, kind: str) -> Object:
        return conditions.find(self.the_set, kind) or {}

    # --- the controller ------------------------------------------------------------------------------------

    def look(self) -> dict[str, list[Object]]:
        return {name: self.listed(kind) for name, kind in STORED.items()}

    def stores(self) -> FleetStores:
        views = {}
        for name, objects in (self.frozen or self.look()).items():
            store = Store()
            for obj in objects:
                store._replace(key_of(obj), copy_of(transform_of(STORED[name])(obj)))
            views[name] = store
        return FleetStores(**views)

    def begun(self) -> Generator[Request, Object, Outcome]:
        reconciler = FleetReconciler(
            self.stores(),
            Settings(),
            clock=lambda: self.now,
            room=lambda one: self.room(one),
            is_used=lambda key: self.is_used(key),
        )
        return reconciler.reconcile(KEY)

    def reconcile(self) -> int:
        """One reconcile; how many writes it tried. Errors that a work queue would retry end it."""
        before, generator = len(self.requests), self.begun()
        try:
            asked = next(generator)
            while True:
                try:
                    answer = self.send(asked)
                except ApiError as error:
                    asked = generator.throw(error)
                else:
                    asked = generator.send(answer)
        except (StopIteration, ApiError, Crash):
            generator.close()
        return sum(asked.is_write for asked in self.requests[before:])

    def send(self, asked: Request) -> Object:
        number = len(self.requests)
        self.requests.append(asked)
        fault = self.faults.get(number)
        if fault == "crash-before":
            raise Crash
        if fault in ("conflict", "unavailable", "refused"):
            status = {"conflict": 409, "unavailable": 503, "refused": 422}[fault]
            raise ApiError(status, "Injected", f"injected fault at request {number}")
        answer = self.do(asked)
        self.check(asked)
        if fault == "crash-after":
            raise Crash
        return answer

    # --- the rest of the cluster ---------------------------------------------------------------------------

    def workspaces_move(self, most: int = 1000) -> bool:
        """Workspaces serve what they ask for, or fail; those that are deleted go. True if any did."""
        moved = False
        for one in self.workspaces:
            if moved and not most:
                break
            if is_being_deleted(one):
                continue
            found = conditions.find(one, kaito.WORKSPACE_SUCCEEDED)
            if found and found.get("observedGeneration") == generation_of(one):
                continue
            fails = self.broken(one)
            news = conditions.condition(
                kaito.WORKSPACE_SUCCEEDED, not fails, FAILED if fails else "workspaceSucceeded", "as it is"
            )
            merged = conditions.merge([], [news], generation=generation_of(one), now=self.now)
            patch = {"status": {"conditions": merged}}
            self.do(request.merge_patch(WORKSPACE, *key_of(one), patch, manager="w", subresource="status"))
            self.check(Request("GET", ""))
            moved = True
            most -= 1
            if not most:
                break
        return moved

    def settle(self, *, most: int = 60, at_a_time: int = 1000) -> None:
        """Reconciles, with Workspaces moving in between, until neither does anything more."""
        for _ in range(most):
            wrote = self.reconcile()
            if not self.workspaces_move(at_a_time) and not wrote:
                return
            self.now += timedelta(seconds=10)
        raise AssertionError(f"still writing after {most} reconciles: {self.requests[-5:]}")
