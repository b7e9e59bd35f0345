"""What a pass decides from plain objects; `render`, `diff` and the adapters' preview ask here, too."""

from __future__ import annotations

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, desired, revisions, tuning, validation
from kaitoctl.kaito import nodes as nodes_
from kaitoctl.kaito import status as status_
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.nodes import Verdict
from kaitoctl.kaito.snapshot import CONTROLLER
from kaitoctl.kube import final_refusals
from kaitoctl.kube.objects import (
    DEPLOYMENT,
    JOB,
    STATEFUL_SET,
    Kind,
    Object,
    ObjectKey,
    annotations_of,
    dig,
)
from kaitoctl.reconcile.plan import Child

WORKLOADS = (DEPLOYMENT, STATEFUL_SET, JOB)

MANAGER = CONTROLLER
"""The field manager under which the controller writes."""

ANNOTATION_PREFIX = "kaitoctl.dev"


def refusal_of(workspace: Object, settings: Settings) -> str:
    """Why nothing is built for this Workspace: it is not valid, or asks for what we do not build."""
    if (wanted := nodes_.required_nodes(workspace)) > settings.most_nodes:
        return f"resource.count {wanted} is more than the {settings.most_nodes} nodes a Workspace may have"
    errors = [
        f"{problem.path}: {problem.message}" if problem.path else problem.message
        for problem in validation.problems(tuning.normalised(workspace))
        if problem.severity == "error"
    ]
    return "; ".join(errors) or desired.refusal(workspace, settings)


def refusal_words(error: ApiError) -> str:
    """A server's refusal, by the fields of the Workspace where it names those of a child."""
    told = [
        f"{complaint.path.replace('spec.template.', 'inference.template.', 1)}: {complaint.message}"
        for complaint in final_refusals.complaints(error)
    ]
    return "; ".join(told) or str(error)


def children_of(
    workspace: Object, *, gpus: int, settings: Settings, output_dir: str = "", revision: int = 0
) -> list[Child]:
    """The children that a Workspace should have, for `plan`.

    Args:
        workspace: the Workspace.
        gpus: as in `desired`.
        settings: as in `desired`.
        output_dir: as in `desired`.
        revision: the number that the workload carries, on itself and never on its pods; 0 for none.
    """
    made = desired.desired(workspace, gpus=gpus, settings=settings, output_dir=output_dir)
    return [
        Child(
            kind,
            _numbered(manifest, revision) if revision and kind in WORKLOADS else manifest,
            replace_on=tuning.MADE_FROM if kind is JOB else "",
        )
        for kind, manifest in made
    ]


def _numbered(workload: Object, revision: int) -> Object:
    annotations = {**annotations_of(workload), revisions.NUMBER: str(revision)}
    return {**workload, "metadata": {**workload["metadata"], "annotations": annotations}}


def made_for(child: Object) -> int:
    """The generation that the child is stamped with; 0 without."""
    text = annotations_of(child).get(status_.OWNER_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def pod_gpus(workspace: Object, verdict: Verdict, workload: Object | None) -> int:
    """How many GPUs each pod of a preset asks for.

    Nodes that come and go are no reason to make pods anew: a workload that was made for the Workspace as it
    is keeps its number.
    """
    gpus = nodes_.gpus_per_pod(workspace, [node for node in verdict.nodes if node.name in verdict.selected])
    if workload is not None and status_.is_current(workspace, workload):
        return gpus_of(workload) or gpus
    return gpus


def is_over(workspace: Object, job: Object) -> bool:
    """Whether the Job has ended and nothing else is wanted: a node would have nothing to do."""
    return tuning.is_made_for(job, workspace) and tuning.has_ended(job)


def unstamped(children: list[tuple[Kind, Object]]) -> list[tuple[Kind, Object]]:
    """The children without the generation that they claim to be made for."""
    return [
        (
            kind,
            {
                **child,
                "metadata": {
                    **child["metadata"],
                    "annotations": annotations_of(child) | {status_.OWNER_GENERATION: ""},
                },
            },
        )
        for kind, child in children
    ]


def gpus_of(workload: Object) -> int:
    """How many GPUs each pod of the workload asks for, 0 when it asks for none."""
    limit = dig(workload, "spec", "template", "spec", "containers", 0, "resources", "limits", api.GPU)
    return int(limit) if str(limit or "").isdecimal() else 0


def conflict(kind: Kind, key: ObjectKey, owner: str) -> str:
    """The words for an object of ours that is somebody else's."""
    return f"{kind.kind} {key} exists and belongs to {owner or 'nobody we know'}; it is left alone"
