"""Findings about a node's GPUs: whether the pods get whole ones, enough of them, and large enough. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kaitoctl.advice import Command
from kaitoctl.kaito import api, kubectl_hints
from kaitoctl.kaito.catalog import Model
from kaitoctl.kaito.node_check import sharing
from kaitoctl.kaito.node_check.answer import Finding, Gpus, Level, plural
from kaitoctl.kaito.node_check.facts import (
    LABEL_COUNT,
    LABEL_OPERANDS,
    LABEL_PCI,
    LABEL_PRESENT,
    LABEL_PRODUCT,
    LABEL_WORKLOAD,
    LABELS_DRA,
    NodeFacts,
    capability_of,
)
from kaitoctl.kaito.node_check.need import Need
from kaitoctl.kube.objects import whole_number

# A driver reports less than the maker's figure: 23028 MiB of an A10's 24 GiB, 15360 of a T4's 16 (0.94).
_REPORTED_SHARE = 0.93
# How other makers' device plugins call what they offer, by how the name begins.
# Source: the plugins' own documentation (ROCm, intel-device-plugins, habana, AWS Neuron, GKE TPU, Ascend...).
_OTHER_MAKERS: Mapping[str, str] = {
    "amd.com/": "AMD GPUs",
    "gpu.intel.com/": "Intel GPUs",
    "habana.ai/": "Intel Gaudi accelerators",
    "aws.amazon.com/neuron": "AWS Neuron accelerators",
    "google.com/tpu": "Google TPUs",
    "huawei.com/Ascend": "Huawei Ascend accelerators",
    "qualcomm.com/": "Qualcomm accelerators",
    "cambricon.com/": "Cambricon accelerators",
    "mthreads.com/": "Moore Threads GPUs",
    "metax-tech.com/": "MetaX GPUs",
    "iluvatar.ai/": "Iluvatar GPUs",
    "hygon.com/": "Hygon DCUs",
    "enflame.com/": "Enflame accelerators",
    "furiosa.ai/": "FuriosaAI accelerators",
}
# Their monitoring, and what is no device for pods.
_NO_DEVICES = ("gpu.intel.com/i915_monitoring", "gpu.intel.com/xe_monitoring", "gpu.intel.com/memory.max")

# Source: k8s-device-plugin v0.17 internal/lm/mig-strategy.go (strategy single).
_MIG_INVALID = "-MIG-INVALID"


def gpu_findings(need: Need, node: NodeFacts, gpus: Gpus) -> Iterable[Finding]:
    """What the pods would get of the node's GPUs."""
    if (age := _age_finding(need, node)) is not None:
        yield age
    if need.slice:
        yield from _slice_findings(need, node, gpus)
        return
    for where, amounts in (("capacity", node.capacity), ("allocatable", node.allocatable)):
        if whole_number(amounts.get(api.GPU, 0)) is None:
            message = f"status.{where} says {amounts[api.GPU]!r:.60} {api.GPU}: not a number of devices"
            look = Command("kubectl get node", node.name, "-o", f"jsonpath={{.status.{where}}}")
            yield Finding("bad-quantity", "fail", message, "the device plugin reports nonsense", look)
            return
    needed, gets = need.gpus_asked(node, gpus.together)
    if need.pod is not None and not needed:
        return
    changing = changing_finding(node, is_enough=gpus.allocatable >= needed)
    if changing is not None:
        yield changing
    if changing is not None and changing.level == "fail":
        return  # what else is wrong with its GPUs comes of this
    if gpus.allocatable == 0:
        yield why_no_gpu(node, gpus)
        return
    lacking = list(_shortage(need, node, gpus, needed))
    yield from lacking
    yield from _memory_findings(need, node, gpus, min(gets, gpus.together) if gpus.sharing else gets)
    if all(finding.level != "fail" for finding in lacking):
        free = "in use unknown" if gpus.free is None else f"{gpus.free} free"
        yield Finding("gpu-ok", "pass", f"{gpu_words(gpus)} allocatable, {free}")


