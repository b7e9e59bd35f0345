"""Every fact about what KAITO refuses, crashes on or ignores, one row each, judged for each KAITO version.

A row's verdict has one letter per version, v0.3 v0.4 v0.12: `e` an error, `w` a warning, `-` nothing. The
facts are those of KAITO v0.3.2, v0.4.0 and v0.12: its webhook, its controllers, its CRD.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

from kaitoctl.kaito import validation
from kaitoctl.kaito.validation import OWN, Setting
from kaitoctl.kaito.validation.codes import CODES
from kaitoctl.kube.objects import ObjectKey

REMOVE = object()
TARGETS = ("v0.3", "v0.4", "v0.12")

ALPHA: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "w", "annotations": {"kaito.sh/runtime": "transformers"}},
    "resource": {"instanceType": "Standard_NC24ads_A100_v4", "labelSelector": {"matchLabels": {"a": "b"}}},
    "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
}
BETA: dict[str, Any] = {**copy.deepcopy(ALPHA), "apiVersion": "kaito.sh/v1beta1", "metadata": {"name": "w"}}
TUNING: dict[str, Any] = {
    "preset": {"name": "phi-3-mini-4k-instruct"},
    "method": "qlora",
    "input": {"urls": ["https://example.com/data"]},
    "output": {"image": "r.io/out:1", "imagePushSecret": "push"},
}
TUNE: dict[str, Any] = {"inference": REMOVE, "tuning": TUNING}
TEMPLATE: dict[str, Any] = {
    "inference": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}
}
LLAMA: dict[str, Any] = {
    "inference.preset": {
        "name": "llama-2-13b",
        "accessMode": "private",
        "presetOptions": {"image": "r.io/llama:1"},
    }
}
LABELS, EXPRESSIONS = "resource.labelSelector.matchLabels", "resource.labelSelector.matchExpressions"
TYPE, ADAPTERS, FIRST = "resource.instanceType", "inference.adapters", "inference.adapters[0]"


STREAMING_GATES: list[tuple[str, str, dict[str, Any]]] = [
    ("model-streaming cannot change", "--e", {"gates": frozenset({"ModelStreaming"})}),
    ("unless its gate is off", "---", {"gates": frozenset()}),
    ("of which one may not know", "--w", {}),
]


def adapter(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"source": {"name": "x", "image": "r.io/x:1"}, "strength": "0.5"}
    return changed(made, {key.replace("__", "."): value for key, value in changes.items()})


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with values at dotted paths; a path in brackets is one key, whatever its dots."""
    made = copy.deepcopy(base)
    for path, value in changes.items():
        head, bracket, key = path.partition("[")
        *parents, last = [*head.split("."), key[:-1]] if bracket else head.split(".")
        target = made
        for step in parents:
            target = target.setdefault(step, {})
        if value is REMOVE:
            target.pop(last, None)
        else:
            target[last] = copy.deepcopy(value)
    return made


@dataclass(frozen=True)
class Fact:
    """What is true of KAITO, a change that shows it, and what must be said of it where."""

    name: str
    changes: dict[str, Any]
    verdict: str
    code: str
    path: str
    setting: dict[str, Any] = field(default_factory=dict)
    old: dict[str, Any] | None = None
    alpha_only: bool = False


def annotated(key: str, value: str) -> dict[str, Any]:
    return {f"metadata.annotations[{key}]": value}


def note(key: str) -> str:
    return f"metadata.annotations[{key}]"


def maps(text: str | None, name: str = "c") -> dict[str, Any]:
    data = {} if text is None else {"data": {"training_config.yaml": text}}
    return {"config_maps": {ObjectKey("default", name): {"kind": "ConfigMap", **data}}}


def tuned(text: str, method: str = "qlora") -> tuple[dict[str, Any], dict[str, Any]]:
    changes = {**TUNE, "tuning": {**TUNING, "method": method, "config": "c"}}
    return changes, maps(f"training_config:\n  {text}\n")


def served(length: object) -> dict[str, Any]:
    data = {"inference_config.yaml": f"vllm:\n  max-model-len: {length}\n"}
    return {"config_maps": {ObjectKey("default", "c"): {"kind": "ConfigMap", "data": data}}}


def gpu_node(name: str, *, product: str = "A100", count: str = "1", memory: str = "81920") -> dict[str, Any]:
    figures = {"product": product, "count": count, "memory": memory}
    labels = {"a": "b", **{f"nvidia.com/gpu.{key}": value for key, value in figures.items() if value}}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}}


def own(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"byo": True, "nodes": nodes}


BIG = {"inference.preset.name": "meta-llama/Llama-3.3-70B-Instruct", "metadata.annotations": {}}
BIG_SLOWLY = {**BIG, **annotated("kaito.sh/runtime", "transformers")}
OF_ONES_OWN = {**BIG, TYPE: REMOVE}
PARTITION, GATES = "resource.partition", {"gates": frozenset({"enableMIG", "enableAccelerator"})}
MIG = {TYPE: REMOVE, PARTITION: {"mode": "mig", "profile": "1g.20gb"}}
SHARES = {TYPE: REMOVE, PARTITION: {"mode": "accelerator", "count": 1}}
STREAMING = "kaito.sh/model-streaming"
IN_ONE = {EXPRESSIONS: [{"key": "a", "operator": "In", "values": ["b"]}]}

