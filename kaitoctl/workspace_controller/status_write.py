"""The status of a Workspace, written when it differs, and the Events that go with it."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, workspace_status
from kaitoctl.kaito.workspace_conditions import Observed
from kaitoctl.kaito.workspace_events import events
from kaitoctl.kube import request
from kaitoctl.kube.objects import Object, key_of
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller import steps
from kaitoctl.workspace_controller.decisions import MANAGER


def report(workspace: Object, seen: Observed, now: datetime) -> Generator[Request, Object, None]:
    """Write to the status what was observed at `now`, and an Event for each condition that changed."""
    new = workspace_status.status(workspace, seen, now)
    yield from write_status(workspace, new)
    for event in events(workspace, new, now, component=MANAGER):
        yield from steps.record_event(event)


def write_status(workspace: Object, new: Object) -> Generator[Request, Object, Object]:
    """Write the status if it differs; returns the Workspace as it is then."""
    present = workspace.get("status") or {}
    if all(present.get(field) == new.get(field) for field in workspace_status.FIELDS):
        return workspace
    metadata = workspace["metadata"]
    body = {
        "apiVersion": workspace["apiVersion"],
        "kind": workspace["kind"],
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid")},
        "status": new,
    }
    kind = api.kind_of(workspace)
    try:
        return (yield request.apply_status(kind, body, manager=MANAGER))
    except ApiError as error:
        if "not declared in schema" not in str(error):
            raise
    # Somebody writes in v1alpha1 what has a field of v1beta1: then no API server applies anything.
    patch = {"metadata": {"uid": metadata["uid"]}, "status": dict.fromkeys(workspace_status.FIELDS) | new}
    return (yield request.merge_patch(kind, *key_of(workspace), patch, manager=MANAGER, subresource="status"))