def _age_finding(need: Need, node: NodeFacts) -> Finding | None:
    """GPUs that the server has no programs for, or that cannot compute in the format it is started with."""
    if not need.named or (has := capability_of(node)) is None or has >= (8, 0):
        return None
    is_own = need.rules.target == "kaitoctl"
    # Ours makes what only today's generation has as KAITO v0.12 does.
    made_as_today = need.today if is_own and need.preset is None else None
    wanted = need.model or need.preset or made_as_today
    if wanted is None or (wanted is need.preset and has >= (7, 0)):
        return None
    from kaitoctl.kaito import gpu_age  # most GPUs are younger

    if need.rules.is_modern and need.model is None:
        return None
    if is_own and need.preset is not None and need.today is not None:
        return None  # a name of both generations: whichever is made, the older server may do
    runtime = need.runtime or ("transformers" if is_own or need.is_tuning else "")
    release = need.rules.target if not is_own else "v0.12" if made_as_today else "v0.4"
    asked = gpu_age.demands(wanted, release, runtime=need.runtime if made_as_today else runtime)
    demand = gpu_age.too_old(asked, has)
    if demand is None:
        return None
    # Our controller may be pinned to an older generation: it does not take a node away for that.
    level: Level = "warn" if made_as_today else "fail"
    if demand.code == gpu_age.UNSUPPORTED:
        hint = "choose a node with newer GPUs"
        return Finding(demand.code, level, demand.words(has), hint, stage="model")
    hint = "choose a node with newer GPUs, or set dtype: float16 in the ConfigMap of inference.config"
    # A ConfigMap may have said so already; nobody knows from here.
    return Finding(
        demand.code, "warn" if need.is_configured else level, demand.words(has), hint, stage="model"
    )


def _slice_findings(need: Need, node: NodeFacts, slices: Gpus) -> Iterable[Finding]:
    """Whether the node offers the MIG slice that the Workspace asks for, and whether the model fits there."""
    have = slices.allocatable
    changing = changing_finding(node, is_enough=have > 0)
    if changing is not None:
        yield changing
    if changing is not None and changing.level == "fail":
        return
    if not have:
        amounts = [key for key, amount in node.allocatable.items() if whole_number(amount)]
        offered = sharing.mig_slices(dict.fromkeys(amounts)) or [key for key in amounts if key == api.GPU]
        there = f"; it offers {', '.join(offered[:3])}" if offered else ""
        hint = (
            f"{sharing.LABEL_MIG_CONFIG} with the strategy mixed cuts GPUs into slices, and stops what uses "
            "them: look first; or choose another node"
        )
        message = f"status.allocatable has no {need.slice}{there}"
        yield Finding("no-gpu", "fail", message, hint, kubectl_hints.pods_on(node.name))
        return
    if slices.free == 0:
        message = f"0 of {have} x {need.slice} free, and each pod asks for one"
        hint = "wait for the pods that hold them, or choose another node"
        yield Finding("gpus-in-use", "fail", message, hint, kubectl_hints.pods_on(node.name))
    gib = slices.memory_gib
    if need.model is not None and gib is not None:
        from kaitoctl.kaito import estimate  # most rules do not reckon with it

        if estimate.estimated_gpus(need.model, estimate.Shape(1, gib)) != 1:
            message = f"one slice has {gib:g} GiB, and {need.model.name} does not fit into it"
            hint = "choose a larger profile in resource.partition"
            yield Finding("gpu-memory-too-small", "fail", message, hint, stage="model")
            return
    if slices.free != 0:
        free = "in use unknown" if slices.free is None else f"{slices.free} free"
        yield Finding("gpu-ok", "pass", f"{have} x {need.slice} allocatable, {free}")


def _shortage(need: Need, node: NodeFacts, gpus: Gpus, needed: int) -> Iterable[Finding]:
    """Too few GPUs, because they are shares or slices, broken, in use, or simply not more."""
    yield from sharing_findings(node, gpus, needed)
    missing = unhealthy_finding(node, gpus, needed)
    if missing is not None:
        yield missing
    if gpus.allocatable < needed:
        if missing is not None and missing.level == "fail":
            return
        have = count_words(gpus.allocatable, "GPU")
        of = f", as many as {need.instance_type} has" if need.shape and needed == need.shape.gpus else ""
        message = f"{have} allocatable, and each pod asks for {needed}{of}"
        hint = "set an --instance-type with as many GPUs as the node has, or choose a larger node"
        yield Finding("too-few-gpus", "fail", message, hint)
    elif gpus.free is not None and gpus.free < needed:
        message = (
            f"{gpus.free} of {count_words(gpus.allocatable, 'GPU')} free, and each pod asks for {needed}"
        )
        hint = "wait for the pods that hold them, or choose another node"
        yield Finding("gpus-in-use", "fail", message, hint, kubectl_hints.pods_on(node.name))


