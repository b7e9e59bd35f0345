"""The stages of `stages.yaml`, with the GPUs that each instance type of the catalog has."""

from __future__ import annotations

from pathlib import Path

import yaml

from kaitoctl.kaito.catalog import instance_types
from kaitoctl.kube.objects import Object


def stages() -> list[Object]:
    """KWOK's Stage documents."""
    text = Path(__file__).with_name("stages.yaml").read_text()
    table = " ".join(
        f'"{item.name}" {item.gpus}'
        for item in instance_types().values()
        if item.gpu_resource == "nvidia.com/gpu"
    )
    return list(yaml.safe_load_all(text.replace("GPUS_BY_INSTANCE_TYPE", f"dict {table}")))
