"""What simulated containers log: that nothing really ran, and how far they are. Pure."""

from __future__ import annotations

from kaitoctl.kube.objects import Object, by_name, dig
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads.container_life import answers_after_s, fault_of, fault_of_image, fetched

_SHARDS = 16
_LAST_WORDS = {
    "crash": "Error: the process ended with exit code 1 (a fault that was asked for)",
    "empty-data": "Error: no files found in the data source; nothing to copy",
    "cuda-oom": "Loading checkpoint shards:  50% ...\n"
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
    "15.77 GiB of which 1.21 GiB is free.",
    "oom": "Loading checkpoint shards:  50% ...",
    "probe-never": "Waiting for the model to load ...",
    "incompatible": "RuntimeError: Error(s) in loading state_dict: size mismatch for layers.0.weight",
}

_REGISTRY_SAYS = {
    "fetch-error": "reading manifest {tag} in {name}: manifest unknown",
    "fetch-unauthorized": "reading manifest {tag} in {name}: unauthorized: authentication required",
}


def log_of(pod: Object, container: str, clock: Clock) -> str:
    """What `kubectl logs` shows of a container now."""
    for field, statuses, init in (
        ("initContainers", "initContainerStatuses", True),
        ("containers", "containerStatuses", False),
    ):
        spec = by_name(dig(pod, "spec", field)).get(container)
        if spec is None:
            continue
        status = by_name(dig(pod, "status", statuses)).get(container) or {}
        if not status.get("containerID"):
            return ""
        lines = [f"[simulated by the kaitoctl sandbox: no process of {spec.get('image')} ran]"]
        fault = fault_of(pod, spec, init=init)
        if words := _LAST_WORDS.get(fault):
            lines.append(words)
        elif says := _REGISTRY_SAYS.get(fault):
            lines += [_not_fetched(next(filter(fault_of_image, fetched(spec))), says)]
        elif dig(status, "state", "terminated") is not None:
            lines.append("Done.")
        elif init:
            lines.append("Starting ...")
        else:
            lines += _serving(spec, status, answers_after_s(spec, fault), clock)
        return "\n".join(lines) + "\n"
    return ""


def _not_fetched(image: str, says: str) -> str:
    """As skopeo says it. Source: containers/image 5 docker."""
    name, tag = image, "latest"
    for mark in ("@", ":"):
        head, found, rest = image.rpartition(mark)
        if found and "/" not in rest:
            name, tag = head, rest
            break
    return f'level=fatal msg="initializing source docker://{image}: {says.format(tag=tag, name=name)}"'


def _serving(spec: Object, status: Object, load_s: float, clock: Clock) -> list[str]:
    """A server: the shards that it has loaded by now, or where it serves."""
    began = dig(status, "state", "running", "startedAt")
    runs_s = clock.since_s(began) if began else 0.0
    if status.get("ready") or runs_s >= load_s:
        ports = [port.get("containerPort") for port in spec.get("ports") or ()]
        return [f"Serving on port {ports[0]}." if ports else "Running."]
    # As their servers do by tqdm: one line, written over.
    is_vllm = "vllm" in " ".join(map(str, spec.get("command") or ()))
    bar = _vllm_bar if is_vllm else _transformers_bar
    return ["\r".join(bar(done, load_s / _SHARDS) for done in range(int(_SHARDS * runs_s / load_s) + 1))]


def _vllm_bar(done: int, each_s: float) -> str:
    share, spent, left = _figures(done, each_s)
    return (
        f"Loading safetensors checkpoint shards: {share:3d}% Completed | {done}/{_SHARDS} "
        f"[{spent}<{left}, {each_s:5.2f}s/it]"
    )


def _transformers_bar(done: int, each_s: float) -> str:
    share, spent, left = _figures(done, each_s)
    drawn = ("█" * (10 * done // _SHARDS)).ljust(10)
    figures = f"[{spent}<{left}, {each_s:5.2f}s/it]"
    return f"Loading checkpoint shards: {share:3d}%|{drawn}| {done}/{_SHARDS} {figures}"


def _figures(done: int, each_s: float) -> tuple[int, str, str]:
    spent_s, left_s = int(done * each_s), int((_SHARDS - done) * each_s)
    return (
        100 * done // _SHARDS,
        f"{spent_s // 60:02}:{spent_s % 60:02}",
        f"{left_s // 60:02}:{left_s % 60:02}",
    )
