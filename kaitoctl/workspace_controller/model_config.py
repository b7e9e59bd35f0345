"""What a Workspace's ConfigMap for inference says of its size: more context takes more GPUs, and nodes."""

from __future__ import annotations

from collections.abc import Generator

from kaitoctl.kaito import desired
from kaitoctl.kaito.desired import IMAGE_GENERATIONS, Settings
from kaitoctl.kaito.validation.config_maps import length_in
from kaitoctl.kube import request
from kaitoctl.kube.objects import CONFIG_MAP, Object, dig, key_of
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller import steps


def config_name(workspace: Object, settings: Settings) -> str:
    """The ConfigMap that has a say in how many nodes there are; empty when none has.

    Args:
        workspace: the Workspace.
        settings: with its generation in them.
    """
    name = str(dig(workspace, "inference", "config") or "")
    if not name or desired.model_of(workspace, settings) is None:
        return ""
    is_sized = desired.runtime_of(workspace, IMAGE_GENERATIONS[settings.image_generation]) == "vllm"
    return name if is_sized else ""


def context_in(config_map: Object | None) -> int:
    """The tokens that a ConfigMap asks for; 0 when it does not, as KAITO reads it.

    Source: KAITO v0.12.0 `pkg/utils/config_parser.go`, ParseExplicitMaxModelLen.
    """
    return max(0, (length_in(config_map) or 0) if config_map else 0)


def read_context(workspace: Object, name: str) -> Generator[Request, Object, int]:
    """The tokens that the Workspace's ConfigMap asks for, as the server has it: nobody watches users' own."""
    found = yield from steps.read_optional(request.get(CONFIG_MAP, key_of(workspace).namespace, name))
    return context_in(found)
