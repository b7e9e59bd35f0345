"""What a plan looks at in a cluster: Workspaces, what is made of them, nodes, GPU pods and claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from kaitoctl.commands.cluster import served_versions, together, workspace_kind
from kaitoctl.commands.kaito_detection import as_said
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, node_check, revisions, validation
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    JOB,
    LIMIT_RANGE,
    NODE,
    NODE_CLAIM,
    POD,
    RESOURCE_QUOTA,
    SERVICE,
    STATEFUL_SET,
    Object,
    key_of,
    labels_of,
)
from kaitoctl.kube.pod_state import UNFINISHED, holding_gpus
from kaitoctl.reconcile.store import Store, store_of
from kaitoctl.screens import output
from kaitoctl.workspace_controller import MANAGED_POOLS, Stores, transform_of

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind

# What an apply takes away can be told only with managedFields, which a controller's stores leave out.
_WHOLE = (api.WORKSPACE.plural, DEPLOYMENT.plural, STATEFUL_SET.plural)

_FEW = 10  # namespaces whose quotas are asked for one by one


class World(Struct, frozen=True):
    """A cluster, as a plan sees it.

    Args:
        stores: what there is.
        setting: whose rules count: kaitoctl's controller's, or those of a release of KAITO.
        sees_pods: whether GPUs in use are known.
        unseen: what may be listed only in the namespaces of the plan, or nowhere.
        hidden: what may not be listed there either.
        settings: as which objects are made here.
        quotas: of the namespaces that are seen.
        ranges: the LimitRanges of them.
    """

    stores: Stores
    setting: validation.Setting
    sees_pods: bool
    unseen: tuple[str, ...]
    hidden: frozenset[str] = frozenset()
    settings: Settings = field(default_factory=Settings)
    quotas: tuple[Object, ...] = ()
    ranges: tuple[Object, ...] = ()

    @property
    def sees_workspaces(self) -> bool:
        """Whether what is not among the Workspaces is not there."""
        return api.WORKSPACE.plural not in self.hidden

    @property
    def is_own(self) -> bool:
        """Whether kaitoctl's controller manages Workspaces here."""
        return self.setting.target == validation.OWN

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
    asked: dict[str, Callable[[], Any]] = {
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
        "quotas": partial(lists.within, RESOURCE_QUOTA),
        "ranges": partial(lists.within, LIMIT_RANGE),
        "claims": partial(lists.of, NODE_CLAIM, label_selector=api.LABEL_WORKSPACE),
    }
    if setting.target != validation.OWN:
        asked["machines"] = partial(lists.of, api.MACHINE, label_selector=api.LABEL_WORKSPACE)
    settings = _settings(setting)
    if settings.provisioner == "karpenter":
        asked["pools"] = partial(lists.of, api.NODE_POOL, label_selector=MANAGED_POOLS)
    found = dict(zip(asked, await together(asked.values()), strict=True))
    quotas, ranges = found.pop("quotas"), found.pop("ranges")
    if machines := found.pop("machines", None):
        found["claims"] = store_of({**found["claims"], **machines})
    elif setting.target == validation.OWN and _has_had_machines(found):
        found["machines"] = await lists.of(api.MACHINE, label_selector=api.LABEL_WORKSPACE)
    if setting.byo and NODE.plural not in lists.unseen:
        setting = replace(setting, nodes=tuple(found["nodes"].values()))  # which its webhook looks at
    unseen = tuple(sorted(lists.unseen))
    if unseen:
        what = ", ".join(unseen)
        output.warning(f"{what} of all namespaces cannot be listed: the plan may be wrong about nodes")
    means = api.NODE_POOL if settings.provisioner == "karpenter" else NODE_CLAIM
    can_claim = means.plural not in lists.unknown
    return World(
        Stores(**found, can_claim=lambda: can_claim),
        setting,
        "pods" not in lists.unseen,
        unseen,
        frozenset(lists.hidden),
        settings,
        tuple(quotas),
        tuple(ranges),
    )


def _has_had_machines(found: dict[str, Any]) -> bool:
    """Whether KAITO up to v0.4.1 may have asked for nodes here; nobody else is asked for its Machines."""
    nodes, workspaces = found["nodes"].values(), found["workspaces"].values()
    return any(api.LABEL_PROVISIONER in labels_of(node) for node in nodes) or any(
        conditions.find(workspace, "MachineReady") for workspace in workspaces
    )


def _settings(setting: validation.Setting) -> Settings:
    """As which objects are made: those of kaitoctl's controller, or of a release of KAITO."""
    is_own = setting.target == validation.OWN
    made_as = (
        setting.image_generation if is_own else release_detection.generation_near(setting.target or "v0.4")
    )
    provisioner = setting.provisioner or ("byo" if setting.byo else "")
    known = provisioner in node_check.PROVISIONERS
    made = Settings(
        image_generation=made_as, provisioner=provisioner if known else "", catalog=setting.catalog
    )
    return made if setting.rights is None else made.allowing(setting.rights)


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

    async def within(self, kind: Kind) -> list[Object]:
        """The objects of the kind in the namespaces of the plan; none of those that may not be listed."""
        found: list[Object] = []
        for namespace in self._namespaces if len(self._namespaces) <= _FEW else ("",):
            try:
                found += await self._all(kind, namespace)
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
                if error.status == 403:
                    output.warning(
                        f"{kind.plural} cannot be listed: whether a quota refuses the pods is unknown"
                    )
        return found

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