CREATE = [
    # 13.1: what the webhook asks on create
    Fact("neither inference nor tuning", {"inference": REMOVE}, "eee", "KW140", "inference"),
    Fact("both inference and tuning", {"tuning": TUNING}, "eee", "KW140", "tuning"),
    Fact("too few GPUs", {"inference.preset.name": "falcon-40b"}, "ee-", "KW134", TYPE),
    Fact("too little memory per GPU", {**LLAMA, TYPE: "Standard_NV12"}, "ee-", "KW135", TYPE),
    Fact("too little memory in total", {"inference.preset.name": "falcon-40b"}, "ee-", "KW136", TYPE),
    Fact(
        "count does not help a preset of one node",
        {"inference.preset.name": "falcon-40b", "resource.count": 4},
        "ee-",
        "KW136",
        TYPE,
    ),
    Fact(
        "count helps a distributed preset",
        {**LLAMA, TYPE: "Standard_NC6s_v3", "resource.count": 2},
        "---",
        "KW136",
        TYPE,
    ),
    Fact(
        "an unknown type with Azure's prefix is admitted, and on v0.12 of no use",
        {TYPE: "Standard_NX1"},
        "wwe",
        "KW130",
        TYPE,
    ),
    Fact("an unknown type without Azure's prefix", {TYPE: "my-machine"}, "eee", "KW130", TYPE),
    Fact("Azure's prefix counts with case", {TYPE: "standard_nx1"}, "eee", "KW130", TYPE),
    Fact("v0.12 looks types up without case", {TYPE: "standard_nc24ads_a100_v4"}, "ee-", "KW130", TYPE),
    Fact("AWS types are refused by v0.3", {TYPE: "p4d.24xlarge"}, "e--", "KW130", TYPE),
    Fact("AWS types are refused on azure", {TYPE: "p4d.24xlarge"}, "eee", "KW130", TYPE, {"cloud": "azure"}),
    Fact("AWS types are known on aws", {TYPE: "p4d.24xlarge"}, "e--", "KW130", TYPE, {"cloud": "aws"}),
    Fact("Azure's prefix is no help on aws", {TYPE: "Standard_NX1"}, "wee", "KW130", TYPE, {"cloud": "aws"}),
    Fact("v0.12 dropped GPUs older than CUDA 8.0", {TYPE: "Standard_NC12s_v3"}, "--e", "KW130", TYPE),
    Fact(
        "a selector that is no map",
        {EXPRESSIONS: [{"key": "a", "operator": "Exists"}]},
        "eee",
        "KW128",
        f"{EXPRESSIONS}[0]",
    ),
    Fact(
        "In with two values is no map",
        {EXPRESSIONS: [{"key": "a", "operator": "In", "values": ["b", "c"]}]},
        "eee",
        "KW128",
        f"{EXPRESSIONS}[0]",
    ),
    Fact("In with one value is one", IN_ONE, "---", "KW128", f"{EXPRESSIONS}[0]"),
    Fact("tuning on several nodes", {**TUNE, "resource.count": 2}, "eee", "KW170", "resource.count"),
    Fact("no preset and no template", {"inference": {}}, "eee", "KW141", "inference.preset"),
    Fact("preset and template", {"inference.template": {"spec": {}}}, "eee", "KW141", "inference.template"),
    Fact(
        "a private-only preset used as public",
        {"inference.preset.name": "llama-2-7b"},
        "ee-",
        "KW143",
        "inference.preset.accessMode",
    ),
    Fact(
        "private without image",
        {"inference.preset.accessMode": "private"},
        "ee-",
        "KW144",
        "inference.preset.presetOptions.image",
    ),
    Fact(
        "more than ten adapters",
        {ADAPTERS: [adapter(source__name=f"a{n}") for n in range(11)]},
        "eee",
        "KW150",
        ADAPTERS,
    ),
    Fact(
        "adapter names repeat",
        {ADAPTERS: [adapter(), adapter()]},
        "eee",
        "KW153",
        f"{ADAPTERS}[1].source.name",
    ),
    Fact(
        "a method that is none",
        {**TUNE, "tuning": {**TUNING, "method": "full"}},
        "eee",
        "KW172",
        "tuning.method",
    ),
    Fact(
        "a method in other case passes and then fails",
        {**TUNE, "tuning": {**TUNING, "method": "QLoRA"}},
        "eee",
        "KW172",
        "tuning.method",
    ),
    Fact(
        "no tuning input", {**TUNE, "tuning": changed(TUNING, {"input": {}})}, "eee", "KW173", "tuning.input"
    ),
    Fact(
        "no tuning output",
        {**TUNE, "tuning": changed(TUNING, {"output": {}})},
        "eee",
        "KW174",
        "tuning.output.image",
    ),
    Fact(
        "no tuning preset",
        {**TUNE, "tuning": changed(TUNING, {"preset": REMOVE})},
        "eee",
        "KW171",
        "tuning.preset",
    ),
    Fact(
        "an unknown tuning preset",
        {**TUNE, "tuning": changed(TUNING, {"preset.name": "phi-9"})},
        "eee",
        "KW142",
        "tuning.preset.name",
    ),
    Fact(
        "a preset that cannot be tuned",
        {**TUNE, "tuning": changed(TUNING, {"preset.name": "mistral-7b-instruct"})},
        "eee",
        "KW171",
        "tuning.preset.name",
    ),
    Fact(
        "two sources of input",
        {**TUNE, "tuning": changed(TUNING, {"input.image": "r.io/d:1"})},
        "eee",
        "KW173",
        "tuning.input",
    ),
    Fact(
        "input from a volume",
        {**TUNE, "tuning": changed(TUNING, {"input": {"volumeSource": {"emptyDir": {}}}})},
        "ee-",
        "KW173",
        "tuning.input",
    ),
    Fact(
        "output to a volume",
        {**TUNE, "tuning": changed(TUNING, {"output": {"volumeSource": {"emptyDir": {}}}})},
        "ee-",
        "KW174",
        "tuning.output.volumeSource",
    ),
    Fact(
        "an input image without tag",
        {**TUNE, "tuning": changed(TUNING, {"input": {"image": "r.io/d"}})},
        "ee-",
        "KW155",
        "tuning.input.image",
    ),
    Fact(
        "an output image without path",
        {**TUNE, "tuning": changed(TUNING, {"output.image": "out:1"})},
        "ee-",
        "KW155",
        "tuning.output.image",
    ),
    Fact(
        "upper case in an output image",
        {**TUNE, "tuning": changed(TUNING, {"output.image": "r.io/Out:1"})},
        "eee",
        "KW145",
        "tuning.output.image",
    ),
    Fact(
        "shell in an output image",
        {**TUNE, "tuning": changed(TUNING, {"output.image": "r.io/x$(touch a):1"})},
        "eee",
        "KW145",
        "tuning.output.image",
    ),
    Fact(
        "no push secret",
        {**TUNE, "tuning": changed(TUNING, {"output.imagePushSecret": REMOVE})},
        "eee",
        "KW174",
        "tuning.output.imagePushSecret",
    ),
    Fact(
        "an unknown inference preset crashes the webhook up to v0.4",
        {"inference.preset.name": "phi-9"},
        "eee",
        "KW142",
        "inference.preset.name",
    ),
    Fact(
        "an adapter without source crashes the webhook",
        {ADAPTERS: [{"strength": "1"}]},
        "eee",
        "KW151",
        f"{FIRST}.source",
    ),
    Fact(
        "an adapter without image",
        {ADAPTERS: [adapter(source__image=REMOVE)]},
        "eee",
        "KW151",
        f"{FIRST}.source.image",
    ),
    Fact(
        "an adapter from URLs",
        {ADAPTERS: [adapter(source__urls=["https://x"])]},
        "eee",
        "KW151",
        f"{FIRST}.source.urls",
    ),
    Fact(
        "an adapter from a volume",
        {ADAPTERS: [adapter(source={"name": "x", "volumeSource": {"nfs": {}}})]},
        "ee-",
        "KW151",
        f"{FIRST}.source.volumeSource",
    ),
    Fact(
        "an adapter without name",
        {ADAPTERS: [adapter(source__name=REMOVE)]},
        "eee",
        "KW152",
        f"{FIRST}.source.name",
    ),
    Fact(
        "an adapter's name in upper case names no container",
        {ADAPTERS: [adapter(source__name="X")]},
        "eee",
        "KW152",
        f"{FIRST}.source.name",
    ),
    Fact(
        "v0.12 puts puller- before an adapter's name",
        {ADAPTERS: [adapter(source__name="a" * 57)]},
        "--e",
        "KW152",
        f"{FIRST}.source.name",
    ),
    Fact(
        "an adapter called like the Workspace",
        {ADAPTERS: [adapter(source__name="w")]},
        "ee-",
        "KW154",
        f"{FIRST}.source.name",
    ),
    Fact(
        "an adapter image without tag",
        {ADAPTERS: [adapter(source__image="r.io/x")]},
        "ee-",
        "KW155",
        f"{FIRST}.source.image",
    ),
    Fact(
        "a strength that is no number",
        {ADAPTERS: [adapter(strength="much")]},
        "eee",
        "KW156",
        f"{FIRST}.strength",
    ),
    Fact("a strength above 1", {ADAPTERS: [adapter(strength="1.5")]}, "eee", "KW156", f"{FIRST}.strength"),
    Fact(
        "a strength that is NaN", {ADAPTERS: [adapter(strength="NaN")]}, "eee", "KW156", f"{FIRST}.strength"
    ),
    Fact(
        "no strength crashes the controller up to v0.4",
        {ADAPTERS: [adapter(strength=REMOVE)]},
        "ee-",
        "KW157",
        f"{FIRST}.strength",
    ),
    # 13: decoding is strict, and the CRD has defaults
    Fact(
        "an unknown key in a template",
        {"inference": {"template": {"spec": {"contaners": []}}}},
        "eee",
        "KW105",
        "inference.template.spec.contaners",
    ),
    Fact(
        "an unknown key in a volume",
        {ADAPTERS: [adapter(source={"name": "x", "volumeSource": {"emptydir": {}}})]},
        "eee",
        "KW105",
        f"{FIRST}.source.volumeSource.emptydir",
    ),
    Fact("a field that does not exist", {"resource.nodes": 1}, "eee", "KW102", "resource.nodes"),
    Fact(
        "volume instead of volumeSource",
        {ADAPTERS: [adapter(source__volume={})]},
        "eee",
        "KW102",
        f"{FIRST}.source.volume",
    ),
    Fact("v1alpha1 has a default instance type", {TYPE: REMOVE}, "www", "KW138", TYPE),
    Fact("no nodes at all", {"resource.count": 0}, "eew", "KW123", "resource.count"),
    # 15: what v0.4 changed
    Fact("a name that is no DNS label", {"metadata.name": "a.b"}, "eee", "KW110", "metadata.name"),
    Fact(
        "a name that starts with a digit names a Service only where Kubernetes is new",
        {"metadata.name": "7b"},
        "www",
        "KW110",
        "metadata.name",
    ),
    Fact(
        "no room for -headless, distributed",
        {**LLAMA, "metadata.name": "a" * 55},
        "eee",
        "KW111",
        "metadata.name",
    ),
    Fact(
        "no room for -headless, always on v0.12", {"metadata.name": "a" * 55}, "--e", "KW111", "metadata.name"
    ),
    Fact("a Service that sets VLLM_PORT", {"metadata.name": "vllm"}, "--e", "KW203", "metadata.name"),
    Fact(
        "no vLLM reads what such a Service sets",
        {**annotated("kaito.sh/runtime", "transformers"), "metadata.name": "vllm"},
        "---",
        "KW203",
        "metadata.name",
    ),
    Fact(
        "the runtime is chosen by annotation from v0.4 on",
        annotated("kaito.sh/runtime", "vllm"),
        "w--",
        "KW116",
        note("kaito.sh/runtime"),
    ),
    Fact(
        "another runtime means the default",
        annotated("kaito.sh/runtime", "tgi"),
        "-ww",
        "KW114",
        note("kaito.sh/runtime"),
    ),
    Fact(
        "distributed llama does not run on vLLM",
        {**LLAMA, **annotated("kaito.sh/runtime", "vllm")},
        "-e-",
        "KW147",
        note("kaito.sh/runtime"),
    ),
    Fact(
        "and vLLM is v0.4's default",
        {**LLAMA, "metadata.annotations": {}},
        "-w-",
        "KW147",
        "inference.preset.name",
    ),
    Fact(
        "phi-3.5 came with v0.4",
        {"inference.preset.name": "phi-3.5-mini-instruct"},
        "e--",
        "KW142",
        "inference.preset.name",
    ),
    Fact(
        "v0.4's default vLLM ignores adapters",
        {ADAPTERS: [adapter()], "metadata.annotations": {}},
        "-w-",
        "KW160",
        ADAPTERS,
    ),
    Fact(
        "v0.4's vLLM ignores adapters",
        {ADAPTERS: [adapter()], **annotated("kaito.sh/runtime", "vllm")},
        "-w-",
        "KW158",
        ADAPTERS,
    ),
    # 16: what v0.12 changed
    Fact("phi-2 is gone", {"inference.preset.name": "phi-2"}, "--e", "KW142", "inference.preset.name"),
    Fact(
        "the falcons are gone",
        {"inference.preset.name": "falcon-7b"},
        "--e",
        "KW142",
        "inference.preset.name",
    ),
    Fact(
        "any Hugging Face id will do",
        {"inference.preset.name": "someone/something"},
        "eew",
        "KW142",
        "inference.preset.name",
    ),
    Fact(
        "short names come without case",
        {"inference.preset.name": "PHI-4"},
        "ee-",
        "KW142",
        "inference.preset.name",
    ),
    Fact(
        "v1alpha1 presets crash v0.12's webhook", {}, "--e", "KW165", "inference.preset.name", alpha_only=True
    ),
    Fact("only reserved labels", {LABELS: {"kaito.sh/workspace": "w"}}, "--e", "KW127", LABELS),
    Fact(
        "a reserved label",
        {LABELS: {"kaito.sh/workspace": "w", "a": "b"}},
        "www",
        "KW122",
        f"{LABELS}[kaito.sh/workspace]",
    ),
    Fact(
        "strength on vLLM",
        {ADAPTERS: [adapter()], "metadata.annotations": {}},
        "--e",
        "KW161",
        f"{FIRST}.strength",
    ),
    Fact(
        "strength on transformers",
        {ADAPTERS: [adapter()], **annotated("kaito.sh/runtime", "transformers")},
        "---",
        "KW161",
        f"{FIRST}.strength",
    ),
    Fact(
        "a model without transformers parameters",
        {
            "inference.preset.name": "mistralai/Ministral-3-3B-Instruct-2512",
            **annotated("kaito.sh/runtime", "transformers"),
        },
        "--e",
        "KW162",
        note("kaito.sh/runtime"),
    ),
    Fact(
        "a gated model wants a token",
        {"inference.preset.name": "meta-llama/Llama-3.1-8B-Instruct"},
        "--w",
        "KW166",
        "inference.preset.presetOptions",
    ),
    Fact(
        "performance-mode has three values",
        annotated("kaito.sh/performance-mode", "fast"),
        "--e",
        "KW117",
        note("kaito.sh/performance-mode"),
    ),
    Fact(
        "use-local-weights is true or false",
        annotated("kaito.sh/use-local-weights", "yes"),
        "--e",
        "KW117",
        note("kaito.sh/use-local-weights"),
    ),
    Fact(
        "v0.12's annotations mean nothing before",
        annotated("kaito.sh/performance-mode", "balanced"),
        "ww-",
        "KW116",
        note("kaito.sh/performance-mode"),
    ),
    Fact(
        "inference.config came with v0.12",
        {"inference.config": "c"},
        "ee-",
        "KW102",
        "inference.config",
        alpha_only=True,
    ),
    Fact(
        "input from a private address",
        {**TUNE, "tuning": changed(TUNING, {"input.urls": ["http://169.254.169.254/x"]})},
        "--e",
        "KW175",
        "tuning.input.urls[0]",
    ),
    Fact(
        "input from another scheme",
        {**TUNE, "tuning": changed(TUNING, {"input.urls": ["ftp://x.io/d"]})},
        "--e",
        "KW175",
        "tuning.input.urls[0]",
    ),
    # what is accepted and ignored
    Fact("matchExpressions are ignored", IN_ONE, "www", "KW121", EXPRESSIONS),
    Fact(
        "preferredNodes are ignored",
        {"resource.preferredNodes": ["n"]},
        "--w",
        "KW126",
        "resource.preferredNodes",
    ),
    Fact(
        "tuning pods are not bound to preferredNodes",
        {**TUNE, "resource.preferredNodes": ["n"]},
        "ww-",
        "KW176",
        "resource.preferredNodes",
    ),
    Fact(
        "count on vLLM", {"resource.count": 3, "metadata.annotations": {}}, "--w", "KW164", "resource.count"
    ),
    Fact(
        "count on transformers",
        {"resource.count": 3, **annotated("kaito.sh/runtime", "transformers")},
        "---",
        "KW164",
        "resource.count",
    ),
    Fact("accessMode", LLAMA, "--w", "KW163", "inference.preset.accessMode"),
    Fact("presetOptions.image", LLAMA, "--w", "KW163", "inference.preset.presetOptions.image"),
    Fact(
        "an image beside accessMode public",
        {"inference.preset.presetOptions": {"image": "r.io/x:1"}},
        "ww-",
        "KW146",
        "inference.preset.presetOptions",
    ),
    Fact("adapters of a distributed preset", {**LLAMA, ADAPTERS: [adapter()]}, "ww-", "KW158", ADAPTERS),
    Fact(
        "adapters of llama-2-7b",
        {**LLAMA, "inference.preset.name": "llama-2-7b", ADAPTERS: [adapter()]},
        "ww-",
        "KW158",
        ADAPTERS,
    ),
    Fact("adapters beside a template", changed(TEMPLATE, {ADAPTERS: [adapter()]}), "www", "KW159", ADAPTERS),
    Fact(
        "an adapter's pull secrets beside a private image",
        {**LLAMA, ADAPTERS: [adapter(source__imagePullSecrets=["s"])]},
        "w--",
        "KW167",
        f"{FIRST}.source.imagePullSecrets",
    ),
    Fact(
        "a template's affinity",
        {"inference": {"template": {"spec": {"affinity": {"x": 1}}}}},
        "ww-",
        "KW168",
        "inference.template.spec.affinity",
    ),
    Fact(
        "v0.3 makes no Service for a template",
        {**TEMPLATE, **annotated("kaito.sh/enablelb", "True")},
        "w--",
        "KW169",
        note("kaito.sh/enablelb"),
    ),
    Fact(
        "enable-lb is not the key",
        annotated("kaito.sh/enable-lb", "True"),
        "www",
        "KW115",
        note("kaito.sh/enable-lb"),
    ),
    Fact(
        "true is not True", annotated("kaito.sh/enablelb", "true"), "www", "KW114", note("kaito.sh/enablelb")
    ),
    Fact(
        "an annotation among the labels",
        {"metadata.labels[kaito.sh/enablelb]": "True"},
        "www",
        "KW115",
        "metadata.labels[kaito.sh/enablelb]",
    ),
    # 16: memory, and who counts the nodes
    *(
        Fact(name, changes, verdict, code, path, setting)
        for name, changes, verdict, code, path, setting in [
            ("memory on vLLM is the estimator's", BIG, "---", "KW136", TYPE, {}),
            ("memory on transformers", BIG_SLOWLY, "--e", "KW136", TYPE, {}),
            (
                "the memory check can be bypassed",
                {**BIG_SLOWLY, **annotated("kaito.sh/bypass-resource-checks", "")},
                "---",
                "KW136",
                TYPE,
                {},
            ),
            ("nodes add up", {**BIG_SLOWLY, "resource.count": 2}, "---", "KW136", TYPE, {}),
            (
                "but transformers cannot spread a model",
                {**BIG_SLOWLY, "resource.count": 2},
                "--e",
                "KW162",
                note("kaito.sh/runtime"),
                {},
            ),
            ("own nodes have too little memory", OF_ONES_OWN, "--e", "KW136", LABELS, own(gpu_node("n"))),
            (
                "own nodes add up",
                OF_ONES_OWN,
                "---",
                "KW136",
                LABELS,
                own(gpu_node("n"), gpu_node("m")),
            ),
            ("without nodes the type counts", BIG, "--e", "KW136", TYPE, {"byo": True}),
            ("no node matches", OF_ONES_OWN, "--e", "KW200", LABELS, own()),
            (
                "a node of another label does not count",
                {**OF_ONES_OWN, LABELS: {"a": "c"}},
                "--e",
                "KW200",
                LABELS,
                own(gpu_node("n")),
            ),
            ("a template asks for no nodes", {**TEMPLATE, TYPE: REMOVE}, "---", "KW200", LABELS, own()),
            (
                "nodes without GPU labels",
                OF_ONES_OWN,
                "--e",
                "KW201",
                LABELS,
                own(gpu_node("n", memory="")),
            ),
            *(
                (
                    f"nodes that differ in {what}",
                    OF_ONES_OWN,
                    "--e",
                    "KW201",
                    LABELS,
                    own(gpu_node("n", count="8"), gpu_node("m", **{"count": "8", what: value})),
                )
                for what, value in (("product", "H100"), ("count", "4"), ("memory", "40960"))
            ),
            (
                "the estimator overrides count",
                {**BIG, "resource.count": 1},
                "--w",
                "KW164",
                "resource.count",
                {},
            ),
            (
                "the estimator may agree with count",
                {"resource.count": 1, "metadata.annotations": {}},
                "---",
                "KW164",
                "resource.count",
                {},
            ),
            (
                "max-model-len moves the estimate",
                {
                    "inference.preset.name": "phi-4-mini-instruct",
                    "inference.config": "c",
                    "resource.count": 1,
                    "metadata.annotations": {},
                    TYPE: "Standard_NV36ads_A10_v5",
                },
                "--w",
                "KW164",
                "resource.count",
                served(131072),
            ),
            (
                "of a model of unknown size only more than one is told",
                {
                    "inference.preset.name": "someone/something",
                    "resource.count": 2,
                    "metadata.annotations": {},
                },
                "--w",
                "KW164",
                "resource.count",
                {},
            ),
            # partitions
            ("mig needs a gate", MIG, "--w", "KW129", f"{PARTITION}.mode", {"byo": True}),
            ("mig's gate is on", MIG, "---", "KW129", f"{PARTITION}.mode", {"byo": True, **GATES}),
            (
                "mig's gate is off",
                MIG,
                "--e",
                "KW129",
                f"{PARTITION}.mode",
                {"byo": True, "gates": frozenset()},
            ),
            ("accelerator needs a gate", SHARES, "--w", "KW129", f"{PARTITION}.mode", {"byo": True}),
            ("parts only of own nodes", MIG, "--e", "KW129", PARTITION, {"byo": False, **GATES}),
            (
                "accelerator requires a count",
                {**SHARES, PARTITION: {"mode": "accelerator"}},
                "--e",
                "KW129",
                f"{PARTITION}.count",
                {"byo": True, **GATES},
            ),
            (
                "accelerator has no profile",
                {**SHARES, PARTITION: {"mode": "accelerator", "count": 1, "profile": "1g.10gb"}},
                "--e",
                "KW129",
                f"{PARTITION}.profile",
                {"byo": True, **GATES},
            ),
            (
                "mig has no count",
                {**MIG, PARTITION: {"mode": "mig", "profile": "1g.20gb", "count": 1}},
                "--e",
                "KW129",
                f"{PARTITION}.count",
                {"byo": True, **GATES},
            ),
            *(
                (
                    f"the profile {profile!r}",
                    {**MIG, PARTITION: {"mode": "mig", "profile": profile}},
                    verdict,
                    "KW129",
                    f"{PARTITION}.profile",
                    {"byo": True, **GATES},
                )
                for profile, verdict in [
                    ("", "--e"),
                    ("1g.10gb", "---"),
                    ("1g.16.5gb", "--e"),
                    ("1g.10gb+me", "--e"),
                    ("1G.10GB", "--e"),
                    ("0g.10gb", "--e"),
                    ("1g.10", "--e"),
                    ("9g.999gb", "--e"),
                ]
            ),
            (
                "a part too small for the weights",
                {**MIG, **BIG},
                "--e",
                "KW136",
                f"{PARTITION}.profile",
                {"byo": True, **GATES},
            ),
            ("tuning has no parts", {**SHARES, **TUNE}, "--e", "KW129", PARTITION, {"byo": True, **GATES}),
            # annotations
            *(
                (
                    f"{key} may be {value!r}",
                    annotated(f"kaito.sh/{key}", value),
                    verdict,
                    code,
                    note(f"kaito.sh/{key}"),
                    {},
                )
                for key, value, verdict, code in [
                    ("performance-mode", "throughput", "---", "KW117"),
                    ("performance-mode", "Throughput", "--e", "KW117"),
                    ("use-local-weights", "false", "---", "KW117"),
                    ("node-image-family", " Ubuntu", "---", "KW117"),
                    ("node-image-family", "windows", "--e", "KW117"),
                    ("disable-benchmark", "true", "---", "KW114"),
                    ("disable-benchmark", "True", "--w", "KW114"),
                    ("model-streaming", "disabled", "---", "KW114"),
                    ("model-streaming", "off", "--w", "KW114"),
                    ("bypass-resource-checks", "", "---", "KW114"),
                    ("bypass-resource-checks", "false", "--w", "KW114"),
                    ("node-class-name", "mine", "---", "KW114"),
                    ("model-mirror-storage-class", "mine", "---", "KW114"),
                    ("streaming-service-account", "mine", "---", "KW114"),
                ]
            ),
            (
                "a role is prefill or decode",
                {"metadata.labels[kaito.sh/inference-role]": "both"},
                "--w",
                "KW114",
                "metadata.labels[kaito.sh/inference-role]",
                {},
            ),
            # the inference ConfigMap
            *(
                (
                    f"max-model-len {length!r}",
                    {"inference.preset.name": "phi-4", "inference.config": "c"},
                    verdict,
                    "KW195",
                    "inference.config",
                    served(length),
                )
                for length, verdict in ((16384, "---"), (16385, "--e"), ("'16385'", "--e"), ("auto", "---"))
            ),
            (
                "the inference ConfigMap has a key of its own",
                {"inference.config": "c"},
                "--e",
                "KW191",
                "inference.config",
                maps("training_config: {}"),
            ),
            (
                "no such inference ConfigMap",
                {"inference.config": "c"},
                "--e",
                "KW190",
                "inference.config",
                maps("", "d"),
            ),
        ]
    ),
    # 13.3: ConfigMaps for tuning
    Fact("no such ConfigMap", tuned("x: 1")[0], "eee", "KW190", "tuning.config", maps("", "other")),
    Fact("no training_config.yaml", tuned("x: 1")[0], "eee", "KW191", "tuning.config", maps(None)),
    Fact(
        "training_config is no map",
        tuned("x: 1")[0],
        "eee",
        "KW191",
        "tuning.config",
        maps("training_config: 1"),
    ),
    Fact("training_config.yaml is no YAML", tuned("x: 1")[0], "eee", "KW191", "tuning.config", maps("a: [")),
    *(
        Fact(name, tuned(text, method)[0], verdict, code, "tuning.config", tuned(text, method)[1])
        for name, text, method, verdict, code in [
            ("an unknown section", "Extra: {}", "lora", "eee", "KW192"),
            ("load_in_4bit is text", "QuantizationConfig: {load_in_4bit: 'true'}", "lora", "eee", "KW193"),
            (
                "4 and 8 bits",
                "QuantizationConfig: {load_in_4bit: true, load_in_8bit: true}",
                "qlora",
                "eee",
                "KW193",
            ),
            ("lora with 4 bits", "QuantizationConfig: {load_in_4bit: true}", "lora", "eee", "KW193"),
            ("qlora with neither", "ModelConfig: {}", "qlora", "eee", "KW193"),
            ("qlora with 8 bits", "QuantizationConfig: {load_in_8bit: true}", "qlora", "---", "KW193"),
            ("output_dir is a number", "TrainingArguments: {output_dir: 1}", "lora", "eee", "KW194"),
            (
                "output_dir outside /mnt",
                "TrainingArguments: {output_dir: /mnt/../etc}",
                "lora",
                "eee",
                "KW194",
            ),
            (
                "output_dir below /mnt",
                "TrainingArguments: {output_dir: /mnt/results}",
                "lora",
                "---",
                "KW194",
            ),
        ]
    ),
]

