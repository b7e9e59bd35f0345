"""Whether a tuning Workspace is to be tuned at all, and with what the user named for it."""

from __future__ import annotations

from collections.abc import Generator

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, tuning
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kube import conditions, request
from kaitoctl.kube.objects import CONFIG_MAP, SECRET, Object, generation_of, key_of
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller import steps


def has_tuned(workspace: Object, job: Object | None) -> bool:
    """Whether this generation was tuned: no reason to tune once more.

    By us, and its Job has been cleaned up; or by KAITO, whose Job says nothing of what it was made from.
    """
    is_done = conditions.is_true(workspace, api.WORKSPACE_SUCCEEDED, generation=generation_of(workspace))
    return is_done and (job is None or (tuning.is_of_kaito(job) and tuning.has_succeeded(job)))


def is_begun_by_kaito(workspace: Object, job: Object | None) -> bool:
    """Whether KAITO has begun to tune this generation: its Job goes on to its end."""
    began = conditions.is_true(workspace, api.JOB_STARTED, generation=generation_of(workspace))
    return job is not None and tuning.is_of_kaito(job) and began


def read_inputs(
    workspace: Object, job: Object | None, known: Catalog
) -> Generator[Request, Object, tuple[str, str]]:
    """What is wrong with the Secret and the ConfigMap that the user names, and where tuning writes.

    Asked as long as there is no Job for what the Workspace wants: before nodes cost money. Both are
    looked up in the Workspace's own namespace, never in another one.
    """
    namespace = key_of(workspace).namespace
    if job is not None and tuning.is_made_for(job, workspace):
        return "", ""
    if name := tuning.push_secret(workspace):
        try:
            secret = yield from steps.read_optional(request.get(SECRET, namespace, name))
            if refusal := tuning.secret_refusal(workspace, secret):
                return refusal, ""
        except ApiError as error:
            if error.status != 403:  # a controller need not be allowed to read Secrets
                raise
    if not (name := tuning.named_config(workspace)):
        return "", ""
    config = yield from steps.read_optional(request.get(CONFIG_MAP, namespace, name))
    refusal = tuning.config_refusal(workspace, config, known)
    return (refusal, "") if refusal or config is None else ("", tuning.output_dir(config))
