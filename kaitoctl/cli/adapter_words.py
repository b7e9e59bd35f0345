"""What the adapter commands say: the three columns, what changes, what it costs, where to go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kaitoctl.cli import output

_LONGEST_EVIDENCE = 240

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.cli.connect import Target
    from kaitoctl.kaito.adapter_rollout import Row
    from kaitoctl.kube.objects import Object


def show_rows(rows: Sequence[Row]) -> None:
    """The three columns."""
    cells = [(row.name, said(row), in_pods(row), loaded(row), row.source) for row in rows]
    output.table(("ADAPTER", "SPEC SAYS", "POD HAS", "MODEL LOADED", "SOURCE"), cells)


def said(row: Row) -> str:
    """What the Workspace says of an adapter."""
    return (row.strength or "yes") if row.is_asked_for else "no"


def in_pods(row: Row) -> str:
    """What the pods have of an adapter."""
    if row.pods is None:
        return "not seen"
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


def loaded(row: Row) -> str:
    """What the model server says of an adapter."""
    return {True: "yes", False: "no", None: "not asked"}[row.loaded]


def proven(rows: Sequence[Row]) -> str:
    """What the rows prove, once they all agree."""
    if any(row.pods is None for row in rows):
        return "its controller says that it serves; the pods cannot be seen"
    wanted = [row for row in rows if row.is_asked_for]
    if not wanted:
        return "the pods serve without adapters"
    names = ", ".join(row.name for row in wanted)
    if all(row.loaded for row in wanted):
        return f"in the pods and loaded: {names}"
    return f"in the pods, copied and mounted: {names}"


def adapters_of(workspace: Object) -> Object:
    """The part of a Workspace that is shown."""
    from kaitoctl.kaito import adapters

    entries = adapters.entries_of(workspace)
    return {"inference": {"adapters": entries}} if entries else {}


def difference(before: Object, after: Object, context: int = 3) -> list[str]:
    """A unified diff of two objects as YAML, without its head."""
    from difflib import unified_diff

    from kaitoctl.kube.documents import to_yaml

    old, new = (to_yaml(item).splitlines() if item else [] for item in (before, after))
    lines = list(unified_diff(old, new, n=context, lineterm=""))[2:]
    return ["  ..." if line.startswith("@@") else f"{line[:1]} {line[1:]}" for line in lines][1:]


def made_of_it(before: Object, after: Object, workload: Object) -> list[str]:
    """How the controller's pod template would differ, whatever else it is set to."""
    from kaitoctl.kaito.desired import Settings
    from kaitoctl.kaito.nodes import gpus_per_pod
    from kaitoctl.kube.objects import dig
    from kaitoctl.workspace_controller import children_of, gpus_of, refusal_of

    gpus = gpus_of(workload) or gpus_per_pod(before, ())
    settings = Settings()
    if refusal_of(before, settings) or refusal_of(after, settings):
        return []

    def pod(workspace: Object) -> Object:
        for child in children_of(workspace, gpus=gpus, settings=settings):
            if child.kind.kind == workload["kind"]:
                return {"spec": dig(child.manifest, "spec", "template", "spec")}
        return {}

    return difference(pod(before), pod(after), context=1)


def outage(workspace: Object, workload: Object, pods: Sequence[Object]) -> str:
    """How many pods restart, and for how long nothing serves."""
    from kaitoctl.kaito import adapter_rollout, catalog
    from kaitoctl.kube.objects import dig
    from kaitoctl.kube.workloads import replicas

    status = dig(workload, "status", "replicas")
    count = int(status if status is not None else replicas(workload))
    preset = str(dig(workspace, "inference", "preset", "name") or "")
    found = catalog.preset(preset) or catalog.model(preset)
    most_s = found.readiness_timeout_s if found else 1800
    took_s = adapter_rollout.took_s(pods)
    long, most = f"at most {_span(most_s)}", ""
    if took_s is not None:  # the start before, on this very cluster
        long, most = f"about {_span(took_s)}", f", {_span(most_s)} at most"
    if count == 0:
        return "no pod runs now: nothing restarts"
    if count == 1:
        return f"1 pod restarts: {long} without service{most}"
    if workload["kind"] == "StatefulSet":
        return f"{count} pods restart: {long} without service{most}"
    return f"{count} pods restart one by one, {long} each{most}; the others serve meanwhile"


def _span(seconds: float) -> str:
    """A time that nobody knows to the second."""
    if seconds < 90:
        return f"{math.ceil(seconds)} second{'' if seconds <= 1 else 's'}"
    return f"{math.ceil(seconds / 60)} minutes"


def shortened(text: str) -> str:
    """The beginning and the end of what container runtimes like to say three times over."""
    half = _LONGEST_EVIDENCE // 2
    return text if len(text) <= 2 * half else f"{text[:half]} … {text[-half:]}"


def where_options(target: Target, workspace: Object) -> list[str]:
    """The options that lead another command to the same namespace."""
    from kaitoctl.kube.objects import key_of

    namespace = key_of(workspace).namespace
    return ["-n", namespace] if target.namespace or namespace != "default" else []