UPDATE = [
    # 13.2: what the webhook asks on update
    Fact("inference removed", TUNE, "eee", "KW180", "inference", old={}),
    Fact("tuning added", TUNE, "eee", "KW180", "tuning", old={}),
    Fact("count changed", {"resource.count": 2}, "eee", "KW181", "resource.count", old={}),
    Fact("instanceType changed", {TYPE: "Standard_NC48ads_A100_v4"}, "eee", "KW181", TYPE, old={}),
    Fact("labelSelector changed", {LABELS: {"c": "d"}}, "eee", "KW181", "resource.labelSelector", old={}),
    Fact(
        "preset changed",
        {"inference.preset.name": "phi-3-mini-128k-instruct"},
        "eee",
        "KW181",
        "inference.preset",
        old={},
    ),
    Fact("template set", {"inference.template": {}}, "eee", "KW182", "inference.template", old={}),
    Fact(
        "template edited is ignored",
        TEMPLATE,
        "www",
        "KW183",
        "inference.template",
        old={"inference": {"template": {"spec": {}}}},
    ),
    Fact(
        "tuning preset changed",
        {**TUNE, "tuning": changed(TUNING, {"preset.name": "phi-4"})},
        "eee",
        "KW181",
        "tuning.preset",
        old=TUNE,
    ),
    Fact(
        "tuning method changed",
        {**TUNE, "tuning": changed(TUNING, {"method": "lora"})},
        "eee",
        "KW181",
        "tuning.method",
        old=TUNE,
    ),
    Fact(
        "tuning method changed in case only",
        TUNE,
        "---",
        "KW181",
        "tuning.method",
        old={**TUNE, "tuning": changed(TUNING, {"method": "QLORA"})},
    ),
    Fact(
        "tuning input name changed",
        {**TUNE, "tuning": changed(TUNING, {"input.name": "x"})},
        "eee",
        "KW181",
        "tuning.input.name",
        old=TUNE,
    ),
    Fact("adapters may change", {ADAPTERS: [adapter(strength="1")]}, "---", "KW181", ADAPTERS, old={}),
    Fact(
        "more than ten adapters slip through",
        {ADAPTERS: [adapter(source__name=f"a{n}") for n in range(11)]},
        "www",
        "KW150",
        ADAPTERS,
        old={},
    ),
    Fact(
        "preferredNodes may change",
        {"resource.preferredNodes": ["n"]},
        "---",
        "KW181",
        "resource.preferredNodes",
        old={},
    ),
    Fact(
        "enablelb is read once",
        annotated("kaito.sh/enablelb", "True"),
        "www",
        "KW185",
        note("kaito.sh/enablelb"),
        old={},
    ),
    *(
        Fact(name, annotated(STREAMING, "disabled"), verdict, "KW181", note(STREAMING), setting, old={})
        for name, verdict, setting in STREAMING_GATES
    ),
    Fact("a partition cannot come", MIG, "--e", "KW181", PARTITION, GATES, old={TYPE: REMOVE}),
    Fact(
        "a partition cannot change",
        MIG,
        "--e",
        "KW181",
        PARTITION,
        GATES,
        old={**MIG, PARTITION: {"mode": "mig", "profile": "1g.10gb"}},
    ),
    Fact("a partition cannot go", {TYPE: REMOVE}, "--e", "KW181", PARTITION, GATES, old=MIG),
    Fact("own nodes may keep an old instanceType", {}, "---", "KW139", TYPE, {"byo": True}, old={}),
    Fact("a missing instanceType may come", {}, "ee-", "KW181", TYPE, {"byo": False}, old={TYPE: REMOVE}),
    Fact("but not on own nodes", {}, "--e", "KW139", TYPE, {"byo": True}, old={TYPE: REMOVE}),
    Fact(
        "annotations' values are looked at on create",
        annotated("kaito.sh/performance-mode", "fast"),
        "---",
        "KW117",
        note("kaito.sh/performance-mode"),
        old={},
    ),
    Fact(
        "another name is another Workspace", {"metadata.name": "v"}, "eee", "KW184", "metadata.name", old={}
    ),
]


