"""The Secrets, ConfigMaps and claims that a Workspace names, looked for before it is written.

A missing one shows only as a failed pull or a pod that no node takes: when GPU nodes have been bought, or the
old pod is gone already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands.asked_context import looked_up, missing_references
from kaitoctl.errors import InputError
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.target import Target
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object, ObjectKey


async def require(client: Client, target: Target, workspace: Object, before: Object | None = None) -> None:
    """Refuse a Workspace whose pods would never serve for something that is not there; warn of the rest.

    Args:
        client: the API client.
        target: of the commands that are advised.
        workspace: as it is about to be written.
        before: as it is in the cluster: what that names already is warned of.

    Raises:
        InputError: a Secret or claim is missing, or is none that pulls.
    """

    async def look_up(kind: Kind, key: ObjectKey) -> tuple[Object | None, bool]:
        found, is_told = await looked_up(client, kind, key)
        if not is_told:
            output.warning(f"whether {kind.kind} {key.name} exists cannot be checked: you may not read it")
        return found, is_told

    for item in await missing_references(workspace, look_up, before=before):
        if item.is_refused:
            raise InputError(f"{item.message}; nothing was written", hint=item.create)
        output.warning(item.message, hint=target.text(item.create))
