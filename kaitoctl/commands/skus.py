"""`kaitoctl skus`: the GPU instance types that KAITO knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import catalog_lookup, invocation, option_values
from kaitoctl.kaito import catalog_file, fit, gpu_age
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog, InstanceType


def list_skus(
    *, cloud: str | None, target_version: str | None, output_format: str, catalog: str | None
) -> None:
    """List GPU instance types with their GPUs and memory."""
    target = catalog_lookup.check(output_format, ("table", "wide", "json", "yaml", "name"), target_version)
    known = catalog_file.read(catalog)
    machines = list(known.instance_types.values())
    if cloud is not None:
        clouds = dict.fromkeys([*catalog_lookup.CLOUDS, *(machine.cloud for machine in machines)])
        option_values.one_of(cloud, list(clouds), option="--cloud")
        machines = [machine for machine in machines if machine.cloud == cloud]
    machines = [machine for machine in machines if catalog_lookup.is_known_to(machine, target, known)]
    machines = invocation.sort_for_output(machines, catalog_file.plain)
    if output_format == "name":
        for machine in machines:
            output.data(machine.name)
    elif option_values.is_structured(output_format):
        rows = {"instance_types": [catalog_file.plain(machine) for machine in machines]}
        output.write_structured(rows, output_format)
    else:
        is_wide = output_format == "wide"
        headers = ["INSTANCE TYPE", "CLOUD", "GPUS", "GPU", "MEMORY", "KAITO", "USABLE"]
        output.table(
            [*headers, "CUDA", "NVME", "NOTE"] if is_wide else headers,
            [_row(machine, known, is_wide) for machine in machines],
            wide=is_wide,
        )


def _is_served(machine: InstanceType) -> bool:
    """Whether an image of any release is built for its GPUs."""
    return (gpu_age.capability(machine.cuda_capability) or gpu_age.OLDEST) >= gpu_age.OLDEST


def _row(machine: InstanceType, known: Catalog, is_wide: bool) -> list[str]:
    row = [
        machine.name,
        machine.cloud,
        str(machine.gpus),
        machine.gpu_model,
        f"{machine.gpu_memory_gib} GiB",
        catalog_lookup.served_types(machine, known),
        "no" if fit.fault_of(machine) or not _is_served(machine) else "yes",
    ]
    if not is_wide:
        return row
    nvme = {True: "yes", False: "no", None: "-"}[machine.nvme]
    return [*row, machine.cuda_capability or "-", nvme, machine.note or "-"]
