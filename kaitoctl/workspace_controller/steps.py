"""Requests that several stages of a reconcile make, and how their usual refusals are read."""

from __future__ import annotations

import logging
from collections.abc import Generator

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api
from kaitoctl.kube import request
from kaitoctl.kube.objects import EVENT, Kind, Object, generation_of, key_of, this_version, uid_of
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller.decisions import MANAGER

logger = logging.getLogger(__name__)


def read_optional(read: Request) -> Generator[Request, Object, Object | None]:
    """The answer, None when there is no such object."""
    try:
        return (yield read)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def delete_if_present(deletion: Request) -> Generator[Request, Object, None]:
    """Delete something that may be gone already, or be another one of the same name."""
    try:
        yield deletion
    except ApiError as error:
        if error.status not in (404, 409):
            raise


def is_view_current(workspace: Object) -> Generator[Request, Object, bool]:
    """Whether the server has no newer spec than our store, asked before what must not follow an old one.

    When it has, the newer view is on its way to us.
    """
    live = yield from read_optional(request.get(api.kind_of(workspace), *key_of(workspace)))
    ours = uid_of(workspace), generation_of(workspace)
    return live is not None and (uid_of(live), generation_of(live)) == ours


def finalizers(obj: Object, *, ours: bool, kind: Kind | None = None, name: str = api.FINALIZER) -> Request:
    """Add or remove our finalizer; the resourceVersion makes it a 409 when somebody else wrote meanwhile.

    Args:
        obj: that is to have it, or not.
        ours: whether it is to have it.
        kind: of the object; None for a Workspace.
        name: of the finalizer.
    """
    others = [one for one in obj["metadata"].get("finalizers") or () if one != name]
    patch = {"metadata": {**this_version(obj), "finalizers": [*others, name] if ours else others}}
    return request.merge_patch(kind or api.kind_of(obj), *key_of(obj), patch, manager=MANAGER)


def record_event(event: Object) -> Generator[Request, Object, None]:
    """Create an Event. The status says the same, so a refusal (a namespace that goes) is only logged."""
    try:
        yield request.create(EVENT, event)
    except ApiError as error:
        logger.debug("no event: %s", error)
