"""The catalog's tables in CEL, as variables that the rules look at."""

from __future__ import annotations

import json

from kaitoctl.kaito.api import GPU
from kaitoctl.kaito.catalog import Catalog, InstanceType
from kaitoctl.kaito.validation.problem import OWN, Setting
from kaitoctl.kaito.validation.subject import Subject


def variables(known: Catalog) -> dict[str, str]:
    """What several rules look at; each is evaluated once, when a rule asks for it."""
    presets = {
        name: [
            float(number)
            for number in (
                preset.gpu_count,
                preset.total_gpu_memory_gib,
                preset.per_gpu_memory_gib,
                preset.distributed,
                preset.world_size,
            )
        ]
        for name, preset in known.presets.items()
        if not as_model(name, known)
    }
    machines = {
        name: [float(machine.gpus), float(machine.gpu_memory_gib), float(machine.gpu_memory_per_gpu_gib)]
        for name, machine in known.instance_types.items()
        if trouble(machine) == ""
    }
    models = sorted({name.lower() for name in known.model_names() if as_model(name, known)})
    return {
        "resource": "object.?resource.orValue({})",
        "inference": "object.?inference.orValue({})",
        "tuning": "object.?tuning.orValue({})",
        "count": "has(object.resource) && has(object.resource.count) && object.resource.count > 1 ? "
        "object.resource.count : 1",
        "labels": "object.?resource.labelSelector.matchLabels.orValue({})",
        "expressions": "object.?resource.labelSelector.matchExpressions.orValue([])",
        "adapters": "object.?inference.adapters.orValue([])",
        "sources": "variables.adapters.filter(item, has(item.source)).map(item, item.source)",
        "adapterNames": "variables.sources.filter(item, has(item.name)).map(item, item.name)",
        "preset": "object.?inference.preset.name.orValue('')",
        "tuned": "object.?tuning.preset.name.orValue('')",
        "used": "variables.preset != '' ? variables.preset : variables.tuned",
        "models": json.dumps(models),
        "presets": json.dumps(presets),
        # Of Hugging Face: the controller's catalog has its figures, or the controller refuses it.
        "isId": "variables.preset.matches('^[^/]+/[^/]+$')",
        "isModel": "variables.isId || (variables.used.lowerAscii() in variables.models && "
        "!(variables.used in variables.presets))",
        "machines": json.dumps(machines),
        "type": "object.?resource.instanceType.orValue('')",
        "isSized": "variables.preset in variables.presets && variables.type in variables.machines",
        "machine": "variables.machines[variables.type]",
        "needs": "variables.presets[variables.preset]",
        "nodes": "variables.needs[3] == 1.0 ? variables.count : 1",
        "isUpdate": "request.operation == 'UPDATE'",
    }


def as_model(name: str, known: Catalog) -> bool:
    """Whether kaitoctl's controller makes a preset or model of this name as KAITO v0.12 does."""
    workspace = {"inference": {"preset": {"name": name}}}
    return Subject(workspace, Setting(OWN, catalog=known)).is_made_as_model


def trouble(machine: InstanceType) -> str:
    """The code of what makes an instance type useless; empty for one that can be used."""
    if not machine.exists:
        return "KW132"
    if machine.gpu_resource != GPU:
        return "KW131"
    return "" if machine.arch == "amd64" else "KW133"