def sharing_findings(node: NodeFacts, gpus: Gpus, needed: int) -> Iterable[Finding]:
    """Devices that are not GPUs of their own."""
    shared = gpus.sharing
    if shared is None or not gpus.allocatable:
        return
    code = "gpus-sliced" if shared.strategy == "mig" else "gpus-shared"
    offered = f"its {count_words(gpus.allocatable, 'device')} {_are(gpus.allocatable)} {shared.words}"
    look = kubectl_hints.labels_of(node.name)
    if needed > shared.together:
        why = {
            "mig": "a process can use one slice",
            "mps": "with MPS the device plugin gives a pod no more than one",
        }.get(shared.strategy, f"a pod can get {count_words(shared.together, 'GPU')} of them")
        message = f"{offered}; {why}, and each pod asks for {needed}"
        yield Finding(code, "fail", message, "choose a node with whole GPUs", look)
        return
    hint = {
        "mig": "the pod gets one slice, not the GPU",
        "mps": "the pod gets its share of the memory, and others slow it down",
    }.get(shared.strategy, "other pods take memory of the same GPU, and the model may not find enough")
    yield Finding(code, "warn", offered, hint, look)


def unhealthy_finding(node: NodeFacts, gpus: Gpus, needed: int) -> Finding | None:
    """Fewer GPUs than the machine has: one has failed, or has fallen off the bus."""
    there, why = expected_gpus(node, gpus)
    lost = there - gpus.allocatable
    if not gpus.allocatable or lost <= 0:
        return None
    level = "fail" if gpus.allocatable < needed <= there else "warn"
    message = f"{gpus.allocatable} of {there} GPUs allocatable{why}: {lost} {_are(lost)} unhealthy or lost"
    if level == "fail":
        message += f", and each pod asks for {needed}"
    hint = "check the device plugin's log on this node and the kernel's Xid errors; then reboot or repair it"
    return Finding(
        "gpu-unhealthy",
        "fail" if level == "fail" else "warn",
        message,
        hint,
        kubectl_hints.pods_on(node.name),
    )


def expected_gpus(node: NodeFacts, gpus: Gpus) -> tuple[int, str]:
    """How many devices the node should offer, and who says so when it is not the node's capacity."""
    if sharing.mig_slices(node.capacity) or (gpus.sharing and gpus.sharing.strategy in ("mig", "unknown")):
        return gpus.capacity, ""  # how many whole GPUs remain is not known
    times = gpus.sharing.replicas if gpus.sharing else 1
    there, why = gpus.capacity, ""
    shape = node.shape
    labelled = (whole_number(node.labels.get(LABEL_COUNT)) or 0) * times
    if labelled > there:
        there, why = labelled, f" ({LABEL_COUNT} says {labelled // times})"
    if shape is not None and shape.gpu_resource == api.GPU and shape.gpus * times > there:
        there, why = shape.gpus * times, f" (a {shape.name} has {shape.gpus})"
    return there, why


def changing_finding(node: NodeFacts, *, is_enough: bool) -> Finding | None:
    """GPUs that are just being cut, or get another driver."""
    code, message = sharing.changing(node.labels)
    if not code:
        return None
    failed = "has failed" in message
    hint = "wait until it is done" if not failed else "check the log of the component that does it"
    if code == "mig-changing":
        hint = f"wait until {sharing.LABEL_MIG_STATE} is success; then look what the node offers"
    elif code == "mig-failed":
        hint = "check the log of nvidia-mig-manager on this node"
    level = "warn" if failed and is_enough else "fail"
    return Finding(
        code, "warn" if level == "warn" else "fail", message, hint, kubectl_hints.pods_on(node.name)
    )


