"""`kaitoctl models`: KAITO's presets, up to v0.6, and its models since, with their figures."""

from __future__ import annotations

from kaitoctl.commands import catalog_lookup, invocation, option_values
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.catalog import Catalog, Model, Preset
from kaitoctl.screens import output
from kaitoctl.screens.layout import Paragraph


def list_models(*, target_version: str | None, output_format: str, catalog: str | None) -> None:
    """List presets (KAITO up to v0.6) and models (since v0.7)."""
    target = catalog_lookup.check(output_format, ("table", "wide", "json", "yaml", "name"), target_version)
    known = catalog_file.read(catalog)
    presets, models = catalog_lookup.items_of(known, target)
    presets = invocation.sort_for_output(presets, catalog_file.plain)
    models = invocation.sort_for_output(models, catalog_file.plain)
    if output_format == "name":
        for name in dict.fromkeys([*(item.name for item in presets), *(item.preset_name for item in models)]):
            output.data(name)
    elif option_values.is_structured(output_format):
        _print_structured(presets, models, output_format)
    else:
        headers = ["NAME", "KAITO", "NEEDS", "DISK", "NODES", "TUNING", "LICENSE", "NOTE"]
        is_wide = output_format == "wide"
        columns = len(headers) if is_wide else 6
        items: list[Preset | Model] = [*presets, *models]
        rows = [_row(item, known) for item in items]
        output.table(headers[:columns], [row[:columns] for row in rows], wide=is_wide)


def describe_model(*, name: str, target_version: str | None, output_format: str, catalog: str | None) -> None:
    """Show all figures of a preset or model, and their source."""
    target = catalog_lookup.check(output_format, ("table", "json", "yaml"), target_version)
    known = catalog_file.read(catalog)
    found = catalog_lookup.look_up(known, name, target)
    presets = [item for item in found if isinstance(item, Preset)]
    models = [item for item in found if isinstance(item, Model)]
    if output_format != "table":
        _print_structured(presets, models, output_format)
        return
    for position, item in enumerate(found):
        if position:
            output.data("")
        facts = _preset_facts(item, known) if isinstance(item, Preset) else _model_facts(item, known)
        width = max(map(len, facts)) + 2
        output.show(
            [
                Paragraph(fact, lead=f"{title + ':':<{width}} ", hang=width + 1)
                for title, fact in facts.items()
                if fact
            ]
        )


def _print_structured(presets: list[Preset], models: list[Model], output_format: str) -> None:
    rows = {}
    if presets:
        rows["presets"] = [catalog_file.plain(item) for item in presets]
    if models:
        rows["models"] = [catalog_file.plain(item) for item in models]
    output.write_structured(rows, output_format)


def _row(item: Preset | Model, known: Catalog) -> list[str]:
    kaito, tuning = catalog_lookup.served(item, known), "yes" if item.tuning else "-"
    if isinstance(item, Model):
        needs, nodes = f"weights {item.weights_gib:g} GiB", "any" if item.distributed else "1"
        name, terms = item.preset_name, item.license or "-"
    else:
        needs = "a CPU" if item.local_model else f"{_gpus(item.gpu_count)}, {item.total_gpu_memory_gib} GiB"
        name, nodes, terms = item.name, f"1-{item.world_size}" if item.distributed else "1", "-"
    return [name, kaito, needs, item.disk, nodes, tuning, terms, item.note or "-"]


def _gpus(number: int) -> str:
    return "1 GPU" if number == 1 else f"{number} GPUs"


def _preset_facts(preset: Preset, known: Catalog) -> dict[str, str]:
    per_gpu = f", {preset.per_gpu_memory_gib} GiB each" if preset.per_gpu_memory_gib else ""
    runtimes = {
        name: " and ".join(["transformers", *(["vllm"] if image.vllm else ())])
        for name, image in preset.images.items()
    }
    return {
        "Preset": preset.name,
        "KAITO": catalog_lookup.served(preset, known),
        "Family": preset.family,
        "Image": preset.image() or f"{preset.access_mode}: yours to bring (--private-image)",
        "Runtimes": "; ".join(f"{name}: {runtime}" for name, runtime in runtimes.items()),
        "Needs": f"this machine's CPU (kaitoctl runtime models pull {preset.local_model})"
        if preset.local_model
        else f"{_gpus(preset.gpu_count)}{per_gpu}, {preset.total_gpu_memory_gib} GiB of GPU memory",
        "Disk": preset.disk,
        "Nodes": f"1 to {preset.world_size}, which share {preset.world_size} processes"
        if preset.distributed
        else "1",
        "Tuning": "yes" if preset.tuning else "no",
        "Ready within": f"{preset.readiness_timeout_s // 60} min",
        "Note": preset.note,
        "Source": preset.source,
    }


def _model_facts(model: Model, known: Catalog) -> dict[str, str]:
    flags = " ".join(f"--{key}={value}" if value else f"--{key}" for key, value in model.vllm.items())
    runtimes = ["vllm", *(["transformers"] if model.transformers is not None else ())]
    return {
        "Model": model.id,
        "KAITO": catalog_lookup.served(model, known),
        "Aliases": ", ".join(model.aliases),
        "License": model.license,
        "Gated": "yes: --set model_access_secret=NAME, a Secret with HF_TOKEN" if model.gated else "no",
        "Task": model.task,
        "Architecture": ", ".join(model.architectures),
        "Weights": f"{model.weights_gib:g} GiB" + (f", {model.quantization}" if model.quantization else ""),
        "Cache": f"{model.bytes_per_token} bytes per token ({model.attention or 'attention unknown'})",
        "Context": f"up to {model.context_limit} tokens",
        "Disk": model.disk,
        "Nodes": "as many as it takes" if model.distributed else "1",
        "Runtimes": " and ".join(runtimes),
        "vLLM flags": flags,
        "Tool calls": model.tool_call_parser,
        "Reasoning": model.reasoning_parser,
        "Tuning": f"yes, with a disk of {model.tuning_disk}" if model.tuning else "no",
        "Ready within": f"{model.readiness_timeout_s // 60} min",
        "Note": model.note,
        "Source": model.source,
    }
