"""A Workspace of one API version as one of the other, and what that loses. Pure.

An API server converts between the two by changing `apiVersion` alone; what a version does not read is still
lost then, without a word. Here it is said, with the command that replaces it. `choose_version`
asks the same question the other way round: in which version does a request mean what it says?

Source: the field trees of KAITO v0.3.2 and v0.12, and what the controller of v0.12 does with each field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaitoctl.advice import Command, text
from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.api import VERSIONS, WORKSPACE, WORKSPACE_V1BETA1
from kaitoctl.kaito.catalog import Catalog
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
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that does not carry over, or means something else than before.

    Args:
        path: the field.
        message: what becomes of it.
        commands: what does the same, as command lines.
    """

    path: str
    message: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """The converted Workspace, without status and what servers write, and what was lost on the way."""

    workspace: Object
    remarks: tuple[Remark, ...]


def is_workspace(obj: Object) -> bool:
    """Whether an object is a Workspace of any version."""
    group = str(obj.get("apiVersion") or "").partition("/")[0]
    return group == api.GROUP and obj.get("kind") == WORKSPACE.kind


def convert(workspace: Object, to: str, *, known: Catalog = catalog.SHIPPED) -> Conversion:
    """The Workspace as one of another API version; the object given is not changed.

    Args:
        workspace: a Workspace of any version.
        to: `v1alpha1` or `v1beta1`.
        known: where presets and instance types are looked up.

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
        step = _to_v1beta1 if to == WORKSPACE_V1BETA1.version else _to_v1alpha1
        remarks += step(made, known)
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


def _to_v1beta1(made: Object, known: Catalog) -> Iterator[Remark]:
    resource = made.get("resource")
    if isinstance(resource, dict):
        yield from _nodes_by_label(resource)
        if resource.get("count") == 1:
            del resource["count"]  # deprecated, and what is meant without it
        elif "count" in resource:
            yield Remark("resource.count", "deprecated: KAITO v0.12 estimates the number of nodes itself")
        yield from _instance_type(resource, known)
    for use in ("inference", "tuning"):
        preset = dig(made, use, "preset")
        if isinstance(preset, dict):
            yield from _preset_of_today(f"{use}.preset", preset, known)
    adapters, runtime = (
        dig(made, "inference", "adapters"),
        dig(made, "metadata", "annotations", api.ANNOTATION_RUNTIME),
    )
    if runtime != "transformers" and isinstance(adapters, list):
        for index, adapter in enumerate(adapters):
            if isinstance(adapter, dict) and adapter.get("strength") is not None:
                where = f"inference.adapters[{index}].strength"
                yield Remark(
                    where,
                    "KAITO v0.12 refuses it on vLLM; annotate kaito.sh/runtime: transformers, or drop it",
                )


def _nodes_by_label(resource: dict[str, Any]) -> Iterator[Remark]:
    preferred = resource.pop("preferredNodes", None)
    if not isinstance(preferred, list) or not preferred:
        return
    labels = dig(resource, "labelSelector", "matchLabels")
    words = [f"{key}={value}" for key, value in labels.items()] if isinstance(labels, dict) else []
    names = list(dict.fromkeys(item for item in preferred if isinstance(item, str)))
    commands = tuple(text(Command("kubectl label node", name, *words)) for name in names) if words else ()
    yield Remark(
        "resource.preferredNodes",
        "KAITO v0.12 does not read it and chooses nodes by their labels; dropped. Label the nodes",
        commands,
    )


def _instance_type(resource: dict[str, Any], known: Catalog) -> Iterator[Remark]:
    where, named = "resource.instanceType", resource.get("instanceType")
    if named is None:
        resource["instanceType"] = named = api.DEFAULT_INSTANCE_TYPE
        yield Remark(
            where,
            f"v1beta1 has no default: {named} is written out. With nodes of your own (byo), drop it",
        )
    machine = known.instance_type(named) if isinstance(named, str) else None
    if machine is not None and catalog.TARGETS["v0.12"] not in machine.versions:
        yield Remark(
            where, f"KAITO v0.12 does not know {named}", ("kaitoctl skus list --target-version v0.12",)
        )


def _preset_of_today(where: str, preset: dict[str, Any], known: Catalog) -> Iterator[Remark]:
    name = preset.get("name")
    if isinstance(name, str) and "/" not in name and known.model(name) is None:
        yield Remark(
            f"{where}.name",
            f"KAITO v0.12 has no preset {name[:80]!r}",
            ("kaitoctl models list --target-version v0.12",),
        )
    if preset.pop("accessMode", "public") == "private":
        yield Remark(f"{where}.accessMode", "deprecated: KAITO v0.12 takes models from Hugging Face; dropped")
    options = preset.get("presetOptions")
    if not isinstance(options, dict):
        return
    for key in ("image", "imagePullSecrets"):
        if options.pop(key, None):
            message = "deprecated, and not used by KAITO v0.12; dropped"
            if key == "image":
                message += ". For a gated model set modelAccessSecret"
            yield Remark(f"{where}.presetOptions.{key}", message)
    if not options:
        del preset["presetOptions"]


def _to_v1alpha1(made: Object, known: Catalog) -> Iterator[Remark]:
    resource = made.get("resource")
    if isinstance(resource, dict) and resource.get("instanceType") is None:
        yield Remark(
            "resource.instanceType",
            f"v1alpha1 fills in {api.DEFAULT_INSTANCE_TYPE} (KAITO v0.12: Standard_NC24ads_A100_v4), "
            "which also decides how many GPUs each pod asks for; name the type of your nodes",
        )
    for use in ("inference", "tuning"):
        name = dig(made, use, "preset", "name")
        if isinstance(name, str) and known.preset(name) is None:
            yield Remark(
                f"{use}.preset.name",
                f"KAITO up to v0.4 has no preset {name[:80]!r}",
                ("kaitoctl models list --target-version v0.4",),
            )


# --- which version -----------------------------------------------------------------------------------------


def choose_version(
    request: WorkspaceRequest, served: Collection[str], *, known: Catalog = catalog.SHIPPED
) -> tuple[str, str]:
    """The newest API version served in which a request means what it says, and why not a newer one.

    Args:
        request: what is asked for.
        served: the versions that the cluster serves; empty when there is no cluster to ask.
        known: where presets and instance types are looked up.
    """
    reason = _why_not_v1beta1(request, known)
    alpha, beta = VERSIONS
    if not served:
        # The guide's version, unless it cannot name the model.
        is_new = known.preset(request.preset) is None and known.model(request.preset) is not None
        return (beta if is_new else alpha), ""
    if reason and alpha in served:
        return alpha, reason if beta in served else ""
    return (beta if beta in served else alpha), ""


def _why_not_v1beta1(request: WorkspaceRequest, known: Catalog) -> str:
    machine = known.instance_type(request.instance_type or "")
    if request.preset and known.preset(request.preset) and not known.model(request.preset):
        return f"{request.preset} is a preset of KAITO up to v0.4"
    if request.preferred_nodes:
        return "preferredNodes is not read in v1beta1"
    if request.private_image:
        return "private images are not used in v1beta1"
    if request.instance_type is None:
        return "v1beta1 has no default instance type"
    if machine is not None and catalog.TARGETS["v0.12"] not in machine.versions:
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
