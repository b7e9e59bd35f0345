"""A Workspace with its revisions, as a cluster has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.commands import cluster
from kaitoctl.commands.cluster import explain_refusal
from kaitoctl.errors import ApiError
from kaitoctl.kaito import revisions
from kaitoctl.kube.objects import CONTROLLER_REVISION, is_controlled_by

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object, ObjectKey


class WorkspaceRevisions(Struct, frozen=True):
    """A Workspace and its revisions.

    Args:
        kind: the API version in which the revisions were recorded.
        workspace: the Workspace as it is, in that version.
        history: its revisions, whole, oldest first.
    """

    kind: Kind
    workspace: Object
    history: list[Object]


async def revisions_of(client: Client, key: ObjectKey) -> WorkspaceRevisions:
    """A Workspace and its revisions.

    Raises:
        ApiError: there is no such Workspace, or somebody may not look.
    """
    selector = f"{revisions.LABEL_NAME}={key.name}"
    try:
        listed = await client.list(CONTROLLER_REVISION, key.namespace, label_selector=selector)
    except ApiError as error:
        raise explain(error) from error
    found = [one for one in revisions.sort_revisions(listed.items) if isinstance(one.get("data"), dict)]
    kind, workspace = await workspace_of(client, key)
    return WorkspaceRevisions(kind, workspace, [one for one in found if is_controlled_by(one, workspace)])


async def workspace_of(client: Client, key: ObjectKey) -> tuple[Kind, Object]:
    """The Workspace in the newest API version that is served: a write in an older one loses fields."""
    try:
        return await cluster.workspace_by_name(client, key)
    except ApiError as error:
        raise explain(error) from error


def explain(error: ApiError) -> ApiError:
    """The same refusal, with what the user can do about it."""
    rights = (
        "you need get (undo: and patch) on workspaces.kaito.sh, and list on "
        "controllerrevisions.apps in this namespace"
    )
    return explain_refusal(error, rights=rights)