def why_no_gpu(node: NodeFacts, gpus: Gpus) -> Finding:
    """Why pods can have no GPU of the node."""
    plugin = kubectl_hints.pods_on(node.name)
    labels = node.labels
    amounts = [str(key) for key, amount in node.allocatable.items() if whole_number(amount)]
    if slices := sharing.mig_slices(dict.fromkeys(amounts)):
        message = f"it offers only MIG slices: {', '.join(slices[:4])}"
        hint = (
            f"the pods ask for whole {api.GPU}; {sharing.LABEL_MIG_CONFIG}=all-disabled turns MIG off, and "
            "stops what uses the slices: look first"
        )
        return Finding("only-mig-slices", "fail", message, hint, plugin)
    if names := sharing.renamed(dict.fromkeys(amounts)):
        return _renamed_finding(node, names)
    if by := next((key for key in LABELS_DRA if labels.get(key) == "true"), ""):
        message = f"its GPUs are offered by dynamic resource allocation ({by}=true), not as {api.GPU}"
        hint = (
            f"the pods ask for {api.GPU}: run the device plugin there instead of the DRA driver, or choose "
            "another node"
        )
        look = Command("kubectl get resourceslices --field-selector", f"spec.nodeName={node.name}")
        return Finding("gpu-not-allocatable", "fail", message, hint, look)
    if labels.get(sharing.LABEL_PLUGIN) == "false":
        message = f"the device plugin is switched off on this node ({sharing.LABEL_PLUGIN}=false)"
        return Finding("gpu-not-allocatable", "fail", message, "ask why, or choose another node", plugin)
    if gpus.capacity:
        message = f"it has {count_words(gpus.capacity, 'GPU')}, and none is allocatable"
        hint = "the device plugin stopped or holds them for unhealthy; check its pod on this node"
        return Finding("gpu-not-allocatable", "fail", message, hint, plugin)
    if found := _of_other_maker(amounts):
        kind, maker = found
        hint = "choose a node with NVIDIA GPUs"
        message = f"it offers {kind} ({maker}), and the pods ask for {api.GPU}"
        return Finding("other-vendor-gpu", "fail", message, hint)
    if names := sorted(name for name in amounts if "gpu" in name.partition("/")[2].lower()):
        return _renamed_finding(node, names)
    if labels.get(LABEL_PRODUCT, "").endswith(_MIG_INVALID):
        message = "MIG is on and its slices are none, or not all alike: strategy single offers no GPU then"
        hint = "set label nvidia.com/mig.config to a layout of equal slices, or to all-disabled"
        return Finding("gpu-not-allocatable", "fail", message, hint, plugin)
    if (use := labels.get(LABEL_WORKLOAD, "")).startswith("vm-"):
        message = f"GPU operator keeps its GPUs for virtual machines ({LABEL_WORKLOAD}={use})"
        return Finding("gpu-not-allocatable", "fail", message, "choose another node", plugin)
    if labels.get(LABEL_OPERANDS) == "false":
        message = f"GPU operator is switched off on this node ({LABEL_OPERANDS}=false)"
        return Finding("gpu-not-allocatable", "fail", message, "ask why, or choose another node", plugin)
    if any(labels.get(key) for key in (LABEL_PRODUCT, LABEL_COUNT)) or "true" in (
        labels.get(LABEL_PRESENT),
        labels.get(LABEL_PCI),
    ):
        product = labels.get(LABEL_PRODUCT) or "an NVIDIA GPU"
        message = f"its labels say {product}, but neither capacity nor allocatable shows {api.GPU}"
        hint = "the device plugin does not run on this node, or the driver failed; check its pod there"
        return Finding("gpu-not-allocatable", "fail", message, hint, plugin)
    message = f"status.allocatable has no {api.GPU}"
    if shape := node.shape:
        message += f", although a {shape.name} has {count_words(shape.gpus, shape.gpu_model)}"
    hint = "install the GPU vendor's device plugin, or check why it does not run on this node"
    return Finding("no-gpu", "fail", message, hint, plugin)


def _renamed_finding(node: NodeFacts, names: list[str]) -> Finding:
    offers = ", ".join(names[:3])
    look = Command("kubectl get node", node.name, "-o", "jsonpath={.status.allocatable}")
    if any(name.endswith(".shared") for name in names):
        message = f"it offers {offers}: shared GPUs, renamed, and the pods ask for {api.GPU}"
        hint = (
            "renameByDefault: false in the device plugin's sharing configuration brings the name back (the "
            "GPUs stay shared); or choose a node with whole GPUs"
        )
    else:
        message = f"it offers {offers}, and the pods ask for {api.GPU}"
        hint = "its GPUs are shared by another plugin, or kept for virtual machines: choose another node"
    return Finding("gpus-renamed", "fail", message, hint, look)


