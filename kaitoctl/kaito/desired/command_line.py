"""The shell lines that start model servers: flags of the catalog, never what users write."""

from __future__ import annotations

from collections.abc import Mapping

from kaitoctl.kaito.catalog import Preset, PresetImage, Runtime
from kaitoctl.kaito.desired.children import first_pod, replicas
from kaitoctl.kaito.image_generations import runtime_of
from kaitoctl.kube.objects import Object


def command_of(workspace: Object, preset: Preset, generation: PresetImage, gpus: int) -> list[str]:
    """The main container's command: a shell line made of catalog text alone.

    What depends on the Workspace's name is the line's argument `$1`, never its text.
    """
    if runtime_of(workspace) == "vllm":
        assert generation.vllm is not None, "refusal() said that there is one"
        parallel = {"tensor-parallel-size": str(gpus)} if generation.tensor_parallel else {}
        runtime = generation.vllm
        return [
            "/bin/sh",
            "-c",
            command_line(runtime._replace(parameters={**runtime.parameters, **parallel})),
        ]
    if not preset.distributed:
        return ["/bin/sh", "-c", command_line(generation.transformers)]
    line = command_line(_rendezvous(generation.transformers, preset, replicas(workspace)))
    return ["/bin/sh", "-c", line, "launch", first_pod(workspace)]


def _rendezvous(runtime: Runtime, preset: Preset, count: int) -> Runtime:
    """The torchrun flags by which `count` pods become one model server.

    Source: KAITO v0.3.2 `pkg/inference/preset-inferences.go`; the first pod is found by name instead of the
    Service's address, which is not known before the Service exists.
    """
    launcher = {**runtime.launcher, "nnodes": str(count), "nproc_per_node": str(preset.world_size // count)}
    if count > 1:
        launcher |= {"node_rank": "${HOSTNAME##*-}", "master_addr": '"$1"', "master_port": "29500"}
    meeting = {
        "max_restarts": "3",
        "rdzv_id": "job",
        "rdzv_backend": "c10d",
        "rdzv_endpoint": '"$1":29500',
    }
    return runtime._replace(launcher=launcher, rendezvous=meeting)


def command_line(runtime: Runtime) -> str:
    """The shell line that launches the model server, flags sorted so that it never changes by itself.

    Guarantee: nothing that a user of Workspaces writes is in it.
    """
    launcher = [runtime.base_command, *flags(runtime.launcher), *flags(runtime.rendezvous)]
    return " ".join([*launcher, runtime.main_file, *flags(runtime.parameters)])


def flags(parameters: Mapping[str, str]) -> list[str]:
    """Parameters as flags, in a fixed order."""
    return [f"--{key}={value}" if value else f"--{key}" for key, value in sorted(parameters.items())]