@pytest.mark.parametrize("fact", [*CREATE, *UPDATE], ids=lambda fact: fact.name)
@pytest.mark.parametrize("target", TARGETS)
def test_a_fact_is_known_of_each_version(fact: Fact, target: str) -> None:
    base = BETA if target == "v0.12" and not fact.alpha_only else ALPHA
    obj = changed(base, fact.changes)
    old = None if fact.old is None else changed(base, fact.old)
    problems = validation.judge(obj, Setting(target, **fact.setting), old=old)
    said = {(problem.code, problem.path): problem.severity[0] for problem in problems}
    expected = fact.verdict[TARGETS.index(target)]
    if fact.name == "any Hugging Face id will do" and target == "v0.12":
        assert said == {("KW149", fact.path): "w"}
    else:
        assert said.get((fact.code, fact.path), "-") == expected, problems


@pytest.mark.parametrize(
    ("target", "base"), [("v0.3", ALPHA), ("v0.4", ALPHA), ("v0.12", BETA), (OWN, ALPHA), (None, ALPHA)]
)
def test_what_is_good_has_no_problem_in_any_version(target: str | None, base: dict[str, Any]) -> None:
    fine = [{}, TUNE, TEMPLATE, {ADAPTERS: [adapter(), adapter(source__name="y")]}]
    for changes in fine[: 3 if target == "v0.12" else 4]:
        assert validation.judge(changed(base, changes), Setting(target)) == []
        assert validation.judge(changed(base, changes), Setting(target), old=changed(base, changes)) == []


