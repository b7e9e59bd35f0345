"""`kaitoctl skus`: the GPU instance types that KAITO knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from kaitoctl.cli import catalog_options, options, output
from kaitoctl.cli.catalog_options import CatalogFile, Cloud, Output, TargetVersion

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import InstanceType

app = typer.Typer(
    help="The GPU instance types that KAITO knows.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _skus_group() -> None:
    """The GPU instance types that KAITO knows."""


@app.command("list")
def list_skus(
    cloud: Cloud = None,
    target_version: TargetVersion = None,
    output_format: Output = "table",
    catalog: CatalogFile = None,
) -> None:
    """List GPU instance types with their GPUs and memory.

    USABLE says no where the presets cannot run: no NVIDIA GPU, not amd64, or no such type at the cloud.

    Example: kaitoctl skus list --cloud azure --target-version v0.12
    """
    from kaitoctl.kaito import catalog_file
    from kaitoctl.kaito.catalog import TARGETS

    catalog_options.check(output_format, ("table", "wide", "json", "yaml", "name"), target_version)
    machines = list(catalog_file.read(catalog).instance_types.values())
    if cloud is not None:
        clouds = dict.fromkeys([*catalog_options.CLOUDS, *(machine.cloud for machine in machines)])
        options.one_of(cloud, list(clouds), option="--cloud")
        machines = [machine for machine in machines if machine.cloud == cloud]
    if target_version is not None:
        machines = [machine for machine in machines if TARGETS[target_version] in machine.versions]
    if output_format == "name":
        for machine in machines:
            output.data(machine.name)
    elif output_format in ("json", "yaml"):
        rows = {"instance_types": [catalog_file.plain(machine) for machine in machines]}
        catalog_options.structured(rows, output_format)
    else:
        is_wide = output_format == "wide"
        headers = ["INSTANCE TYPE", "CLOUD", "GPUS", "GPU", "MEMORY", "KAITO", "USABLE"]
        output.table(
            [*headers, "CUDA", "NVME", "NOTE"] if is_wide else headers,
            [_row(machine, is_wide) for machine in machines],
        )


def _row(machine: InstanceType, is_wide: bool) -> list[str]:
    from kaitoctl.kaito import fit

    row = [
        machine.name,
        machine.cloud,
        str(machine.gpus),
        machine.gpu_model,
        f"{machine.gpu_memory_gib} GiB",
        ",".join(machine.versions),
        "no" if fit.fault_of(machine) else "yes",
    ]
    if not is_wide:
        return row
    nvme = {True: "yes", False: "no", None: "-"}[machine.nvme]
    return [*row, machine.cuda_capability or "-", nvme, machine.note or "-"]
