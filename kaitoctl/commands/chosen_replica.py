"""One replica of an InferenceSet where only one can answer: its log, its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.errors import ApiError, NegativeAnswer
from kaitoctl.kaito.fleet.addresses import GATEWAY, HTTP_ROUTE, gates_of, service_over, url_of
from kaitoctl.kaito.serving import main_service, ready_pods, serving
from kaitoctl.kube import request
from kaitoctl.kube.objects import SERVICE, ObjectKey
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.fleet.decisions import Replica
    from kaitoctl.kaito.fleet.view import Fleet
    from kaitoctl.kaito.snapshot import Snapshot
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_UNSEEN = (400, 401, 403, 404)


class Way(Struct, frozen=True):
    """How a set's model is reached.

    Args:
        replica: one that serves, with what belongs to it.
        service: over all replicas; None without one.
        gateway: the address of a gateway before its InferencePool; empty without one.
    """

    replica: Snapshot
    service: Object | None
    gateway: str

    @property
    def words(self) -> str:
        """What it leads through."""
        if self.service is not None:
            return f"service/{self.service['metadata']['name']}"
        assert self.replica.workspace is not None
        return f"workspace/{self.replica.workspace['metadata']['name']}"


def _in_order(fleet: Fleet) -> list[Replica]:
    """The replicas: those that are ready first."""
    there = sorted(fleet.replicas, key=lambda one: (one.leaving, not one.is_ready, one.name))
    if not there:
        why: Advice = Command("kaitoctl why", fleet.key.name, "-n", fleet.key.namespace)
        if asks_for_none := fleet.wanted == 0:
            scale = Command(
                "kubectl scale --replicas=1 inferenceset", fleet.key.name, "-n", fleet.key.namespace
            )
            why = scale + " asks for one"
        words = ": its spec.replicas is 0" if asks_for_none else ""
        raise NegativeAnswer(f"InferenceSet {fleet.key} has no replicas{words}", hint=why)
    return there


def replica_for(fleet: Fleet, pod: str = "") -> ObjectKey:
    """The replica whose pod is named, else the first that is ready, else the first; which one is said.

    Raises:
        NegativeAnswer: there is none.
    """
    there = _in_order(fleet)
    of_pod = [one for one in there if pod.startswith(f"{one.name}-")] if pod else []
    chosen = (of_pod or there)[0]
    if len(there) > 1 and not of_pod:
        output.step(f"InferenceSet {fleet.key}: {len(there)} replicas, using workspace/{chosen.name}")
    return ObjectKey(fleet.key.namespace, chosen.name)


async def way_to(client: Client, fleet: Fleet) -> Way:
    """The way to a set's model: a gateway or a Service over all replicas, or the first that serves.

    Raises:
        NegativeAnswer: no replica serves.
    """
    space = fleet.key.namespace
    for one in _in_order(fleet):
        if not one.is_ready:
            continue
        seen = await snapshot_of(client, ObjectKey(space, one.name))
        if not serving(seen).is_any:
            continue
        main, over = main_service(seen), None
        if main is not None:
            services = await _listed(client, space)
            over = service_over(fleet.key.name, services, ready_pods(seen), main)
        return Way(seen, over, await _gateway(client, fleet.key))
    hint = Command("kaitoctl why", fleet.key.name, "-n", space)
    raise NegativeAnswer(f"InferenceSet {fleet.key}: none of its replicas serves", hint=hint)


async def _listed(client: Client, namespace: str) -> list[Object]:
    try:
        return list((await client.list(SERVICE, namespace)).items)
    except ApiError as error:
        if error.status not in _UNSEEN:
            raise
        return []


async def _gateway(client: Client, key: ObjectKey) -> str:
    """The address of a gateway before the set's InferencePool; empty where none is shown."""
    try:
        routes = (await client.list(HTTP_ROUTE, key.namespace)).items
        for gate in gates_of(key.name, routes):
            if url := url_of(await client.send(request.get(GATEWAY, *gate.gateway)), gate):
                return url
    except ApiError as error:
        if error.status not in _UNSEEN:
            raise
    return ""
