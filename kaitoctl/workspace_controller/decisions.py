"""What a reconcile decides from plain objects; `render`, `diff` and the adapters' preview ask here, too."""

from __future__ import annotations

import hashlib
import marshal
from dataclasses import dataclass

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, desired, node_check, revisions, tuning, validation
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.node_check import NodeVerdict, Verdict
from kaitoctl.kaito.own_workloads import CONTROLLER, OWNER_GENERATION, is_current
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
    only,
    without,
)
from kaitoctl.reconcile.planner import Child

WORKLOADS = (DEPLOYMENT, STATEFUL_SET, JOB)

MANAGER = CONTROLLER
"""The field manager under which the controller writes."""

ANNOTATION_PREFIX = "kaitoctl.dev"

WRITTEN_FOR = f"{ANNOTATION_PREFIX}/revision"
"""The revision for which ours wrote a workload; KAITO's writes the other one alone: `revisions.NUMBER`."""


def refusal_of(workspace: Object, settings: Settings) -> str:
    """Why nothing is built for this Workspace: it is not valid, or asks for what we do not build."""
    settings = desired.with_image_generation(workspace, settings)
    sized = desired.with_node_count(workspace, settings)
    if (taken := node_check.required_nodes(sized)) > settings.most_nodes:
        words = f"resource.count {taken} is" if sized is workspace else f"the model takes {taken} nodes,"
        return f"{words} more than the {settings.most_nodes} nodes a Workspace may have"
    setting = validation.Setting(
        validation.OWN, image_generation=settings.image_generation, catalog=settings.catalog
    )
    found = validation.problems(tuning.with_lower_case_method(workspace), setting)
    errors = [problem.text for problem in found if problem.severity == "error"]
    return "; ".join(errors) or desired.refusal(workspace, settings)


class Refusals:
    """`refusal_of`, remembered: most reconciles are because of pods and nodes, and find the same wishes."""

    def __init__(self) -> None:
        self._known: dict[ObjectKey, tuple[bytes, Settings, str]] = {}

    def of(self, key: ObjectKey, workspace: Object, settings: Settings) -> str:
        """Why nothing is built for this Workspace."""
        asked = _as_asked(workspace)
        digest = hashlib.blake2b(marshal.dumps(asked, 2), digest_size=16).digest()
        known = self._known.get(key)
        if known is None or known[:2] != (digest, settings):
            known = self._known[key] = digest, settings, refusal_of(asked, settings)
        return known[2]

    def forget(self, key: ObjectKey) -> None:
        """There is no such Workspace any more."""
        self._known.pop(key, None)


def _as_asked(workspace: Object) -> Object:
    """The Workspace without what others write into it all the time."""
    metadata = without(workspace["metadata"], "resourceVersion", "managedFields")
    # How many nodes a model was found to take is asked for from then on.
    status = only(workspace.get("status") or {}, "targetNodeCount")
    return {**workspace, "metadata": metadata, "status": status}


def change_refusal(workspace: Object, before: Object, settings: Settings) -> str:
    """Why a Workspace may not become what it is, as all commands refuse it.

    An admission webhook may have missed the change: it was away, or there is none.

    Args:
        workspace: as it is.
        before: as it was when it was applied last.
        settings: the controller's.
    """
    setting = validation.Setting(
        validation.OWN, image_generation=settings.image_generation, catalog=settings.catalog
    )
    found = validation.update_problems(before, workspace, setting)
    words = [one.text for one in found if one.code == "KW181" and one.severity == "error"]
    way = "change it back, or delete the Workspace and recreate it"
    return "; ".join([*words, way]) if words else ""


def refusal_words(error: ApiError) -> str:
    """A server's refusal, by the fields of the Workspace where it names those of a child."""
    words = [
        f"{complaint.path.replace('spec.template.', 'inference.template.', 1)}: {complaint.message}"
        for complaint in final_refusals.complaints(error)
    ]
    return "; ".join(words) or str(error)


@dataclass(slots=True)
class StageError:
    """What went wrong with one stage of a reconcile.

    Args:
        error: what the API server answered.
        refusal: why it was not even asked.
        note: something worth reporting that is no error.
    """

    error: ApiError | None = None
    refusal: str = ""
    note: str = ""

    @property
    def final(self) -> str:
        """Why it will not work until somebody changes something."""
        is_final = self.error is not None and final_refusals.is_final(self.error)
        return refusal_words(self.error) if self.error and is_final else self.refusal

    @property
    def transient(self) -> str:
        """The error's words while the next try may work."""
        return str(self.error) if self.error and not self.final else ""


