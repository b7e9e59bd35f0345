"""Which KAITO a cluster runs, asked once for every command, and said on stderr: all judge by the same answer.

The controller's image and flags come first, then the Lease of kaitoctl's own controller, then the content of
the CRD; the versions of Workspaces that are served tell no release. What cannot be found out is said, too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.commands.cluster import served_versions
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.validation import OWN, Setting, release_detection, releases
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import CRD, DEPLOYMENT, LEASE, Object
from kaitoctl.kube.request import get
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.settings import Rights

# Where KAITO's chart puts its controller, and where the add-on of AKS does, for who may not look everywhere.
_NAMESPACES = ("kaito-workspace", "", "kube-system")

# What a connection has found out, and said: a command that writes and then follows asks twice.
_known: WeakKeyDictionary[Client, dict[bool | str, KaitoHere]] = WeakKeyDictionary()


class KaitoHere(Struct):
    """How the controller of Workspaces runs; None where nothing says it.

    Args:
        target: its release, or `OWN`.
        byo: whether nodes must be brought.
        provisioner: KAITO's `--node-provisioner`.
        gates: KAITO's feature gates that are on.
        gates_off: those that are switched off.
        cloud: KAITO's.
        made_as: the release as whose objects kaitoctl's controller makes its own; empty for the newest.
        rights: what kaitoctl's controller lets custom pods and volumes have.
    """

    target: str | None = None
    byo: bool | None = None
    provisioner: str | None = None
    gates: frozenset[str] | None = None
    gates_off: frozenset[str] = frozenset()
    cloud: str | None = None
    made_as: str = ""
    rights: Rights | None = None

    def setting(self, known: Catalog = SHIPPED) -> Setting:
        """Where Workspaces live here, to validate them for."""
        return Setting(
            self.target,
            self.cloud,
            self.byo,
            gates=self.gates,
            catalog=known,
            provisioner=self.provisioner,
            gates_off=self.gates_off,
            image_generation=release_detection.generation_near(self.made_as),
            rights=self.rights,
        )

    def rules_for(self, workspace: Object, known: Catalog) -> node_check.Rules:
        """By whose rules nodes are chosen for a Workspace here."""
        return rules_in(self.setting(known), workspace)


def rules_in(setting: Setting, workspace: Object) -> node_check.Rules:
    """By whose rules nodes are chosen for a Workspace that lives there."""
    told = setting.provisioner if setting.provisioner in node_check.PROVISIONERS else ""
    choice = release_detection.node_rules_of(setting.target, workspace)
    return node_check.rules_for(
        workspace,
        choice,
        told or ("byo" if setting.byo else ""),
        known=releases.as_of(setting.target, setting.catalog),
    )


async def kaito_here(
    client: Client, served: list[str] | None = None, *, is_version_wanted: bool = True
) -> KaitoHere:
    """How KAITO runs here, as far as that can be seen; what the command is about may work all the same.

    Args:
        client: of the cluster.
        served: the versions of Workspaces that it serves, when they are known already.
        is_version_wanted: whether its release is asked for, and not known to the user.

    Raises:
        ApiError: the cluster does not know who asks.
    """
    known = _known.setdefault(client, {})
    if is_version_wanted not in known:
        try:
            served = await served_or_warn(client) if served is None else served
            found = await setting_of(client, served, is_version_wanted=is_version_wanted)
        except ApiError as error:
            if error.status == 401:
                raise
            output.warning(f"the KAITO release could not be detected: {error.message}; judged by apiVersion")
            found = KaitoHere()
        known[is_version_wanted] = found
    return replace(known[is_version_wanted])


async def as_said(
    client: Client, said: ManagedBy, served: list[str] | None = None, *, is_sandbox: bool = False
) -> KaitoHere:
    """How the controller of Workspaces runs: as the user says, and otherwise as the cluster shows it.

    Args:
        client: of the cluster.
        said: what the user says.
        served: the versions of Workspaces that it serves, when they are known already.
        is_sandbox: kaitoctl's own controller manages Workspaces there, whatever else it shows.

    Raises:
        ApiError: the cluster does not know who asks.
    """
    target = said.target_version or (OWN if is_sandbox else None)
    if target == OWN:
        found = _known.setdefault(client, {}).get(OWN) or _run_as(await own_controller(client))
        _known[client][OWN] = found
        found = replace(found, target=OWN)
    else:
        found = await kaito_here(client, served, is_version_wanted=target is None)
        found.target = target or found.target
    if said.node_provisioner is not None:
        found.provisioner, found.byo = said.node_provisioner, said.byo
    return found


async def setting_of(client: Client, served: list[str], *, is_version_wanted: bool = True) -> KaitoHere:
    """How the controller of Workspaces runs.

    Args:
        client: of the cluster.
        served: the versions of Workspaces that it serves; served versions alone tell no release.
        is_version_wanted: whether its release is asked for, and not known to the user.

    Raises:
        ApiError: the cluster answered with an error other than that something is missing or forbidden.
    """
    if not served:
        return KaitoHere()
    controller, is_told = await _controller(client)
    if controller is not None and controller.target == OWN:
        controller = await own_controller(client) or controller  # a Deployment may have no pods
    found = _run_as(controller)
    if not is_version_wanted:
        return found
    hidden = "" if is_told else "; Deployments cannot be listed in all namespaces"
    if controller is not None:
        found.target = controller.target
        output.step(
            f"judged for {release_detection.target_words(found.target)}: its controller's image says so"
        )
        return found
    if (own := await own_controller(client)) is not None:
        output.step(f"judged for {release_detection.target_words(OWN)}: the lease that it holds says so")
        found = _run_as(own)
        found.target = OWN
        return found
    crd = await _crd(client)
    found.target = release_detection.target_of_crd(crd) if crd is not None else None
    if found.target is not None:
        words = release_detection.target_words(found.target)
        crds = "the CRD is kaitoctl's" if found.target == OWN else "its CRD is of that release"
        output.step(f"judged for {words}: {crds}, and no controller was found{hidden}")
    else:
        versions = " and ".join(served)
        output.warning(
            f"the KAITO release is unknown: no controller and no CRD of a known release was found{hidden}"
            f"; judged by apiVersion (it serves {versions})"
        )
    return found


def _run_as(controller: release_detection.Controller | None) -> KaitoHere:
    """How a controller runs, its release aside."""
    if controller is None:
        return KaitoHere()
    is_own = controller.target == OWN
    return KaitoHere(
        byo=controller.byo,
        provisioner=controller.provisioner or None,
        gates=None if is_own else controller.gates,
        gates_off=controller.gates_off,
        cloud=controller.cloud or None,
        made_as=controller.made_as,
        rights=controller.rights,
    )


async def own_controller(client: Client) -> release_detection.Controller | None:
    """Kaitoctl's controller at work, by the Lease that it holds; None where there is none to be seen."""
    try:
        leases = (await client.list(LEASE, label_selector="=".join(release_detection.OWN_LABEL))).items
    except ApiError as error:
        if error.status == 401:
            raise
        return None
    return release_detection.own_controller(leases, client.namespace, datetime.now(UTC))


async def served_or_warn(client: Client) -> list[str]:
    """The versions of Workspaces that the cluster serves; none, and a word on stderr, where it has none."""
    try:
        if served := await served_versions(client):
            return served
        why = "does not say which versions it serves"
    except ApiError as error:
        if error.status != 404:
            raise
        why = "has no CRD of Workspaces"
    output.warning(f"the cluster {why}; judged by apiVersion")
    return []


async def _controller(client: Client) -> tuple[release_detection.Controller | None, bool]:
    """The controller of Workspaces, and whether all places could be read; its usual places come first."""
    is_told = True
    for namespace in _NAMESPACES:
        try:
            deployments = (await client.list(DEPLOYMENT, namespace)).items
        except ApiError as error:
            if error.status != 403:
                raise
            is_told = False
            continue
        if found := release_detection.controller(deployments):
            return found, True
        if not namespace:
            return None, True
    return None, is_told


async def _crd(client: Client) -> Object | None:
    name = f"{api.WORKSPACE.plural}.{api.GROUP}"
    try:
        return await client.send(get(CRD, "", name))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return None
