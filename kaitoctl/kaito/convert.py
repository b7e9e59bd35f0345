"""A Workspace of one API version as one of the other, and what that loses. Pure.

An API server converts between the two by changing `apiVersion` alone; what a version does not read is still
lost then, without a word. Here it is said, with the command that replaces it. `choose_version`
asks the same question the other way round: in which version does a request mean what it says?

Without a release of KAITO, v1beta1 is judged as v0.12 reads it and v1alpha1 as v0.4 does; with one, both are
as that release reads them.

Source: the field trees of KAITO v0.3.2 and v0.12, and what the controller of each release does with a field,
as in `validation.releases`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kaitoctl.advice import Command, text
from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.api import VERSIONS, WORKSPACE, WORKSPACE_V1BETA1
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.validation.releases import Release, gpu_type, is_preset_name, nearest, preset, served_by
from kaitoctl.kube.objects import Object, copy_of, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.manifest import WorkspaceRequest

# What a server writes; a manifest has none of it.
_SERVERS_OWN = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
# Of the object in one cluster: in a manifest, a finalizer may wait for somebody who never comes.
_ONE_CLUSTERS = {
    "finalizers": "of the object in its cluster; from a manifest nobody might ever take them off: dropped",
    "ownerReferences": "they name an owner of one cluster by its uid; dropped",
}
_OWN_NODES_ALONE = "azure-gpu-provisioner"
_PREPARED_NODES = {
    "": "With --node-provisioner byo it takes nodes by their labels (with karpenter, those of the instance "
    "type); otherwise none but its own, and buys them. Where it takes them, label the nodes",
    _OWN_NODES_ALONE: f"With {_OWN_NODES_ALONE} it takes no nodes but its own, and buys them: prepared nodes "
    "are used with --node-provisioner byo",
    "karpenter": "With karpenter it takes nodes with these labels that are of the instance type, and buys "
    "those that are missing. Label the nodes",
    "byo": "It chooses nodes by their labels. Label the nodes",
}
"""What a KAITO that has a provisioner takes of the nodes that somebody has prepared (`labels_asked`)."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Remark(Struct, frozen=True):
    """One thing that does not carry over, or means something else than before.

    Args:
        path: the field.
        message: what becomes of it.
        commands: what does the same, as command lines.
        is_refusal: whether the release refuses what stands there, as its validation says, too.
    """

    path: str
    message: str
    commands: tuple[str, ...] = ()
    is_refusal: bool = False


class Conversion(Struct, frozen=True):
    """The converted Workspace, without status and what servers write, and what was lost on the way."""

    workspace: Object
    remarks: tuple[Remark, ...]


def is_workspace(obj: Object) -> bool:
    """Whether an object is a Workspace of any version."""
    group = str(obj.get("apiVersion") or "").partition("/")[0]
    return group == api.GROUP and obj.get("kind") == WORKSPACE.kind


def convert(
    workspace: Object,
    to: str,
    *,
    known: Catalog = catalog.SHIPPED,
    release: Release | None = None,
    provisioner: str = "",
) -> Conversion:
    """The Workspace as one of another API version; the object given is not changed.

    Args:
        workspace: a Workspace of any version.
        to: `v1alpha1` or `v1beta1`.
        known: where presets and instance types are looked up.
        release: of the KAITO that is to read it; None for the one whose version it is.
        provisioner: its `--node-provisioner`; empty when not known.

    Raises:
        InputError: the object is no Workspace, or there is no such version.

    Guarantee: never raises otherwise, whatever JSON the object is made of; a second time changes nothing.
    """
    from kaitoctl.kaito.validation import schema_of
    from kaitoctl.kube import schema_defaults

    if to not in VERSIONS:
        raise InputError(f"there is no API version {to!r} of Workspaces", hint=f"use {' or '.join(VERSIONS)}")
    if not is_workspace(workspace):
        raise InputError(f"a {workspace.get('kind')} of {workspace.get('apiVersion')} is not a Workspace")
    came_from = str(workspace["apiVersion"]).rpartition("/")[2]
    made = copy_of({key: value for key, value in workspace.items() if key != "status"})
    remarks = list(out_of_the_cluster(made, api.FINALIZER))
    made["apiVersion"] = f"{api.GROUP}/{to}"
    if came_from != to:
        remarks += _Reader(to, known, release, provisioner).remarks(made)
    structure = schema_of(to)
    unknown = schema_defaults.unknown_fields(made, structure)
    remarks += [Remark(path, f"{to} has no such field; dropped") for path in unknown]
    return Conversion(schema_defaults.prune(made, structure), tuple(remarks))


