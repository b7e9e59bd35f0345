"""The revisions of a Workspace: written before what they record is applied, and pruned."""

from __future__ import annotations

from collections.abc import Generator

from kaitoctl.errors import ApiError
from kaitoctl.kaito import revisions
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.revisions import Record
from kaitoctl.kube import request
from kaitoctl.kube.objects import (
    CONTROLLER_REVISION,
    Object,
    generation_of,
    is_controlled_by,
    key_of,
    this_version,
    uid_of,
)
from kaitoctl.kube.request import Request
from kaitoctl.reconcile.planner import owner_generation
from kaitoctl.workspace_controller import steps
from kaitoctl.workspace_controller.decisions import ANNOTATION_PREFIX, MANAGER, refusal_of
from kaitoctl.workspace_controller.stores import Stores

_MOST_COLLISIONS = 16


def revisions_of(stores: Stores, workspace: Object) -> list[Object]:
    """The Workspace's own revisions, trimmed by `revisions.kept`."""
    return stores.revisions.by_owner(uid_of(workspace))


def write_revision(workspace: Object, record: Record) -> Generator[Request, Object, int]:
    """Write the revision of what is about to be applied; returns its number."""
    if record.present is not None and (not record.patch or (yield from _renumber(record.present, record))):
        return record.number
    for collisions in range(_MOST_COLLISIONS):
        made = revisions.revision(workspace, record.number, collisions=collisions)
        try:
            yield request.create(CONTROLLER_REVISION, made)
            return record.number
        except ApiError as error:
            if error.status != 409:
                raise
            taken = yield from steps.read_optional(request.get(CONTROLLER_REVISION, *key_of(made)))
            if taken is None:
                raise
            is_it = is_controlled_by(taken, workspace) and revisions.has_same_data(taken, workspace)
            if is_it and revisions.number_of(taken) >= record.number:
                return revisions.number_of(taken)  # written already, and our store is behind
    raise ApiError(409, "Conflict", f"all names for the revision of {key_of(workspace)} are taken")


def _renumber(present: Object, record: Record) -> Generator[Request, Object, bool]:
    """Make a revision of the past the newest; False when the server refuses to.

    Its data was then written in another form than the API server's, to which any patch now seems to change
    it. It stays as it is, and the history has it twice.
    """
    patch = {**record.patch, "metadata": {**record.patch["metadata"], **this_version(present)}}
    try:
        yield request.merge_patch(CONTROLLER_REVISION, *key_of(present), patch, manager=MANAGER)
    except ApiError as error:
        if error.reason != "Invalid":
            raise
        return False
    return True


def prune(record: Record) -> Generator[Request, Object, ApiError | None]:
    """Delete the revisions beyond the limit; returns what went wrong: no reason to apply nothing."""
    try:
        for one in record.superfluous:
            deletion = request.delete(CONTROLLER_REVISION, *key_of(one), uid=uid_of(one))
            yield from steps.delete_if_present(deletion)
    except ApiError as error:
        return error
    return None


def before(stores: Stores, workspace: Object) -> Generator[Request, Object, Object | None]:
    """The Workspace as it was applied last, where it has changed since; None where that is unknown."""
    own = revisions_of(stores, workspace)
    if not own and generation_of(workspace) > 1:  # on the word of a store alone no change is accepted
        metadata = workspace["metadata"]
        ours = {"labelSelector": f"{revisions.LABEL_NAME}={metadata['name']}"}
        answer = yield Request("GET", CONTROLLER_REVISION.path(metadata["namespace"]), query=ours)
        found = [one for one in answer.get("items") or () if is_controlled_by(one, workspace)]
        own = [revisions.trim_revision(one) for one in found]
    newest = max(own, key=revisions.number_of, default=None)
    if newest is None or revisions.has_same_data(newest, workspace):
        return None
    return (yield from _as_recorded(workspace, newest))


def _as_recorded(workspace: Object, revision: Object) -> Generator[Request, Object, Object | None]:
    """The Workspace as a revision (`trim_revision`) has it; None when the server has another one by now."""
    whole = yield from steps.read_optional(request.get(CONTROLLER_REVISION, *key_of(revision)))
    if whole is None or not is_controlled_by(whole, workspace) or not isinstance(whole.get("data"), dict):
        return None
    return revisions.as_of(workspace, whole["data"])


def last_good(
    stores: Stores, settings: Settings, workspace: Object, workload: Object | None
) -> Generator[Request, Object, Object | None]:
    """The Workspace as its serving workload was made from it, or is to be; None when that is unknown."""
    own = revisions_of(stores, workspace)
    number = revisions.newest(own) if workload is None else revisions.number_on(workload)
    known = [one for one in own if number and revisions.number_of(one) == number]
    if not known:
        return None
    good = yield from _as_recorded(workspace, known[-1])
    if good is None:
        return None
    good["metadata"]["generation"] = owner_generation(workload or known[-1], ANNOTATION_PREFIX)
    return good if good.get("inference") and not refusal_of(good, settings) else None