def _of_other_maker(amounts: Iterable[str]) -> tuple[str, str] | None:
    for kind in sorted(amounts):
        maker = next((words for begin, words in _OTHER_MAKERS.items() if kind.startswith(begin)), "")
        if maker and kind not in _NO_DEVICES:
            return kind, maker
    return None


def _memory_findings(need: Need, node: NodeFacts, gpus: Gpus, gets: int) -> Iterable[Finding]:
    is_read = need.rules.is_byo and need.pod is None  # by KAITO, which has no catalogue of such nodes
    lacking = _unreadable(node) if is_read else []
    if gpus.memory_gib is None or not gpus.product or lacking:
        what = "product and memory of its GPUs are" if not gpus.product else "the memory of its GPUs is"
        unknown = f"{what} unknown: no labels nvidia.com/gpu.product and .memory"
        written = ", ".join(f"{key}={node.labels[key][:40]!r}" for key in lacking if key in node.labels)
        yield Finding(
            "gpu-labels-missing",
            "fail" if is_read else "warn",
            f"KAITO cannot read {', '.join(lacking)}" + (f" ({written})" if written else "")
            if lacking
            else unknown,
            "install GPU feature discovery (part of the GPU operator)",
            stage="model",
        )
    preset, each = need.preset, gpus.memory_gib
    if need.model is not None and each is not None and gets:
        yield from _model_findings(need, need.model, gpus, gets, each)
        return
    if preset is None or each is None:
        return
    nodes = need.required if preset.distributed else 1
    total, per_node = each * gets, preset.total_gpu_memory_gib / nodes
    what = {"mig": "slice", "mps": "share"}.get(gpus.sharing.strategy if gpus.sharing else "", "GPU")
    if each < preset.per_gpu_memory_gib * _REPORTED_SHARE:
        message = (
            f"each {what} has {each:g} GiB, and {preset.name} needs {preset.per_gpu_memory_gib} GiB on each"
        )
    elif total < per_node * _REPORTED_SHARE:
        have = f"{count_words(gets, what)} of {each:g} GiB make {total:g}"
        message = f"{have}, and {preset.name} needs {per_node:g} GiB"
    else:
        return
    yield Finding(
        "gpu-memory-too-small", "fail", message, "choose a node with larger or more GPUs", stage="model"
    )


def _unreadable(node: NodeFacts) -> list[str]:
    from kaitoctl.kaito import own_nodes  # most nodes are not one's own

    return [key for key in own_nodes.LABELS if not own_nodes.is_readable(key, node.labels.get(key))]


def _model_findings(need: Need, model: Model, gpus: Gpus, gets: int, each: float) -> Iterable[Finding]:
    """Whether the model runs on as many such nodes as KAITO takes for it."""
    from kaitoctl.kaito import estimate  # most rules do not reckon with it

    what = {"mig": "slice", "mps": "share"}.get(gpus.sharing.strategy if gpus.sharing else "", "GPU")
    context = need.rules.context or estimate.CONTEXT
    needed = estimate.estimated_nodes(model, estimate.Shape(gets, each / _REPORTED_SHARE), context=context)
    has = f"{count_words(gets, what)} of {each:g} GiB"
    if needed is None:
        message = f"{has}: no room for weights of {model.name} beside its cache of {context:,} tokens"
    elif needed > 1 and not model.distributed:
        message = f"{has}: {model.name} takes {needed * gets} on one node"
    elif needed > need.required and not need.refusal:
        message = f"{has}: {model.name} takes {needed} such nodes, and KAITO would take {need.required}"
    else:
        return
    yield Finding(
        "gpu-memory-too-small", "fail", message, "choose a node with larger or more GPUs", stage="model"
    )


def gpu_words(gpus: Gpus) -> str:
    """`2 x Tesla-V100-PCIE-16GB of 16 GiB`."""
    memory = f" of {gpus.memory_gib:g} GiB" if gpus.memory_gib else ""
    return f"{gpus.allocatable} x {gpus.product or 'GPU'}{memory}"


def count_words(number: int, what: str) -> str:
    """`1 GPU`, `2 GPUs`."""
    return f"{number} {plural(what, number)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
