"""What the adapter commands show: the table of adapters, the changes of the workload, the outage."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

from kaitoctl.errors import NegativeAnswer
from kaitoctl.kaito import adapters
from kaitoctl.kaito.desired import Settings, with_image_generation
from kaitoctl.kaito.node_check import gpus_per_pod
from kaitoctl.kube.objects import dig, key_of
from kaitoctl.kube.yaml_writer import to_yaml
from kaitoctl.screens import output
from kaitoctl.workspace_controller import children_of, gpus_of, refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.adapter_rollout import Row
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kube.objects import Object


def show_rows(rows: Sequence[Row], *, wide: bool = False) -> None:
    """The adapters: in the spec, in the pods, loaded."""
    cells = [(row.name, in_spec(row), in_pods(row), loaded_strength(row), row.source) for row in rows]
    output.table(("ADAPTER", "SPEC", "POD", "LOADED", "SOURCE"), cells, wide=wide, below=True)


def insist_on_loaded(rows: Sequence[Row], why: str, *, quietly: bool = False) -> None:
    """Show the adapters, and why it is not known what is loaded.

    Raises:
        NegativeAnswer: a server that is ready has not loaded one, or at another strength.
    """
    if rows and not quietly:
        show_rows(rows)
        if why:
            output.note(why)
    if wrong := at_another_strength(rows):
        raise NegativeAnswer(f"the model server has loaded {', '.join(wrong)}")
    if idle := [row.name for row in rows if row.loaded is False and row.is_asked_for]:
        raise NegativeAnswer(
            f"the model server serves without {', '.join(idle)}: in /data of the image must be an "
            "adapter_config.json"
        )


def in_spec(row: Row) -> str:
    """The strength of an adapter in the spec."""
    return (row.strength or "yes") if row.is_asked_for else "no"


def in_pods(row: Row) -> str:
    """The strength of an adapter in the pods, or why it is missing."""
    if row.pods is None:
        return "unknown"
    if not row.pods:
        return "no pod"
    there = [found for found in row.pods if found is not None]
    if not there:
        return "no"
    worst = next((found for found in there if not found.is_there), there[0])
    words = worst.state if not worst.is_there else worst.strength or "yes"
    if worst.is_there and row.is_asked_for and worst.image and worst.image != row.source:
        words = "another image"
    count = sum(found.is_there for found in there)
    return words if len(row.pods) == 1 else f"{words} ({count} of {len(row.pods)} pods)"


def loaded_strength(row: Row) -> str:
    """The strength at which the model server has loaded an adapter, as far as it says so."""
    return row.at or {True: "yes", False: "no", None: "unknown"}[row.loaded]


def at_another_strength(rows: Sequence[Row]) -> list[str]:
    """The adapters that the model server has loaded at another strength than the Workspace says."""
    return [
        f"{row.name} at {row.at}, not {row.strength or '1.0'}"
        for row in rows
        if row.is_asked_for and row.loaded is False and row.at
    ]


def summary(rows: Sequence[Row]) -> str:
    """What is known to be loaded, once all rows agree."""
    if any(row.pods is None for row in rows):
        return "ready according to its controller; the pods cannot be listed"
    wanted = [row for row in rows if row.is_asked_for]
    if not wanted:
        return "the pods serve without adapters"
    names = ", ".join(row.name for row in wanted)
    if all(row.loaded for row in wanted):
        return f"in the pods and loaded: {names}"
    return f"in the pods, copied and mounted: {names}"


def adapters_of(workspace: Object) -> Object:
    """The part of a Workspace that is shown."""
    entries = adapters.entries_of(workspace)
    return {"inference": {"adapters": entries}} if entries else {}


def difference(before: Object, after: Object, context: int = 3) -> list[str]:
    """A unified diff of two objects as YAML, without its head."""
    old, new = (to_yaml(item).splitlines() if item else [] for item in (before, after))
    lines = list(unified_diff(old, new, n=context, lineterm=""))[2:]
    return ["  ..." if line.startswith("@@") else f"{line[:1]} {line[1:]}" for line in lines][1:]


def workload_changes(before: Object, after: Object, workload: Object, known: Catalog) -> list[str]:
    """How the controller's pod template would differ, whatever else it is set to."""
    gpus = gpus_of(workload) or gpus_per_pod(before, (), known)
    settings = with_image_generation(before, Settings(catalog=known), running=workload)
    if refusal_of(before, settings) or refusal_of(after, settings):
        return []

    def pod(workspace: Object) -> Object:
        for child in children_of(workspace, gpus=gpus, settings=settings):
            if child.kind.kind == workload["kind"]:
                return {"spec": dig(child.manifest, "spec", "template", "spec")}
        return {}

    return list(without_long_texts(difference(pod(before), pod(after), context=1)))


def without_long_texts(lines: Iterable[str]) -> Iterator[str]:
    """Lines of a difference, of a script that comes or goes only how long it is.

    Whoever is asked to agree would else see nothing but it; `render` shows all of it.
    """
    waiting = list(lines)[::-1]
    while waiting:
        yield (line := waiting.pop())
        if not line.endswith((" |", " |-", " |+")):
            continue
        depth = len(line) - len(line[2:].lstrip(" -"))
        text: list[str] = []
        while waiting and waiting[-1][:1] == line[:1] and not waiting[-1][2:depth].strip():
            text.append(waiting.pop())
        is_long = len(text) > _SHORT and line[:1] in "+-"
        yield from [f"{line[:1]}{' ' * (depth - 1)}... {len(text)} lines"] if is_long else text


_SHORT = 5


def where_options(target: Target, workspace: Object) -> list[str]:
    """The options that lead another command to the same namespace."""
    namespace = key_of(workspace).namespace
    return ["-n", namespace] if target.namespace or namespace != "default" else []