def test_v1beta1_is_not_served_before_v012() -> None:
    for target in ("v0.3", "v0.4"):
        codes = {(p.code, p.path) for p in validation.judge(BETA, Setting(target))}
        assert codes == {("KW103", "apiVersion")}


# --- nodes of one's own (v0.12) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "byo", "expected"),
    [
        ({}, None, set()),
        ({}, False, set()),
        ({}, True, {("KW139", "e", TYPE)}),
        ({TYPE: REMOVE}, True, set()),
        ({TYPE: REMOVE}, None, {("KW138", "w", TYPE)}),
        ({TYPE: REMOVE}, False, {("KW138", "e", TYPE)}),
    ],
)
def test_nodes_of_ones_own_have_rules(
    changes: dict[str, Any], byo: bool | None, expected: set[tuple[str, str, str]]
) -> None:
    problems = validation.judge(changed(BETA, changes), Setting(byo=byo))
    assert {(p.code, p.severity[0], p.path) for p in problems} == expected


def test_on_nodes_of_ones_own_an_update_may_clear_the_instance_type() -> None:
    new = changed(BETA, {TYPE: REMOVE})
    assert validation.update_problems(BETA, new, Setting(byo=True)) == []
    assert [p.path for p in validation.update_problems(BETA, new, Setting(byo=False))] == [TYPE]


