"""Weights that a model server streams from a store which annotations name, instead of downloading them.

KAITO v0.12 streams to every Workspace once its gate is on: from a mirror that it fills itself (`ModelMirror`)
or, of a static mirror, from a store that is there already. Ours does the latter, for Workspaces whose
ServiceAccount the operator allows: whoever names it acts as it.

Source: KAITO v0.12.0 `pkg/workspace/inference/modelstreaming/modelstreaming.go`, `azure/sasblob.go`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kaitoctl.kaito import api
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.desired.children import NO_NEW_PRIVILEGES, child_object, literal
from kaitoctl.kaito.desired.volumes import local_weights
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import CONFIG_MAP, Object, annotations_of, dig

FETCHER = "fetch-sas"
"""The init container that gets the token."""

MODEL = '"$STREAM_MODEL_URI"'
"""What the server's command has for the weights: known to its entrypoint alone."""

LABELS = {"azure.workload.identity/use": "true"}
"""Of the pods: Azure's webhook gives them the identity of their ServiceAccount. KAITO selects by it, too."""

_SHARED, _SCRIPT = "streaming-sas", "fetch-sas-script"
_SHARED_PATH, _SCRIPT_PATH, _FILE = "/mnt/streaming", "/scripts", "fetch_sas.py"
_ENTRYPOINT = "/workspace/vllm/export_sas_token_for_streaming.sh"
_ENVIRONMENT = {
    "STREAM_DATAREFS_URL": api.STREAM_URL,
    "STREAM_IDENTITY_CLIENT_ID": api.STREAM_CLIENT,
    "STREAM_SOURCE_TYPE": api.STREAM_SOURCE,
}


def is_streamed(workspace: Object, runtime: str, settings: Settings) -> bool:
    """Whether the weights come from a static mirror."""
    notes, allowed = annotations_of(workspace), settings.template_service_accounts
    if notes.get(api.STATIC_MIRROR) != "true" or notes.get(api.ANNOTATION_STREAMING) == "disabled":
        return False
    account = notes.get(api.STREAM_ACCOUNT) or ""
    if runtime != "vllm" or local_weights(workspace):
        return False
    return bool(account) and ("*" in allowed or account in allowed)


def is_streaming(workload: Object) -> bool:
    """Whether the pods of a workload stream their weights."""
    containers = dig(workload, "spec", "template", "spec", "initContainers") or ()
    return any(item.get("name") == FETCHER for item in containers)


def refusal(workspace: Object) -> str:
    """Why nothing can be streamed; empty when it can."""
    notes = annotations_of(workspace)
    for key in api.STATIC_SOURCE:
        if not notes.get(key):
            return f"metadata.annotations[{key}]: a static mirror needs it"
    if not str(notes[api.STREAM_URL]).startswith("https://"):
        return f"metadata.annotations[{api.STREAM_URL}]: a token is sent there, so it must be an https URL"
    if notes[api.STREAM_SOURCE] not in api.STREAM_SOURCES:
        return f"metadata.annotations[{api.STREAM_SOURCE}] must be {' or '.join(api.STREAM_SOURCES)}"
    return ""


def script(workspace: Object) -> Object:
    """The ConfigMap with the program of the init container."""
    made = child_object(CONFIG_MAP, workspace, {}, name=_script_name(workspace))
    del made["spec"]
    return {**made, "data": {_FILE: _program()}}


def stream(workspace: Object, model: Model, spec: Object, image: str) -> None:
    """Change a pod that would download the weights into one that streams them.

    Args:
        workspace: the Workspace.
        model: that it serves.
        spec: of the pod, its main container first.
        image: the base image, which has Python.
    """
    notes, main = annotations_of(workspace), spec["containers"][0]
    file = f"{_SHARED_PATH}/env"
    shared = {"name": _SHARED, "mountPath": _SHARED_PATH}
    environment = [{"name": name, "value": literal(str(notes[key]))} for name, key in _ENVIRONMENT.items()]
    fetcher = {
        "name": FETCHER,
        "image": image,
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["python3", f"{_SCRIPT_PATH}/{_FILE}"],
        "env": [*environment, {"name": "STREAM_ENV_FILE", "value": file}],
        "volumeMounts": [dict(shared), {"name": _SCRIPT, "mountPath": _SCRIPT_PATH, "readOnly": True}],
    }
    spec.setdefault("initContainers", []).append(fetcher)
    spec["serviceAccountName"] = notes[api.STREAM_ACCOUNT]
    spec["volumes"] += [
        {"name": _SHARED, "emptyDir": {"medium": "Memory"}},
        {"name": _SCRIPT, "configMap": {"name": _script_name(workspace)}},
    ]
    main["command"] = [_ENTRYPOINT, *main["command"]]
    main["volumeMounts"].append(shared)
    main["env"] += [
        {"name": "KAITO_PROCESSOR", "value": model.id.lower()},
        {"name": "STREAM_ENV_FILE", "value": file},
    ]


def _script_name(workspace: Object) -> str:
    return f"{workspace['metadata']['name']}-{_SCRIPT}"


@cache
def _program() -> str:
    return (Path(__file__).parent / "in_pods" / _FILE).read_text(encoding="utf-8")
