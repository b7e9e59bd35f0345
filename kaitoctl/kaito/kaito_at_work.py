"""Is KAITO's own controller at work in this cluster? Pure: from what whoever asks may see.

Two controllers of Workspaces undo each other's work without end: workloads are recreated, statuses are
overwritten. A Deployment tells best; where Deployments may not be listed, the lease that KAITO holds while it
runs, and the Workspaces themselves, which say who has written them and when.

Source: KAITO v0.3.2 to v0.12 `cmd/workspace/main.go` (LeaderElectionID; from v0.8 on the user agent, by which
its writes are signed), `docker/workspace/Dockerfile` (before, the program's name), `charts/kaito/workspace`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, installation
from kaitoctl.kaito.installation import Installed
from kaitoctl.kaito.validation.release_detection import is_held, time_of
from kaitoctl.kube.objects import Object, dig, key_of, labels_of

LEASE = "ef60f9b0.io"
NAMESPACES = ("kaito-workspace", "kaito-system", "kube-system")
"""Where its lease is: by its charts' documentation, by hand, and as an add-on of AKS."""

WRITERS = frozenset({"manager", "kaito-workspace"})
"""The field managers by which its writes are signed: up to v0.7, and from v0.8 on."""

LATELY = timedelta(minutes=10)
"""How long ago a write counts where nothing better can be seen: at rest KAITO writes nothing."""

JUST_NOW = timedelta(minutes=1)
"""How long ago a write counts although no Deployment of KAITO's is there."""


class Rival(Struct, frozen=True):
    """A sign of KAITO's controller at work.

    Args:
        words: what was seen.
        stop: how to stop it, in words or as a command; empty when the sign does not tell.
    """

    words: str
    stop: Advice = ""


def of_deployment(found: Installed) -> Rival | None:
    """KAITO's controller, when its Deployment has pods or wants some; None otherwise."""
    if found.kind != "KAITO" or not found.is_alive:
        return None
    if found.is_addon:
        again = "AKS starts its add-on again"
        stop = Command("az aks update -g GROUP -n CLUSTER --disable-ai-toolchain-operator")
        return Rival(found.words, f"{again}: " + stop)
    return Rival(
        found.words, Command("kubectl scale deployment", found.name, "-n", found.namespace, "--replicas=0")
    )


def of_deployments(deployments: Iterable[Object]) -> list[Rival]:
    """KAITO's controllers among all Deployments."""
    return [rival for one in installation.controllers(deployments) if (rival := of_deployment(one))]


def of_lease(lease: Object, now: datetime) -> Rival | None:
    """Whoever holds KAITO's lease; None when it has run out."""
    if not is_held(lease, now):
        return None
    return Rival(f"{dig(lease, 'spec', 'holderIdentity')} holds KAITO's lease {key_of(lease)}")


def of_writes(workspaces: Iterable[Object], now: datetime, within: timedelta) -> Rival | None:
    """The newest write of KAITO's to a Workspace, if it is as young as that."""
    newest, written = None, ""
    for workspace in workspaces:
        for entry in dig(workspace, "metadata", "managedFields") or ():
            at = time_of(entry.get("time")) if entry.get("manager") in WRITERS else None
            if at is not None and (newest is None or at > newest):
                newest, written = at, f"{entry['manager']} wrote Workspace {key_of(workspace)}"
    if newest is None or now - newest > within:
        return None
    return Rival(f"KAITO's {written} at {newest:%H:%M:%S}Z", "where it has just gone, wait a few minutes")


def is_installed_and_stopped(deployments: Iterable[Object]) -> bool:
    """Whether KAITO's Deployment is there, and scaled to nothing: then old writes mean nothing."""
    found = [one for one in installation.controllers(deployments) if one.kind == "KAITO"]
    return bool(found) and not any(one.is_alive for one in found)


def is_candidate(deployment: Object) -> bool:
    """Whether a Deployment is worth a look: a Workspace's own is none of anybody's controllers."""
    return api.LABEL_WORKSPACE not in labels_of(deployment)