def test_a_partition_cannot_change() -> None:
    new = changed(BETA, {"resource.partition": {"mode": "mig", "profile": "x"}})
    assert [p.path for p in validation.update_problems(BETA, new)] == ["resource.partition"]


# --- models of v0.12 ---------------------------------------------------------------------------------------


def test_on_vllm_memory_is_left_to_kaitos_estimator() -> None:
    codes = {p.code for p in validation.judge(changed(BETA, BIG))}
    assert "KW136" not in codes


def test_a_context_beyond_the_models_is_refused() -> None:
    obj = changed(BETA, {"inference.config": "c", "inference.preset.name": "phi-4"})
    for length, expected in ((16384, []), (16385, ["KW195"])):
        text = f"vllm:\n  max-model-len: {length}\n"
        config = {ObjectKey("default", "c"): {"data": {"inference_config.yaml": text}}}
        assert [p.code for p in validation.judge(obj, Setting(config_maps=config))] == expected


def test_the_inference_config_map_has_a_key_of_its_own() -> None:
    obj = changed(BETA, {"inference.config": "c"})
    config: dict[ObjectKey, Any] = {ObjectKey("default", "c"): {"data": {"other.yaml": ""}}}
    assert [p.code for p in validation.judge(obj, Setting(config_maps=config))] == ["KW191"]
    assert validation.judge(obj) == []  # not known, not judged


