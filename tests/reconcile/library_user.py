"""A small program of somebody who writes a controller with the library; `test_house` has it type-checked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator

from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.objects import CONFIG_MAP, NAMESPACE, Object, ObjectKey, labels_of
from kaitoctl.kube.request import Request
from kaitoctl.reconcile import (
    Change,
    Child,
    Controller,
    Informer,
    LeaderElection,
    Outcome,
    Plan,
    Reconcile,
    ReconcileResult,
    Store,
    own_key,
    plan,
    run_all,
)

logger = logging.getLogger(__name__)


def reconciler(namespaces: Store, config_maps: Store) -> Reconcile:
    def reconcile(key: ObjectKey) -> Generator[Request, Object, Outcome]:
        namespace = namespaces.get(key)
        if namespace is None:
            return Outcome()
        manifest: Object = {"metadata": {"name": "team"}, "data": {"team": labels_of(namespace).get("team")}}
        changes: Plan = plan(namespace, [Child(CONFIG_MAP, manifest)], [], manager="m", annotation_prefix="p")
        for step in changes.steps:
            yield step.request
        return Outcome(requeue_after_s=60.0)

    return reconcile


def show(result: ReconcileResult) -> None:
    logger.info("%s", (result.key.name, result.result, round(result.worked_s, 3)))


def changed(change: Change) -> None:
    logger.info("%s", (change.key, change.new is None))


async def main(client: Client) -> None:
    namespaces, config_maps = Informer(client, NAMESPACE), Informer(client, CONFIG_MAP)
    reconcile = reconciler(namespaces.store, config_maps.store)
    election = LeaderElection(client, namespace="default", name="teams", identity="me")
    controller = Controller(
        "teams", client, reconcile, observer=show, allowed=lambda: election.is_leader, ignore_own_writes=True
    )
    controller.watches(namespaces, own_key)
    config_maps.subscribe(changed)
    await election.run(lambda: run_all(namespaces, config_maps, controller))


async def start() -> None:
    async with connect() as client:
        await main(client)


if __name__ == "__main__":
    asyncio.run(start())