def out_of_the_cluster(made: Object, finalizer: str) -> Iterator[Remark]:
    """Take out of a live object's metadata what only has a meaning in its own cluster."""
    metadata = made.get("metadata")
    if not isinstance(metadata, dict):
        return
    metadata = made["metadata"] = {k: v for k, v in metadata.items() if k not in _SERVERS_OWN}
    for field, why in _ONE_CLUSTERS.items():
        value = metadata.pop(field, None)
        if value and value != [finalizer]:  # KAITO's own comes back by itself
            yield Remark(f"metadata.{field}", why)
    if isinstance(annotations := metadata.get("annotations"), dict) and _LAST_APPLIED in annotations:
        del annotations[_LAST_APPLIED]
        if not annotations:
            del metadata["annotations"]


def not_read_any_more(workspace: Object, *, known: Catalog, provisioner: str = "") -> Iterator[Remark]:
    """What says of a v1beta1 Workspace which nodes it gets until KAITO v0.7, and not from v0.8 on.

    Args:
        workspace: it stays as it is, and may.
        known: where presets and instance types are looked up.
        provisioner: the new KAITO's `--node-provisioner`; empty when not known.
    """
    resource = workspace.get("resource")
    if isinstance(resource, dict):
        reader = _Reader(WORKSPACE_V1BETA1.version, known, None, provisioner)
        yield from reader.of_nodes(copy_of(resource), drops=False)


def of_replica(workspace: Object, known: Catalog, release: Release) -> Iterator[Remark]:
    """What a release of KAITO does not know in a Workspace that it makes of an InferenceSet."""
    return _Reader(WORKSPACE_V1BETA1.version, known, release).of_replica(workspace)


