"""What a plan looks at in a cluster: Workspaces, what is made of them, nodes, GPU pods and claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kaitoctl.commands.cluster import served_versions, together, workspace_kind
from kaitoctl.commands.kaito_here import as_said
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, revisions, validation
from kaitoctl.kaito.node_check import PROVISIONERS
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    Object,
    key_of,
)
from kaitoctl.kube.pod_state import UNFINISHED, holding_gpus
from kaitoctl.reconcile.store import Store, store_of
from kaitoctl.screens import output
from kaitoctl.workspace_controller import Stores, transform_of

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind

# What an apply takes away can be told only with managedFields, which a controller's stores leave out.
_WHOLE = (api.WORKSPACE.plural, DEPLOYMENT.plural, STATEFUL_SET.plural)


@dataclass(frozen=True, slots=True)
class World:
    """A cluster, as a plan sees it.

    Args:
        stores: what there is.
        setting: whose rules count: kaitoctl's controller's, or those of a release of KAITO.
        sees_pods: whether GPUs in use are known.
        unseen: what may be listed only in the namespaces of the plan, or nowhere.
        hidden: what may not be listed there either.
    """

    stores: Stores
    setting: validation.Setting
    sees_pods: bool
    unseen: tuple[str, ...]
    hidden: frozenset[str] = frozenset()

    @property
    def is_own(self) -> bool:
        """Whether kaitoctl's controller manages Workspaces here."""
        return self.setting.target == validation.OWN

    @property
    def provisioner(self) -> str:
        """By what nodes are asked for, where that is known."""
        found = self.setting.provisioner or ""
        return found if found in PROVISIONERS else ""

    @property
    def manager(self) -> str:
        """Who does, in words."""
        return "kaitoctl" if self.is_own else f"KAITO {self.setting.target or ''}".strip()


async def observe_world(
    client: Client, *, is_sandbox: bool, managed: ManagedBy, known: Catalog, namespaces: Iterable[str]
) -> World:
    """Look at a cluster once; what may not be listed is missing, and said.

    Args:
        client: of the cluster.
        is_sandbox: kaitoctl's own controller runs there.
        managed: who manages Workspaces, as far as the user says it.
        known: the catalog.
        namespaces: where the planned objects are: all that is looked at without rights on others.
    """
    setting = await setting_of(client, managed, is_sandbox=is_sandbox)
    setting = replace(setting, catalog=known)
    kind = await workspace_kind(client)
    lists = _Lists(client, tuple(dict.fromkeys(namespaces)))
    asked = {
        "workspaces": partial(lists.of, kind),
        "deployments": partial(lists.of, DEPLOYMENT),
        "stateful_sets": partial(lists.of, STATEFUL_SET),
        "services": partial(lists.of, SERVICE),
        "jobs": partial(lists.of, JOB),
        "config_maps": partial(lists.of, CONFIG_MAP, label_selector=api.LABEL_WORKSPACE),
        "revisions": partial(lists.of, CONTROLLER_REVISION, label_selector=revisions.LABEL_NAME),
        "pods": partial(lists.of, POD, label_selector=api.LABEL_WORKSPACE),
        "gpu_pods": partial(lists.of, POD, made=holding_gpus, field_selector=UNFINISHED),
        "nodes": partial(lists.of, NODE),
        "claims": partial(lists.of, NODE_CLAIM, label_selector=api.LABEL_WORKSPACE),
    }
    if setting.provisioner == "karpenter":
        asked["pools"] = partial(lists.of, api.NODE_POOL)
    if setting.target != validation.OWN:
        asked["machines"] = partial(lists.of, api.MACHINE, label_selector=api.LABEL_WORKSPACE)
    found = dict(zip(asked, await together(asked.values()), strict=True))
    if machines := found.pop("machines", None):
        found["claims"] = store_of({**found["claims"], **machines})
    unseen = tuple(sorted(lists.unseen))
    if unseen:
        what = ", ".join(unseen)
        output.warning(f"{what} of all namespaces cannot be listed: the plan may be wrong about nodes")
    can_claim = NODE_CLAIM.plural not in lists.unknown
    return World(
        Stores(**found, can_claim=lambda: can_claim),
        setting,
        "pods" not in lists.unseen,
        unseen,
        frozenset(lists.hidden),
    )


async def setting_of(client: Client, managed: ManagedBy, *, is_sandbox: bool) -> validation.Setting:
    """Whose rules count: those of kaitoctl's controller, or of a release of KAITO."""
    served = await served_versions(client)
    found = (await as_said(client, managed, served, is_sandbox=is_sandbox)).setting()
    return replace(found, byo=bool(found.byo))


class _Lists:
    """Lists of a cluster, as stores.

    Attributes:
        unseen: the plurals of what may be listed only in the namespaces of the plan, or nowhere.
        hidden: those of them that may not be listed in one of these namespaces either.
        unknown: those that the cluster does not serve.
    """

    def __init__(self, client: Client, namespaces: tuple[str, ...]) -> None:
        self._client, self._namespaces = client, namespaces
        self.unseen: set[str] = set()
        self.hidden: set[str] = set()
        self.unknown: set[str] = set()

    async def of(
        self,
        kind: Kind,
        *,
        made: Callable[[Object], Object | None] | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Store:
        """All objects of the kind, as the controller's stores keep them."""
        selectors = {"label_selector": label_selector, "field_selector": field_selector}
        try:
            items = await self._all(kind, "", **selectors)
        except ApiError as error:
            if error.is_unknown_resource:
                self.unknown.add(kind.plural)
                return Store()
            if error.status != 403:
                raise
            self.unseen.add(kind.plural)
            items = []
            for namespace in self._namespaces if kind.namespaced else ():
                items += await self._if_allowed(kind, namespace, **selectors)
        kept = made or (_whole if kind.plural in _WHOLE else transform_of(kind))
        objects = {key_of(item): kept({**_with_kind(kind), **item}) for item in items}
        return store_of({key: obj for key, obj in objects.items() if obj is not None})

    async def _all(self, kind: Kind, namespace: str, **selectors: str) -> list[Object]:
        return (await self._client.list(kind, namespace, **selectors)).items  # type: ignore[arg-type]

    async def _if_allowed(self, kind: Kind, namespace: str, **selectors: str) -> list[Object]:
        try:
            return await self._all(kind, namespace, **selectors)
        except ApiError as error:
            if error.status != 403:
                raise
            self.hidden.add(kind.plural)
            return []


def _with_kind(kind: Kind) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind}


def _whole(obj: Object) -> Object:
    return obj
