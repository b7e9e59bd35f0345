"""Two statuses of a Workspace -> the Events that tell what has changed. Pure; the time is given."""

from __future__ import annotations

from datetime import datetime

from kaitoctl.kaito import api
from kaitoctl.kaito.workspace_conditions import TERMINAL
from kaitoctl.kube.conditions import condition, timestamp
from kaitoctl.kube.objects import Object, dig

_LONGEST_EVENT = 1024  # the API server refuses longer messages


def events(workspace: Object, after: Object, now: datetime, *, component: str) -> list[Object]:
    """An Event for each step that the new status means: resources or inference became ready, or failed.

    What is merely pending for the first time is no news; `WorkspaceSucceeded` only repeats the others,
    except that it tells the end of tuning, and that a new one has begun. Fields that are ignored are reported
    whenever they are others than before.
    """
    told = {api.RESOURCE_READY, api.JOB_STARTED if workspace.get("tuning") else api.INFERENCE_READY}
    told.add(api.FIELDS_IGNORED)
    before = {item["type"]: item for item in dig(workspace, "status", "conditions") or ()}
    made = []
    for item in after.get("conditions") or ():
        old = before.get(item["type"], {})
        is_news = (item["status"], item["reason"]) != (old.get("status"), old.get("reason"))
        is_news |= item["type"] == api.FIELDS_IGNORED and item["message"] != old.get("message")
        is_step = item["status"] == "True" or old.get("status") == "True" or item["reason"] in TERMINAL
        is_end = item["type"] == api.WORKSPACE_SUCCEEDED and "True" in (item["status"], old.get("status"))
        if (item["type"] in told or (workspace.get("tuning") and is_end)) and is_news and is_step:
            made.append(_event(workspace, item, now, component))
    return made


def kept_event(workspace: Object, words: str, now: datetime, *, component: str) -> Object:
    """An Event that says of a Workspace that goes which NodeClaim stays, and why."""
    kept = condition(words, False, "NodeClaimKept", words)  # one Event for each
    return _event(workspace, kept, now, component)


def _event(workspace: Object, condition: Object, now: datetime, component: str) -> Object:
    import hashlib  # OpenSSL's part of it: 1 ms

    metadata = workspace["metadata"]
    # To be under way again is no reason for a warning.
    is_good = condition["status"] == "True" and condition["type"] != api.FIELDS_IGNORED
    seed = f"{metadata['uid']}/{condition['type']}/{condition['reason']}/{now.isoformat()}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{hashlib.sha256(seed.encode()).hexdigest()[:16]}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": workspace["apiVersion"],
            "kind": workspace["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Normal" if is_good or "Pending" in condition["reason"] else "Warning",
        "reason": condition["reason"],
        "message": condition["message"][:_LONGEST_EVENT],
        "source": {"component": component},
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
    }
