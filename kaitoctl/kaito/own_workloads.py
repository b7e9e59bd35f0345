"""What our own controller has made, and for which generation of a Workspace. Pure."""

from __future__ import annotations

from kaitoctl.kube import managed_fields
from kaitoctl.kube.objects import Object, annotations_of, generation_of

CONTROLLER = "kaitoctl-controller"
"""The field manager under which kaitoctl's own controller writes."""
OWNER_GENERATION = "kaitoctl.dev/owner-generation"
"""On a child: the generation of the Workspace that it was made for."""


def is_written_by_us(workspace: Object) -> bool:
    """Whether kaitoctl's own controller has written the Workspace, as its `managedFields` say."""
    return CONTROLLER in managed_fields.owners(workspace)


def is_made_by_us(workload: Object) -> bool:
    """Whether kaitoctl's own controller made the workload."""
    return OWNER_GENERATION in annotations_of(workload)


def is_current(workspace: Object, workload: Object) -> bool:
    """Whether the workload was made for this generation of the Workspace."""
    return annotations_of(workload).get(OWNER_GENERATION) == str(generation_of(workspace))
