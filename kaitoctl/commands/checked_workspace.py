"""The Workspace that `check-nodes` checks where it need not exist yet: from flags or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kaitoctl.commands import option_values
from kaitoctl.commands.node_check_options import DescribedWorkspace
from kaitoctl.errors import InputError
from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import close_matches
from kaitoctl.kube import label_selectors
from kaitoctl.kube.objects import dig
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.objects import Object


def from_flags(described: DescribedWorkspace, catalog: Catalog) -> Object:
    """The Workspace that flags describe.

    Raises:
        InputError: its preset is unknown, or a flag is not what it should be.
    """
    preset = described.preset
    if preset and "/" not in preset and catalog.preset(preset) is None and catalog.model(preset) is None:
        near = close_matches(preset, [*catalog.model_names(), *catalog.presets])
        hint = f"did you mean {' or '.join(near)}?" if near else "kaitoctl models lists them"
        raise InputError(f'preset "{preset}" is not in the catalog', hint=hint)
    resource: Object = {
        "count": described.count or 1,
        "labelSelector": {"matchLabels": option_values.labels(described.label or ())},
        "preferredNodes": list(described.preferred_node or ()),
    }
    if described.instance_type:
        resource["instanceType"] = described.instance_type
    made: Object = {"apiVersion": api.WORKSPACE.api_version, "kind": "Workspace", "metadata": {}}
    made["resource"] = resource
    if preset:
        made["inference"] = {"preset": {"name": preset}}
        made["apiVersion"] = _version_of(described, preset, catalog)
    return _validate(made, "the flags", catalog)


def _version_of(described: DescribedWorkspace, preset: str, catalog: Catalog) -> str:
    """The version in which it would be written: it says whose rules count where no release does.

    A name that both generations have means today's model, unless nodes are preferred, which v0.12 ignores.
    """
    is_new = "/" in preset or catalog.model(preset) is not None
    is_old = catalog.preset(preset) is not None
    kind = api.WORKSPACE if not is_new or (is_old and described.preferred_node) else api.WORKSPACE_V1BETA1
    return kind.api_version


class FromFile(NamedTuple):
    """What a file holds.

    Args:
        workspace: the one that is meant.
        beside: the other Workspaces.
        config_maps: the ConfigMaps.
    """

    workspace: Object
    beside: list[Object]
    config_maps: list[Object]


def from_file(file: str, name: str | None, catalog: Catalog) -> FromFile:
    """The Workspace that is meant, and what else the file holds.

    Raises:
        InputError: there is none of that name, several and no name, or it is not a Workspace.
    """
    # The readers of files take as long to import as all the rest, and a check on a cluster needs none.
    from kaitoctl.commands import saved_lists

    found, config_maps = saved_lists.objects_and("ConfigMap", file, "Workspace", option="-f")
    named = {str((item.get("metadata") or {}).get("name") or ""): item for item in found if _is_sound(item)}
    if name is not None and name not in named:
        raise InputError(
            f"-f {file}: there is no Workspace {name} in it", hint=f"there is {', '.join(named)}"
        )
    if name is None and len(found) > 1:
        raise InputError(
            f"-f {file} holds {len(found)} Workspaces", hint=f"name one of them: {', '.join(sorted(named))}"
        )
    if not found:
        raise InputError(f"-f {file}: there is no Workspace in it")
    meant = _validate(named[name] if name is not None else found[0], f"-f {file}", catalog)
    return FromFile(meant, [other for other in named.values() if other is not meant], config_maps)


def _is_sound(item: Object) -> bool:
    return isinstance(item.get("metadata") or {}, dict)


def _validate(workspace: Object, where: str, catalog: Catalog) -> Object:
    """The Workspace, if what a check of nodes reads has the shape that the API would let in.

    Raises:
        InputError: it has not.
    """
    metadata, resource = workspace.get("metadata"), workspace.get("resource")
    preferred, kind = dig(resource, "preferredNodes"), dig(resource, "instanceType")
    count = dig(resource, "count")
    problems = []
    if not isinstance(workspace.setdefault("metadata", {}) if metadata is None else metadata, dict):
        problems.append("metadata is not a map")
    if not isinstance(resource, dict):
        problems.append("resource is missing: it says which nodes to use")
    problems += label_selectors.problems(dig(resource, "labelSelector"), "resource.labelSelector")
    if preferred is not None and not (
        isinstance(preferred, list) and all(isinstance(item, str) for item in preferred)
    ):
        problems.append("resource.preferredNodes is not a list of names")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        problems.append(f"resource.count is {count!r}, not a number from 1 on")
    if kind is not None and not isinstance(kind, str):
        problems.append("resource.instanceType is not text")
    if problems:
        raise InputError(f"{where} is not a Workspace", problems=problems)
    if isinstance(kind, str) and kind and catalog.instance_type(kind) is None:
        near = close_matches(kind, catalog.instance_types)
        hint = f"did you mean {' or '.join(near)}?" if near else "its number and size of GPUs are not known"
        output.warning(f'instance type "{kind}" is not in the catalog', hint=hint)
    workspace.setdefault("apiVersion", api.WORKSPACE.api_version)
    return workspace