def children_of(
    workspace: Object,
    *,
    gpus: int,
    settings: Settings,
    output_dir: str = "",
    revision: int = 0,
    nodes: Shape | None = None,
) -> list[Child]:
    """The children that a Workspace should have, for `plan`.

    Args:
        workspace: the Workspace.
        gpus: as in `desired`.
        settings: as in `desired`.
        output_dir: as in `desired`.
        revision: the number that the workload carries, on itself and never on its pods; 0 for none.
        nodes: as in `desired`.
    """
    settings = desired.with_image_generation(workspace, settings)
    made = desired.desired(workspace, gpus=gpus, settings=settings, output_dir=output_dir, nodes=nodes)
    notes = dict.fromkeys((revisions.NUMBER, WRITTEN_FOR), str(revision)) if revision else {}
    if dig(workspace, "inference", "preset", "name"):
        notes[desired.MADE_IN] = settings.image_generation
    return [
        Child(
            kind,
            _with_notes(manifest, notes) if notes and kind in WORKLOADS else manifest,
            replace_on=tuning.MADE_FROM if kind is JOB else "",
        )
        for kind, manifest in made
    ]


def _with_notes(workload: Object, notes: dict[str, str]) -> Object:
    annotations = {**annotations_of(workload), **notes}
    return {**workload, "metadata": {**workload["metadata"], "annotations": annotations}}


def node_shape(workspace: Object, settings: Settings, verdict: Verdict) -> Shape | None:
    """What the first of its nodes that is Ready has, whoever uses it; None where the instance type tells.

    Source: KAITO v0.12.0 `pkg/workspace/estimator/nodesestimator/estimator.go` (existing ready nodes).
    """
    if (
        desired.model_of(workspace, settings) is None
        or desired.shape_of(workspace, settings.catalog) is not None
    ):
        return None
    ready = [node for node in verdict.nodes if node.ready and node.recognised and node.gpus.memory_gib]
    found = next((node for node in ready if node.usable), next(iter(ready), None))
    if found is None or not found.gpus.together:
        return None
    sharing = found.gpus.sharing
    is_slice = sharing is not None and sharing.strategy == "mig"
    return Shape(found.gpus.together, found.gpus.memory_gib or 0, is_slice)


def mixed_nodes(workspace: Object, verdict: Verdict) -> str:
    """Why a preset is not brought onto nodes that differ in their GPUs; empty when they are alike.

    Source: KAITO v0.12.0 `api/v1beta1/workspace_validation.go`, which asks on creation.
    """
    if not dig(workspace, "inference", "preset"):
        return ""
    first = None
    for node in (node for node in verdict.nodes if node.gpus.allocatable):
        gpus = node.gpus
        if first is None:
            first = node
        elif (gpus.product, gpus.capacity, gpus.memory_gib) != (
            first.gpus.product,
            first.gpus.capacity,
            first.gpus.memory_gib,
        ):
            return (
                f"the nodes differ in their GPUs: {first.name} has {_gpus(first)}, {node.name} has "
                f"{_gpus(node)}; select nodes that are alike"
            )
    return ""


def _gpus(node: NodeVerdict) -> str:
    memory = f" of {node.gpus.memory_gib:.0f} GiB" if node.gpus.memory_gib else ""
    return f"{node.gpus.capacity} {node.gpus.product or 'GPUs'}{memory}"


def pod_gpus(workspace: Object, verdict: Verdict, workload: Object | None) -> int:
    """How many GPUs each pod of a preset asks for, by the catalog that the verdict went by.

    Nodes that come and go are no reason to recreate pods: a workload that was made for the Workspace as it
    is keeps its number.
    """
    selected = [node for node in verdict.nodes if node.name in verdict.selected]
    gpus = node_check.gpus_per_pod(workspace, selected, verdict.rules.catalog)
    if workload is not None and is_current(workspace, workload):
        return gpus_of(workload) or gpus
    return gpus


def is_over(workspace: Object, job: Object) -> bool:
    """Whether the Job has ended and nothing else is wanted: a node would have nothing to do."""
    return tuning.is_made_for(job, workspace) and tuning.has_ended(job)


def without_generation_stamps(children: list[tuple[Kind, Object]]) -> list[tuple[Kind, Object]]:
    """The children without the generation that they claim to be made for."""
    return [
        (
            kind,
            {
                **child,
                "metadata": {
                    **child["metadata"],
                    "annotations": annotations_of(child) | {OWNER_GENERATION: ""},
                },
            },
        )
        for kind, child in children
    ]


def gpus_of(workload: Object) -> int:
    """How many GPUs each pod of the workload asks for, 0 when it asks for none."""
    limit = dig(workload, "spec", "template", "spec", "containers", 0, "resources", "limits", api.GPU)
    text = str(limit or "")
    return int(text) if text.isascii() and text.isdigit() else 0


def conflict(kind: Kind, key: ObjectKey, owner: str) -> str:
    """The words for an object of ours that is somebody else's."""
    return f"{kind.kind} {key} exists and is not this Workspace's (controller: {owner}); it is left alone"


def workload_of(workspace: Object, settings: Settings) -> Object | None:
    """What a Workspace that might be made would run in; None where nothing would be built.

    A tuning Workspace is left out: it names its output elsewhere, and has one pod.
    """
    settings = desired.with_image_generation(workspace, settings)
    if workspace.get("tuning") or desired.refusal(workspace, settings):
        return None
    sized = desired.with_node_count(workspace, settings)
    gpus = node_check.gpus_per_pod(sized, (), settings.catalog)
    made = children_of(sized, gpus=gpus, settings=settings)
    return next((one.manifest for one in made if one.kind in WORKLOADS and one.kind is not JOB), None)