# --- kaitoctl's own controller -----------------------------------------------------------------------------


def test_our_own_controller_is_milder() -> None:
    obj = changed(ALPHA, {ADAPTERS: [adapter(strength=REMOVE, source__image="r.io/x")], TYPE: "my-machine"})
    assert {p.severity for p in validation.judge(obj, Setting(OWN))} == {"warning"}
    assert {p.code for p in validation.judge(obj) if p.severity == "error"} == {"KW130", "KW155", "KW157"}


def test_every_code_is_shown_by_some_fact_or_named_elsewhere() -> None:
    elsewhere = {
        "KW100",
        "KW101",
        "KW103",
        "KW104",
        "KW112",
        "KW113",
        "KW118",
        "KW120",
        "KW124",
        "KW125",
        "KW131",
        "KW132",
        "KW133",
        "KW137",
        "KW139",
        "KW148",
        "KW149",
        # in test_kaito_answers, test_releases, test_object_meta and tests/cli/test_validate.py
        *("KW119", "KW199", "KW202"),  # in test_releases
        *("KW106", "KW107", "KW108", "KW109", "KW177", "KW186", "KW187", "KW188", "KW196", "KW197", "KW198"),
        "KW189",  # in test_pods_refused
    }
    assert {fact.code for fact in (*CREATE, *UPDATE)} | elsewhere == set(CODES)