class _Reader:
    """A release of KAITO that reads Workspaces of one API version: what it does with each field.

    Args:
        to: the API version.
        known: where presets and instance types are looked up.
        release: None for the one whose version it is.
        provisioner: its `--node-provisioner`; empty when not known.
    """

    def __init__(self, to: str, known: Catalog, release: Release | None, provisioner: str = "") -> None:
        self._is_new = to == WORKSPACE_V1BETA1.version
        usual = nearest("v0.12" if self._is_new else "v0.4")
        assert usual is not None
        self._to, self._known, self._is_named = to, known, release is not None
        self._release, self._provisioner = release or usual, provisioner
        self._kaito = f"KAITO {self._release.name}"

    def remarks(self, made: Object) -> Iterator[Remark]:
        """What becomes of the Workspace; changes it accordingly."""
        if self._is_named:
            yield from self._of_the_version(made)
        if not self._is_new and dig(made, "inference", "preset"):
            if not self._is_named:
                crash = "the webhooks of KAITO v0.11 and v0.12 crash on presets in v1alpha1"
                yield Remark("apiVersion", crash, is_refusal=True)
            elif self._release.alpha_presets == "crash":
                crash = f"the webhook of {self._kaito} crashes on presets in v1alpha1"
                yield Remark("apiVersion", crash, is_refusal=True)
        yield from self._to_v1beta1(made) if self._is_new else self._to_v1alpha1(made)

    def _of_the_version(self, made: Object) -> Iterator[Remark]:
        version = f"{api.GROUP}/{self._to}"
        if version not in self._release.versions:
            served = " and ".join(self._release.versions)
            words = f"{self._kaito} does not serve {version}; it serves {served}"
            yield Remark("apiVersion", words, is_refusal=True)
        for path in self._release.unknown_fields:
            for use in ("inference", "tuning") if path.startswith("presetOptions") else ("",):
                full = f"{use}.preset.{path}" if use else path
                if dig(made, *full.split(".")) is not None:
                    yield Remark(full, f"{self._kaito} has no such field, and drops it")

    # --- v1beta1 ---------------------------------------------------------------------------------------

    def _to_v1beta1(self, made: Object) -> Iterator[Remark]:
        resource = made.get("resource")
        if isinstance(resource, dict):
            # With nodes of one's own came the estimator, and labels that alone decide (v0.8).
            if self._release.has_own_nodes:
                yield from self.of_nodes(resource)
            yield from self._instance_type(resource)
        for use in ("inference", "tuning"):
            preset = dig(made, use, "preset")
            if isinstance(preset, dict):
                yield from self._preset(f"{use}.preset", preset)
        yield from self._strengths(made)

    def of_replica(self, made: Object) -> Iterator[Remark]:
        """What the release does not know in a Workspace of v1beta1 that it is to make itself."""
        yield from self._type(dig(made, "resource", "instanceType"))
        if isinstance(preset := dig(made, "inference", "preset"), dict):
            yield from self._name("inference.preset", preset.get("name"))
        yield from self._strengths(made)

    def _strengths(self, made: Object) -> Iterator[Remark]:
        adapters, runtime = (
            dig(made, "inference", "adapters"),
            dig(made, "metadata", "annotations", api.ANNOTATION_RUNTIME),
        )
        if not self._release.is_runtime_checked or runtime == "transformers":
            return
        known = preset(self._release, str(dig(made, "inference", "preset", "name") or ""), self._known)
        fix = "annotate kaito.sh/runtime: transformers, or drop it"
        fix = "drop it" if known is not None and not known.has_transformers else fix
        for index, adapter in enumerate(adapters if isinstance(adapters, list) else ()):
            if isinstance(adapter, dict) and adapter.get("strength") is not None:
                where = f"inference.adapters[{index}].strength"
                yield Remark(where, f"{self._kaito} refuses it on vLLM; {fix}", is_refusal=True)

    def of_nodes(self, resource: dict[str, Any], *, drops: bool = True) -> Iterator[Remark]:
        """What of the resource says which nodes and how many, and is not read; takes it out."""
        yield from self._nodes_by_label(resource, ("; dropped" if drops else ""))
        yield from self._count(resource)

    def _nodes_by_label(self, resource: dict[str, Any], dropped: str) -> Iterator[Remark]:
        preferred = resource.pop("preferredNodes", None)
        if not isinstance(preferred, list) or not preferred:
            return
        labels = dig(resource, "labelSelector", "matchLabels")
        words = [f"{key}={value}" for key, value in labels.items()] if isinstance(labels, dict) else []
        names = list(dict.fromkeys(item for item in preferred if isinstance(item, str)))
        takes_labelled = bool(words) and self._provisioner != _OWN_NODES_ALONE
        commands = tuple(text(Command("kubectl label node", name, *words)) for name in names)
        yield Remark(
            "resource.preferredNodes",
            f"{self._kaito} does not read it{dropped}. {_PREPARED_NODES[self._provisioner]}",
            commands if takes_labelled else (),
        )

    def _count(self, resource: dict[str, Any]) -> Iterator[Remark]:
        if resource.get("count") == 1:
            del resource["count"]  # deprecated, and what is meant without it
        elif "count" in resource:
            yield Remark("resource.count", f"deprecated: {self._kaito} estimates the number of nodes itself")

    def _instance_type(self, resource: dict[str, Any]) -> Iterator[Remark]:
        named = resource.get("instanceType")
        if self._provisioner == "byo" and self._release.has_own_nodes:
            if resource.pop("instanceType", None) is not None:
                words = f"{self._kaito} refuses it for nodes of your own (byo); dropped"
                yield Remark("resource.instanceType", words)
            return
        default = self._release.default_type(f"{api.GROUP}/{WORKSPACE.version}") if self._is_named else ""
        if named is None and not self._release.default_type(f"{api.GROUP}/{self._to}"):
            resource["instanceType"] = named = default or api.DEFAULT_INSTANCE_TYPE
            yield Remark(
                "resource.instanceType",
                f"v1beta1 has no default: {named} is written out. With nodes of your own (byo), drop it",
            )
        yield from self._type(named)

    def _type(self, named: Any) -> Iterator[Remark]:
        machine = self._known.instance_type(named) if isinstance(named, str) else None
        if machine is not None and gpu_type(self._release, machine.name, machine.cloud, self._known) is None:
            listed = self._listing("skus")
            words = f"{self._kaito} does not know {machine.name}"
            yield Remark("resource.instanceType", words, listed, is_refusal=True)

    def _name(self, where: str, name: Any) -> Iterator[Remark]:
        if isinstance(name, str) and not is_preset_name(self._release, name, self._known):
            words = f"{self._kaito} has no preset {name[:80]!r}"
            yield Remark(f"{where}.name", words, self._listing("models"), is_refusal=True)

    def _preset(self, where: str, preset: dict[str, Any]) -> Iterator[Remark]:
        yield from self._name(where, preset.get("name"))
        if not self._release.has_hub:
            return
        if preset.pop("accessMode", "public") == "private":
            yield Remark(
                f"{where}.accessMode", f"deprecated: {self._kaito} takes models from Hugging Face; dropped"
            )
        options = preset.get("presetOptions")
        if not isinstance(options, dict):
            return
        for key in ("image", "imagePullSecrets"):
            if options.pop(key, None):
                message = f"deprecated, and not used by {self._kaito}; dropped"
                if key == "image":
                    message += ". For a gated model set modelAccessSecret"
                yield Remark(f"{where}.presetOptions.{key}", message)
        if not options:
            del preset["presetOptions"]

    def _listing(self, what: str) -> tuple[str, ...]:
        return (text(Command(f"kaitoctl {what} list --target-version", self._release.name)),)

    # --- v1alpha1 --------------------------------------------------------------------------------------

    def _to_v1alpha1(self, made: Object) -> Iterator[Remark]:
        resource = made.get("resource")
        if isinstance(resource, dict) and resource.get("instanceType") is None:
            filled = f"{api.DEFAULT_INSTANCE_TYPE} (KAITO v0.12: Standard_NC24ads_A100_v4)"
            if self._is_named:
                filled = self._release.default_type(f"{api.GROUP}/{WORKSPACE.version}")
            yield Remark(
                "resource.instanceType",
                f"v1alpha1 fills in {filled}, which also decides how many GPUs each pod asks for; name the "
                "type of your nodes",
            )
        for use in ("inference", "tuning"):
            name = dig(made, use, "preset", "name")
            if not isinstance(name, str):
                continue
            has = self._known.preset(name) is not None
            if self._is_named:
                has = is_preset_name(self._release, name, self._known)
            if not has:
                since = served_by(name, self._known)[:1]
                title = self._kaito if self._is_named else f"KAITO before {since[0]}" if since else "KAITO"
                words = f"{title} has no preset {name[:80]!r}"
                yield Remark(f"{use}.preset.name", words, self._listing("models"))


