"""What `doctor` says of one's rights: what each command takes, and whether the server grants it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands.doctor_check import Check, Examined, Result, Right
from kaitoctl.errors import ApiError
from kaitoctl.kube.objects import Kind
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RIGHTS = (
    ("create", "kaito.sh", "workspaces", True, "create workspace"),
    ("patch", "kaito.sh", "workspaces", True, "create workspace"),
    ("watch", "kaito.sh", "workspaces", True, "status"),
    ("watch", "", "pods", True, "status"),
    ("watch", "apps", "deployments", True, "status"),
    ("watch", "apps", "statefulsets", True, "status"),
    ("watch", "karpenter.sh", "nodeclaims", False, "status"),
    ("watch", "", "services", True, "status, endpoint"),
    ("watch", "discovery.k8s.io", "endpointslices", True, "status, endpoint"),
    ("list", "", "nodes", False, "check-nodes"),
    ("list", "", "pods", False, "check-nodes, nodes"),
    ("list", "", "events", True, "why, events"),
    ("get", "", "secrets", True, "why"),
    ("get", "", "configmaps", True, "why"),
    ("get", "", "persistentvolumeclaims", True, "why"),
    ("get", "", "pods/log", True, "why, logs"),
    ("list", "apps", "replicasets", True, "why"),
    ("list", "apps", "controllerrevisions", True, "why, rollout history"),
    ("list", "batch", "jobs", True, "why"),
    ("list", "policy", "poddisruptionbudgets", True, "why, of a deletion"),
    ("list", "karpenter.sh", "nodepools", False, "why"),
    ("list", "resource.k8s.io", "resourceslices", False, "why, of GPUs through DRA"),
    ("get", "", "persistentvolumes", False, "why, of volumes"),
    ("get", "storage.k8s.io", "storageclasses", False, "why, of volumes"),
    ("list", "storage.k8s.io", "csinodes", False, "why, of nodes full of volumes"),
    ("list", "storage.k8s.io", "volumeattachments", False, "why, of nodes full of volumes"),
    ("create", "", "services/proxy", True, "chat"),
)
"""What each command needs: verb, group, resource, whether in the namespace, and for what."""

_REVIEW = Kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False)


def to_list(plural: str, namespace: str) -> Right:
    """The right to list what a command watches, in the namespace where it is of one."""
    group, is_namespaced = next(((row[1], row[3]) for row in RIGHTS if row[2] == plural), ("", True))
    name = f"{plural}.{group}" if group else plural
    return Right("list", name, namespace if is_namespaced else "", is_everyones=is_namespaced)


async def rights(cluster: Examined) -> AsyncIterator[Check]:
    """What one may do with Workspaces in the namespace, and what is needed besides."""
    client = cluster.client

    async def may(verb: str, group: str, resource: str, namespaced: bool) -> bool | None:
        plain, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": plain, "subresource": subresource}
        if namespaced:
            attributes["namespace"] = client.namespace
        spec = {"resourceAttributes": attributes}
        body = {"apiVersion": _REVIEW.api_version, "kind": _REVIEW.kind, "spec": spec}
        try:
            answer = await client.send(Request("POST", _REVIEW.path(), body=body))
        except ApiError as error:
            if error.status in (404, 405):
                return None
            raise
        return bool(answer["status"]["allowed"])

    answers = await asyncio.gather(*(may(*row[:4]) for row in RIGHTS))
    if all(answer is None for answer in answers):
        message = "this cluster serves no SelfSubjectAccessReviews: permissions were not checked"
        yield Check("rights", "access", "skipped", message)
        return
    for (verb, group, resource, namespaced, purpose), allowed in zip(RIGHTS, answers, strict=True):
        if allowed is False:
            place = f"in namespace {client.namespace}" if namespaced else "in the whole cluster"
            name = f"{resource}.{group}" if group else resource
            message = f"you are not allowed to {verb} {name} {place} (for {purpose})"
            where = ("-n", client.namespace) if namespaced else ("-A",)
            # Without the right to write them there is no managing Workspaces; the rest costs details.
            result: Result = "error" if group == "kaito.sh" else "warning"
            hint = Command("kubectl auth can-i", verb, name, *where)
            yield Check("rights", f"{verb} {name}", result, message, hint)
    if False not in answers:
        message = f"all needed permissions are granted in {client.namespace}"
        yield Check("rights", "access", "ok", message)
