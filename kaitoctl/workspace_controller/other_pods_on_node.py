"""Who else has pods on a node that is about to be given back."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from kaitoctl.errors import ApiError
from kaitoctl.kube.objects import POD, Object, ObjectKey, key_of
from kaitoctl.kube.pod_state import holds_accelerator, is_finished
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller.stores import workspace_of_labels

CANNOT_BE_SEEN = "it cannot be seen whether others use its node"


def held_by(node: str, namespaces: Iterable[str]) -> str:
    """Why a node stays; of other people's pods only the namespaces are named."""
    names = ", ".join(namespaces)
    return f"pods of {names} hold GPUs of its node {node}" if names else ""


def last_look(node: str, owner: ObjectKey | None) -> Generator[Request, Object, str]:
    """Why a node must stay, as the server knows it now; empty when it may go.

    Args:
        node: about to be given back.
        owner: whose pods do not count.
    """
    try:
        answer = yield Request("GET", POD.path(), query={"fieldSelector": f"spec.nodeName={node}"})
    except ApiError as error:
        if error.status != 403:
            raise
        return f"{CANNOT_BE_SEEN} {node}: pods of all namespaces may not be listed"
    guests = {
        key_of(pod).namespace
        for pod in answer.get("items") or ()
        if not is_finished(pod) and holds_accelerator(pod) and owner not in workspace_of_labels(pod)
    }
    return held_by(node, sorted(guests))