# --- which version -----------------------------------------------------------------------------------------


def choose_version(
    request: WorkspaceRequest,
    served: Collection[str],
    *,
    known: Catalog = catalog.SHIPPED,
    release: Release | None = None,
    byo: bool = False,
    is_model: bool = False,
) -> tuple[str, str]:
    """The newest API version served in which a request means what it says, and why not a newer one.

    Args:
        request: what is asked for.
        served: the versions that the cluster serves; empty when there is no cluster to ask.
        known: where presets and instance types are looked up.
        release: the KAITO that is to serve it; None for kaitoctl's own controller, and where nobody knows.
        byo: whether KAITO makes no nodes, and wants no instance type in v1beta1.
        is_model: whether kaitoctl's own controller makes it as today's KAITO does, for whose server the
            GPUs of v1alpha1's default instance type are too old.
    """
    reason = _why_not_v1beta1(request, known, release, needs_type=not (byo or is_model))
    alpha, beta = VERSIONS
    if not served:
        # The guide's version for the guide's presets; today's for what today's KAITO has, by whatever name.
        if known.model(request.preset) is None and "/" not in request.preset:
            return alpha, reason if known.preset(request.preset) else ""
        is_old_too = known.preset(request.preset) is not None
        return (alpha, reason) if is_old_too and reason else (beta, "")
    if reason and alpha in served:
        return alpha, reason if beta in served else ""
    return (beta if beta in served else alpha), ""


def _why_not_v1beta1(
    request: WorkspaceRequest, known: Catalog, release: Release | None, *, needs_type: bool
) -> str:
    machine = known.instance_type(request.instance_type or "")
    if release is not None and request.preset and release.dies_of(request.preset):
        return ""  # its v1alpha1 webhook does
    has = release is not None and preset(release, request.preset, known) is not None
    if not has and request.preset and known.preset(request.preset) and not known.model(request.preset):
        last = served_by(request.preset, known)[-1:]
        return f"{request.preset} is a preset of {f'KAITO up to {last[0]}' if last else 'the sandbox'}"
    if request.preferred_nodes:
        return "preferredNodes is not read in v1beta1"
    if request.private_image:
        return "private images are not used in v1beta1"
    if request.instance_type is None and needs_type:
        return "v1beta1 has no default instance type"
    if machine is None or (release and gpu_type(release, machine.name, machine.cloud, known)):
        return ""
    if catalog.TARGETS["v0.12"] not in machine.versions:
        return f"{machine.name} is not known to KAITO v0.12"
    return ""


def lost_by_writing(stored: Object, version: str) -> list[str]:
    """The fields that any write of an API version, even of a status, takes away from a stored Workspace.

    Args:
        stored: the Workspace in the newest version that is served.
        version: of the write, such as `v1alpha1`.
    """
    if version != WORKSPACE.version:
        return []
    fields = (*api.ONLY_IN_V1BETA1, "status.performance")
    return [field for field in fields if dig(stored, *field.split(".")) is not None]
