"""The rules that a Workspace must keep beyond its schema, for create and for update.

Some rules are those of KAITO's admission webhook, some are ours, for what the webhook lets through and the
controller then ignores, crashes on or never gets ready. `judge` adds the schema's view. Nothing here asks a
cluster: whether nodes are there is the business of `nodes`.

Source: KAITO v0.3.2 and v0.4.0 `api/v1alpha1/workspace_validation.go` and the controllers behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal

from kaitoctl import packaged
from kaitoctl.kaito import catalog
from kaitoctl.kaito.api import (
    ANNOTATION_ENABLE_LB,
    ANNOTATION_RUNTIME,
    DEFAULT_INSTANCE_TYPE,
    GPU,
    LABEL_WORKSPACE,
    LABEL_WORKSPACE_NAMESPACE,
    MAX_ADAPTERS,
    WORKSPACE,
    WORKSPACE_V1BETA1,
)
from kaitoctl.kaito.catalog import DEFAULT_GENERATION, InstanceType, Preset
from kaitoctl.kube.objects import Object, dig

Severity = Literal["error", "warning"]

CODES: Mapping[str, str] = {
    "KW101": (
        "A value does not fit the schema of its field: a wrong type, a missing field, or a value that "
        "is not among those allowed. The API server would refuse the Workspace."
    ),
    "KW102": (
        "The schema has no such field. The API server drops unknown fields without a word, so what "
        "was meant would not happen; most often the name is misspelt or belongs to another API "
        "version."
    ),
    "KW103": (
        "The object is not a Workspace of an API version that KAITO serves (kaito.sh/v1alpha1 or "
        "kaito.sh/v1beta1)."
    ),
    "KW110": (
        "The Workspace's name is also the name of its Service and a label value, so it must be a DNS "
        "label that starts with a letter: at most 63 lower-case letters, digits and hyphens. KAITO up "
        "to v0.3.2 admits other names and then fails to create the Service."
    ),
    "KW111": (
        "A preset that runs on several nodes gets a second Service whose name is the Workspace's plus "
        "-headless. Together they must fit in 63 characters, which leaves 54 for the Workspace."
    ),
    "KW112": "A namespace's name is a DNS label: at most 63 lower-case letters, digits and hyphens.",
    "KW113": (
        "A label or annotation breaks the syntax of Kubernetes: a key is an optional DNS name and a "
        "slash, then at most 63 letters, digits, hyphens, underscores and dots; a label's value "
        "likewise."
    ),
    "KW114": (
        "An annotation that KAITO reads has a value that KAITO does not know, and would act as if the "
        "annotation were not there. kaito.sh/enablelb counts only as True, kaito.sh/runtime only as "
        "transformers or vllm."
    ),
    "KW120": (
        "resource.labelSelector.matchLabels says which nodes may be used and what new nodes are "
        "labelled with. Without a label every node of the cluster is a candidate, and on KAITO pods "
        "match none."
    ),
    "KW121": (
        "KAITO accepts matchExpressions and then ignores them when it looks for nodes and when it "
        "places pods. Say the same with matchLabels."
    ),
    "KW122": (
        "KAITO sets this label itself; from v0.12 on it drops it from the selector, and refuses a "
        "selector that has no other label."
    ),
    "KW123": "The number of nodes must be at least 1.",
    "KW124": "An entry of preferredNodes is not the name of a node, which is a DNS name.",
    "KW125": "A node stands twice in preferredNodes.",
    "KW126": "KAITO from v0.12 on does not read preferredNodes of any API version; select nodes by label.",
    "KW130": (
        "The instance type is not in kaitoctl's catalog, so whether the preset fits cannot be told. "
        "KAITO admits any name that starts with Standard_N or Standard_D and refuses other unknown "
        "ones."
    ),
    "KW131": (
        "KAITO's tables have the instance type, but its devices are not NVIDIA GPUs: nodes do not "
        "offer nvidia.com/gpu, and pods would wait for ever."
    ),
    "KW132": "KAITO's tables have this name, but the cloud does not: no node ever carries it.",
    "KW133": "Nodes of this instance type are not amd64, and the preset images are built for amd64 only.",
    "KW134": (
        "The preset needs more GPUs than the instance type has. A preset that runs on one node must "
        "find them on each node; KAITO counts all nodes together and lets too few through."
    ),
    "KW135": "The preset needs more memory per GPU than the instance type has.",
    "KW136": (
        "The preset needs more GPU memory than the nodes have. A preset that runs on one node must "
        "find it on each node; KAITO adds all nodes up, lets it through, and the model runs out of "
        "memory."
    ),
    "KW137": (
        "A distributed preset starts a fixed number of processes, shared equally by the nodes. A "
        "count that does not divide it loses processes, and the model never starts."
    ),
    "KW138": (
        "Without instanceType, v1alpha1 means Standard_NC12s_v3, which also decides that each pod "
        "asks for 2 GPUs; v1beta1 has no default and wants one unless the nodes are your own."
    ),
    "KW140": "A Workspace serves or tunes: exactly one of inference and tuning is set.",
    "KW141": (
        "Inference runs a preset or a pod template of your own: exactly one of preset and template is set."
    ),
    "KW142": "The preset is not in the catalog. Names are compared with case.",
    "KW143": "The preset's image is not published: accessMode must be private, with an image of your own.",
    "KW144": "accessMode private takes the image from presetOptions.image, which is not set.",
    "KW145": (
        "Not a reference to a container image: [registry[:port]/]path[:tag][@digest], the path in lower case."
    ),
    "KW146": "An image or pull secret is given, but accessMode is public: KAITO ignores it.",
    "KW147": "The chosen image generation has no image or no such runtime for this preset.",
    "KW148": "A Secret's name is a DNS name of at most 253 characters.",
    "KW150": (
        "KAITO allows at most 10 adapters. It counts them on create only, so an update is where more "
        "slip through."
    ),
    "KW151": (
        "An adapter comes from an image, source.image. KAITO's webhook crashes on an adapter without "
        "source, and refuses URLs and volumes."
    ),
    "KW152": (
        "An adapter's name becomes the name of a container, so it must be a DNS label: at most 63 "
        "lower-case letters, digits and hyphens. KAITO checks it only on update."
    ),
    "KW153": "Two adapters have the same name.",
    "KW154": (
        "An adapter is called like the Workspace, whose main container has that name; two containers "
        "of a pod cannot share one."
    ),
    "KW156": "An adapter's strength is a decimal from 0 to 1, written as text. KAITO lets NaN through.",
    "KW157": "An adapter has no strength. KAITO up to v0.4.0 crashes on it; kaitoctl takes it for 1.0.",
    "KW158": (
        "This preset's server does not load adapters: KAITO copies them for no one, or not at all, "
        "and reports success."
    ),
    "KW159": "Adapters belong to a preset; beside a pod template nothing loads them.",
    "KW160": (
        "From v0.4.0 on KAITO serves on vLLM unless the annotation kaito.sh/runtime says transformers, and "
        "the vLLM server of v0.4.0 copies adapters into the pod without loading them. kaitoctl's own "
        "controller serves on transformers."
    ),
    "KW170": "Tuning runs on one node: count must be 1.",
    "KW171": "Tuning needs a preset that can be tuned. KAITO's controller crashes on one that cannot.",
    "KW172": (
        "The tuning method is lora or qlora, in lower case; other spellings pass the webhook and then fail."
    ),
    "KW173": "Tuning reads its data from exactly one of urls and image.",
    "KW174": "Tuning pushes its result to output.image, with output.imagePushSecret.",
    "KW180": "inference and tuning cannot be added to, or removed from, a Workspace that exists.",
    "KW181": "KAITO does not let this field change; delete the Workspace and create it anew.",
    "KW182": "A pod template cannot be set or unset on a Workspace that exists.",
    "KW183": "KAITO accepts a changed pod template and never applies it to the running pods.",
}
"""What each code means, in a paragraph. Codes are stable: scripts and documents may rely on them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a Workspace that will not work, or not as written.

    Args:
        path: where, as in the user's file: `inference.adapters[0].strength`.
        code: a key of `CODES`.
        severity: `error` (will not work) or `warning` (works, but not as one would think).
        message: what is wrong, with the values concerned.
        hint: what to do; empty when the message says it.
    """

    path: str
    code: str
    severity: Severity
    message: str
    hint: str = ""


def _error(path: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(path, code, "error", _cut(message), hint)


def _warning(path: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(path, code, "warning", _cut(message), hint)


def _cut(message: str) -> str:
    """A message quotes what the user wrote, which may be a megabyte."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."


def judge(workspace: Object, *, generation: str = DEFAULT_GENERATION) -> list[Problem]:
    """Everything that is wrong with a Workspace to be created: its schema's view, then the rules'.

    Guarantee: never raises, whatever JSON the object is made of.
    """
    from kaitoctl.kube import schema

    version = _text(_map(workspace).get("apiVersion"))
    found: list[Problem] = []
    if version in _API_VERSIONS:
        structure = schema_of(version)
        found = [
            _error(problem.path, "KW102" if problem.rule == "unknown" else "KW101", problem.message)
            for problem in schema.problems(workspace, structure, unknown="error")
        ]
    said = {problem.path for problem in found}
    below = tuple(path + mark for path in said if path for mark in ".[")
    return found + [
        problem
        for problem in problems(workspace, generation=generation)
        if problem.path not in said and not problem.path.startswith(below)
    ]


def problems(
    workspace: Object,
    *,
    presets: Mapping[str, Preset] | None = None,
    instance_types: Mapping[str, InstanceType] | None = None,
    generation: str = DEFAULT_GENERATION,
) -> list[Problem]:
    """What the rules find in a Workspace to be created; values of a wrong type are left to the schema.

    Args:
        workspace: the object, defaults filled in or not.
        presets: the catalog's when None.
        instance_types: the catalog's when None.
        generation: of the images that will run.

    Guarantee: never raises, whatever JSON the object is made of; the order is that of the fields.
    """
    rules = _Rules(
        _map(workspace),
        catalog.presets() if presets is None else presets,
        catalog.instance_types() if instance_types is None else instance_types,
        generation,
    )
    return list(rules.all())


@cache
def schema_of(api_version: str) -> Object:
    """The OpenAPI v3 schema of Workspaces of an API version, `v1alpha1` or `kaito.sh/v1alpha1`.

    Raises:
        KeyError: KAITO has no such version.
    """
    import yaml

    # libyaml is five times as fast; it is missing where no wheel was built.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (packaged.folder("schemas") / "kaito.sh_workspaces.yaml").read_text("utf-8")
    wanted = api_version.rpartition("/")[2]
    for version in yaml.load(text, loader)["spec"]["versions"]:  # noqa: S506 - a safe loader
        if version["name"] == wanted:
            schema: Object = version["schema"]["openAPIV3Schema"]
            return schema
    raise KeyError(api_version)


# --- shapes: a rule looks at what has the right type and leaves the rest to the schema --------------------


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    """A whole number of a sane size, else None."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if is_whole else None


# --- grammars ---------------------------------------------------------------------------------------------

_API_VERSIONS = (WORKSPACE.api_version, WORKSPACE_V1BETA1.api_version)

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

# A first part without dot or port is no registry but a folder of the default one ("MyOrg/x" is a slip).
_HOST_PART = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_REGISTRY = (
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})+(?::[0-9]+)?"
    rf"|{_HOST_PART}:[0-9]+|localhost|\[[0-9a-fA-F:]+\](?::[0-9]+)?)"
)
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?"
    r"(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_BLANK_TO_FILL = re.compile(r"<[^<>]*>|\$\{?[A-Za-z_]|\bYOUR_")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")

_TRANSFORMERS = f"set the annotation {ANNOTATION_RUNTIME}: transformers"
_LONGEST_NAME = 63
_LONGEST_MESSAGE = 300
_HEADLESS = "-headless"
_RESERVED_SELECTOR_KEYS = frozenset(
    {
        LABEL_WORKSPACE,
        LABEL_WORKSPACE_NAMESPACE,
        "kaito.sh/ragengine",
        "kaito.sh/ragenginenamespace",
        "karpenter.kaito.sh/workspace-name",
        "karpenter.kaito.sh/workspace-namespace",
        "karpenter.kaito.sh/inferenceset",
        "karpenter.kaito.sh/inferenceset-namespace",
    }
)


def is_dns_label(text: str) -> bool:
    """Whether a text is an RFC 1123 label: 1 to 63 lower-case letters, digits and inner hyphens."""
    return len(text) <= _LONGEST_NAME and _DNS_LABEL.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether a text is an RFC 1123 subdomain: labels joined by dots, at most 253 characters."""
    return len(text) <= 253 and _DNS_NAME.fullmatch(text) is not None


def _is_label_key(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    return (not slash or is_dns_name(prefix)) and len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None


def _is_label_value(text: str) -> bool:
    return text == "" or (len(text) <= 63 and _QUALIFIED.fullmatch(text) is not None)


def image_fault(reference: str) -> str:
    """Why a text is not an image reference, empty when it is one.

    Source: the reference grammar of the container distribution project.
    """
    if not reference:
        return "is empty"
    if _BLANK_TO_FILL.search(reference):
        return f"{reference[:80]!r} is a blank to fill in, not an image"
    found = _IMAGE.fullmatch(reference) if len(reference) <= 1024 else None
    if found is not None and len(found["name"]) <= 255:
        return ""
    shown = repr(reference[:80])
    if found is None and len(reference) <= 1024 and "://" not in reference:
        name, at, digest = reference.partition("@")
        host, slash, path = name.rpartition("/")
        path, colon, tag = path.partition(":")
        if _IMAGE.fullmatch(f"{host.lower()}{slash}{path.lower()}{colon}{tag}{at}{digest}"):
            return f"{shown}: the path of an image is in lower case"
    return f"{shown} is not an image: [registry[:port]/]path[:tag][@digest]"


def strength_fault(text: str) -> str:
    """Why a text is not an adapter's strength, empty when it is one."""
    if not _DECIMAL.fullmatch(text):
        return f"{text[:40]!r} is not a decimal"
    return "" if 0 <= Decimal(text) <= 1 else f"{text[:40]} is not between 0 and 1"


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    matches = catalog.close_matches(name, known)
    return f"Did you mean {' or '.join(matches)}?" if matches else ""


# --- the rules --------------------------------------------------------------------------------------------


class _Rules:
    """One Workspace under the rules; each method yields the problems of one part of it."""

    def __init__(
        self,
        workspace: Object,
        presets: Mapping[str, Preset],
        instance_types: Mapping[str, InstanceType],
        generation: str,
    ) -> None:
        self._workspace = workspace
        self._presets = presets
        self._instance_types = instance_types
        self._generation = generation
        self._name = _text(dig(workspace, "metadata", "name"))
        self._is_v1beta1 = workspace.get("apiVersion") == WORKSPACE_V1BETA1.api_version
        self._resource = _map(workspace.get("resource"))
        self._inference = _map(workspace.get("inference"))
        self._tuning = _map(workspace.get("tuning"))
        self._preset = presets.get(_text(dig(self._inference, "preset", "name")))
        self._count = max(_whole(self._resource.get("count")) or 1, 1)

    def all(self) -> Iterator[Problem]:
        yield from self._identity()
        yield from self._metadata()
        yield from self._purpose()
        yield from self._selection()
        yield from self._nodes()
        yield from self._fit()
        if isinstance(self._workspace.get("inference"), dict):
            yield from self._inference_rules()
            yield from self._runtime()
            yield from self._adapters()
        if isinstance(self._workspace.get("tuning"), dict):
            yield from self._tuning_rules()

    def _identity(self) -> Iterator[Problem]:
        version, kind = self._workspace.get("apiVersion"), self._workspace.get("kind")
        if version not in _API_VERSIONS:
            yield _error("apiVersion", "KW103", f"{version!r} is not one of {' and '.join(_API_VERSIONS)}")
        if kind != WORKSPACE.kind:
            yield _error("kind", "KW103", f"{kind!r} is not {WORKSPACE.kind}")

    def _metadata(self) -> Iterator[Problem]:
        metadata = _map(self._workspace.get("metadata"))
        name, namespace = metadata.get("name"), metadata.get("namespace")
        if name is None or name == "":
            yield _error("metadata.name", "KW110", "the Workspace has no name")
        elif isinstance(name, str):
            if len(name) > _LONGEST_NAME or not _DNS_1035.fullmatch(name):
                yield _error(
                    "metadata.name",
                    "KW110",
                    f"{name[:80]!r} cannot name a Service",
                    "use at most 63 lower-case letters, digits and hyphens, starting with a letter",
                )
            elif self._preset and self._preset.distributed and len(name + _HEADLESS) > _LONGEST_NAME:
                yield _error(
                    "metadata.name",
                    "KW111",
                    f"{name!r} has {len(name)} characters; with {_HEADLESS} behind it only 54 fit",
                )
        if isinstance(namespace, str) and namespace and not is_dns_label(namespace):
            yield _error("metadata.namespace", "KW112", f"{namespace[:80]!r} is not a namespace's name")
        yield from _label_faults("metadata.labels", metadata.get("labels"))
        annotations = _map(metadata.get("annotations"))
        for key in annotations:
            if not _is_label_key(key):
                yield _error(
                    f"metadata.annotations[{key[:80]}]", "KW113", f"{key[:80]!r} is not an annotation's key"
                )
        yield from self._annotation_values(annotations)

    def _annotation_values(self, annotations: Mapping[str, Any]) -> Iterator[Problem]:
        balancer, runtime = annotations.get(ANNOTATION_ENABLE_LB), annotations.get(ANNOTATION_RUNTIME)
        if isinstance(balancer, str) and balancer.lower() == "true" and balancer != "True":
            yield _warning(
                f"metadata.annotations[{ANNOTATION_ENABLE_LB}]",
                "KW114",
                f"{balancer!r} does not ask for a load balancer",
                'write "True", with a capital T',
            )
        if isinstance(runtime, str) and runtime not in ("transformers", "vllm"):
            yield _warning(
                f"metadata.annotations[{ANNOTATION_RUNTIME}]",
                "KW114",
                f"{runtime[:80]!r} is not a runtime",
                "use transformers or vllm",
            )

    def _purpose(self) -> Iterator[Problem]:
        given = [part for part in ("inference", "tuning") if self._workspace.get(part) is not None]
        if not given:
            yield _error("inference", "KW140", "neither inference nor tuning is set")
        elif len(given) == 2:
            yield _error("tuning", "KW140", "both inference and tuning are set")

    def _selection(self) -> Iterator[Problem]:
        where = "resource.labelSelector"
        if self._workspace.get("resource") is None:
            yield _error("resource", "KW120", "resource is not set", "set resource.labelSelector.matchLabels")
            return
        selector = _map(self._resource.get("labelSelector"))
        labels = selector.get("matchLabels")
        if labels is None or labels == {}:
            yield _error(
                f"{where}.matchLabels",
                "KW120",
                "no label selects the nodes",
                "for example apps: " + (self._name or "my-model"),
            )
        yield from _label_faults(f"{where}.matchLabels", labels)
        for key in _map(labels):
            if key in _RESERVED_SELECTOR_KEYS:
                yield _warning(
                    f"{where}.matchLabels[{key}]",
                    "KW122",
                    f"{key} is KAITO's own label",
                    "select by a label of your own",
                )
        if _list(selector.get("matchExpressions")):
            yield _warning(
                f"{where}.matchExpressions", "KW121", "matchExpressions are ignored", "use matchLabels"
            )

    def _nodes(self) -> Iterator[Problem]:
        count = _whole(self._resource.get("count"))
        if count is not None and count < 1:
            yield _error("resource.count", "KW123", f"{count} nodes are too few")
        preferred = _list(self._resource.get("preferredNodes"))
        seen: set[str] = set()
        for index, node in enumerate(preferred):
            where = f"resource.preferredNodes[{index}]"
            if not isinstance(node, str):
                continue
            if not is_dns_name(node):
                yield _error(where, "KW124", f"{node[:80]!r} is not a node's name")
            elif node in seen:
                yield _warning(where, "KW125", f"{node} is listed twice")
            seen.add(node)
        if preferred and self._is_v1beta1:
            yield _warning("resource.preferredNodes", "KW126", "v1beta1 does not read preferredNodes")

    def _fit(self) -> Iterator[Problem]:
        where = "resource.instanceType"
        if self._workspace.get("resource") is None:
            return
        name = self._resource.get("instanceType")
        if name is None or name == "":
            if self._is_v1beta1:
                yield _warning(where, "KW138", "no instance type: only nodes of your own can be used")
                return
            name = DEFAULT_INSTANCE_TYPE if name is None else name
            yield _warning(
                where,
                "KW138",
                f"no instance type, which means {DEFAULT_INSTANCE_TYPE}",
                "name the type of your nodes",
            )
        if not isinstance(name, str) or not name:
            return
        known = self._instance_types.get(name)
        if known is None:
            yield _warning(
                where,
                "KW130",
                f"{name[:80]!r} is not in the catalog; whether the preset fits is not checked",
                _did_you_mean(name, self._instance_types),
            )
            return
        if not known.exists:
            yield _error(where, "KW132", f"{name}: {known.note}")
        elif known.gpu_resource != GPU:
            yield _error(where, "KW131", f"{name} has {known.gpu_model}, not NVIDIA GPUs")
        elif known.arch != "amd64":
            yield _error(where, "KW133", f"{name} is {known.arch}; {known.note}")
        elif self._preset is not None:
            yield from self._preset_fits(self._preset, known)

    def _preset_fits(self, preset: Preset, machine: InstanceType) -> Iterator[Problem]:
        where, nodes = "resource.instanceType", self._count if preset.distributed else 1
        times = f"{nodes} x {machine.name}" if nodes > 1 else machine.name
        if nodes * machine.gpus < preset.gpu_count:
            yield _error(
                where,
                "KW134",
                f"{times} has {nodes * machine.gpus} GPUs, {preset.name} needs {preset.gpu_count}",
                self._types_that_fit(preset),
            )
        if machine.gpu_memory_per_gpu_gib < preset.per_gpu_memory_gib:
            yield _error(
                where,
                "KW135",
                f"{machine.name} has {machine.gpu_memory_per_gpu_gib} GiB per GPU, "
                f"{preset.name} needs {preset.per_gpu_memory_gib}",
                self._types_that_fit(preset),
            )
        if nodes * machine.gpu_memory_gib < preset.total_gpu_memory_gib:
            yield _error(
                where,
                "KW136",
                f"{times} has {nodes * machine.gpu_memory_gib} GiB of GPU memory, "
                f"{preset.name} needs {preset.total_gpu_memory_gib}"
                + ("" if preset.distributed else " on each node"),
                self._types_that_fit(preset),
            )
        if preset.distributed and preset.world_size % nodes:
            yield _error(
                "resource.count",
                "KW137",
                f"{preset.name} runs {preset.world_size} processes, which {nodes} nodes cannot share equally",
            )

    def _types_that_fit(self, preset: Preset) -> str:
        cheapest = sorted(
            (
                machine
                for machine in self._instance_types.values()
                if fits(preset, machine, self._count) and machine.cloud == self._cloud()
            ),
            key=lambda machine: (machine.gpu_memory_gib, machine.gpus, machine.name),
        )
        return f"for example {cheapest[0].name}" if cheapest else ""

    def _cloud(self) -> str:
        known = self._instance_types.get(_text(self._resource.get("instanceType")) or DEFAULT_INSTANCE_TYPE)
        return known.cloud if known else ""

    def _inference_rules(self) -> Iterator[Problem]:
        preset, template = self._inference.get("preset"), self._inference.get("template")
        if preset is None and template is None:
            yield _error("inference.preset", "KW141", "neither preset nor template is set")
        elif preset is not None and template is not None:
            yield _error("inference.template", "KW141", "both preset and template are set")
        if isinstance(preset, dict):
            yield from self._preset_rules("inference.preset", preset)

    def _preset_rules(self, where: str, preset: Mapping[str, Any]) -> Iterator[Problem]:
        name = preset.get("name")
        known = self._presets.get(name) if isinstance(name, str) else None
        if isinstance(name, str) and known is None:
            yield _error(
                f"{where}.name",
                "KW142",
                f"preset {name[:80]!r} is not in the catalog",
                _did_you_mean(name, self._presets) or f"known presets: {', '.join(self._presets)}",
            )
        private = preset.get("accessMode") == "private"
        options = _map(preset.get("presetOptions"))
        image, secrets = options.get("image"), _list(options.get("imagePullSecrets"))
        if known is not None and known.access_mode == "private" and not private:
            yield _error(
                f"{where}.accessMode",
                "KW143",
                f"the image of {known.name} is not published",
                "set accessMode: private and presetOptions.image to an image of your own",
            )
        if private and image in (None, ""):
            yield _error(
                f"{where}.presetOptions.image", "KW144", "accessMode is private, but there is no image"
            )
        elif isinstance(image, str) and image and (fault := image_fault(image)):
            yield _error(f"{where}.presetOptions.image", "KW145", fault)
        if not private and (image or secrets) and (known is None or known.access_mode == "public"):
            yield _warning(
                f"{where}.presetOptions",
                "KW146",
                "accessMode is public: image and secrets are ignored",
                "set accessMode: private",
            )
        yield from _secret_faults(f"{where}.presetOptions.imagePullSecrets", secrets)

    def _runtime(self) -> Iterator[Problem]:
        preset = self._preset
        if preset is None:
            return
        images = preset.images.get(self._generation)
        if images is None:
            if dig(self._inference, "preset", "accessMode") != "private":
                yield _error(
                    "inference.preset.name",
                    "KW147",
                    f"{preset.name} has no image of generation {self._generation}",
                    f"it has one of {', '.join(preset.images)}",
                )
            return
        annotation = f"metadata.annotations[{ANNOTATION_RUNTIME}]"
        if self._asks_for("vllm") and images.vllm is None:
            yield _error(
                annotation,
                "KW147",
                f"{preset.name} does not run on vLLM in generation {self._generation}",
                "use transformers",
            )

    def _asks_for(self, runtime: str) -> bool:
        return bool(dig(self._workspace, "metadata", "annotations", ANNOTATION_RUNTIME) == runtime)

    def _adapters(self) -> Iterator[Problem]:
        where, adapters = "inference.adapters", _list(self._inference.get("adapters"))
        if not adapters:
            return
        if len(adapters) > MAX_ADAPTERS:
            yield _error(where, "KW150", f"{len(adapters)} adapters, {MAX_ADAPTERS} are allowed")
        if self._inference.get("template") is not None:
            yield _warning(where, "KW159", "adapters beside a template are not loaded")
        elif self._preset is not None:
            yield from self._adapters_are_loaded(self._preset)
        seen: set[str] = set()
        for index, adapter in enumerate(adapters):
            if isinstance(adapter, dict):
                yield from self._adapter(f"{where}[{index}]", adapter, seen)

    def _adapters_are_loaded(self, preset: Preset) -> Iterator[Problem]:
        where = "inference.adapters"
        if preset.distributed:
            yield _warning(where, "KW158", f"KAITO ignores adapters of {preset.name}, which is distributed")
        elif preset.world_size:
            yield _warning(where, "KW158", f"the server of {preset.name} does not load adapters")
        elif self._asks_for("vllm"):
            yield _warning(
                where, "KW158", "KAITO's vLLM server of v0.4.0 does not load adapters", _TRANSFORMERS
            )
        elif self._generation != "v0.3" and not self._asks_for("transformers"):
            yield _warning(
                where, "KW160", "KAITO v0.4.0 may serve on vLLM, which does not load adapters", _TRANSFORMERS
            )

    def _adapter(self, where: str, adapter: Mapping[str, Any], seen: set[str]) -> Iterator[Problem]:
        source, strength = adapter.get("source"), adapter.get("strength")
        if source is None:
            yield _error(f"{where}.source", "KW151", "the adapter has no source")
        elif isinstance(source, dict):
            yield from self._adapter_name(f"{where}.source.name", source.get("name"), seen)
            yield from _adapter_source(f"{where}.source", source)
        if strength is None:
            yield _warning(
                f"{where}.strength",
                "KW157",
                "the adapter has no strength; 1.0 is meant",
                'write strength: "1.0"',
            )
        elif isinstance(strength, str) and (fault := strength_fault(strength)):
            yield _error(f"{where}.strength", "KW156", fault, 'write it like "0.5"')

    def _adapter_name(self, where: str, name: Any, seen: set[str]) -> Iterator[Problem]:
        if name is None or name == "":
            yield _error(where, "KW152", "the adapter has no name")
        elif isinstance(name, str):
            if not is_dns_label(name):
                yield _error(
                    where,
                    "KW152",
                    f"{name[:80]!r} cannot name a container",
                    "use at most 63 lower-case letters, digits and hyphens",
                )
            elif name in seen:
                yield _error(where, "KW153", f"another adapter is called {name}, too")
            elif name == self._name:
                yield _error(where, "KW154", f"{name} is the Workspace's own name")
            seen.add(name)

    def _tuning_rules(self) -> Iterator[Problem]:
        tuning = self._tuning
        if self._count > 1:
            yield _error("resource.count", "KW170", f"tuning cannot use {self._count} nodes")
        preset = tuning.get("preset")
        if preset is None:
            yield _error("tuning.preset", "KW171", "tuning has no preset")
        elif isinstance(preset, dict):
            known = self._presets.get(_text(preset.get("name")))
            if known is not None and not known.tuning:
                yield _error(
                    "tuning.preset.name",
                    "KW171",
                    f"{known.name} cannot be tuned",
                    "these can: " + ", ".join(name for name, other in self._presets.items() if other.tuning),
                )
            yield from self._preset_rules("tuning.preset", preset)
        method = tuning.get("method")
        if method is None or (isinstance(method, str) and method not in ("lora", "qlora")):
            yield _error(
                "tuning.method",
                "KW172",
                "tuning has no method" if method is None else f"{method[:80]!r} is not a method",
                "use lora or qlora",
            )
        data = _map(tuning.get("input"))
        given = [key for key in ("urls", "image", "volumeSource") if data.get(key)]
        if len(given) != 1 or given == ["volumeSource"]:
            yield _error(
                "tuning.input",
                "KW173",
                f"the data comes from {' and '.join(given) or 'nowhere'}",
                "set exactly one of urls and image",
            )
        yield from _image_faults("tuning.input.image", data.get("image"))
        output = _map(tuning.get("output"))
        if not output.get("image"):
            yield _error("tuning.output.image", "KW174", "the result goes nowhere")
        elif not output.get("imagePushSecret"):
            yield _error("tuning.output.imagePushSecret", "KW174", "no Secret to push the image with")
        yield from _image_faults("tuning.output.image", output.get("image"))


def fits(preset: Preset, machine: InstanceType, count: int = 1) -> bool:
    """Whether `count` nodes of an instance type can run a preset.

    A preset that is not distributed must fit on each node by itself.
    """
    nodes = count if preset.distributed else 1
    return (
        machine.exists
        and machine.gpu_resource == GPU
        and machine.arch == "amd64"
        and nodes * machine.gpus >= preset.gpu_count
        and machine.gpu_memory_per_gpu_gib >= preset.per_gpu_memory_gib
        and nodes * machine.gpu_memory_gib >= preset.total_gpu_memory_gib
    )


def _label_faults(where: str, labels: Any) -> Iterator[Problem]:
    for key, value in _map(labels).items():
        if not _is_label_key(key):
            yield _error(f"{where}[{key[:80]}]", "KW113", f"{key[:80]!r} is not a label's key")
        elif isinstance(value, str) and not _is_label_value(value):
            yield _error(f"{where}[{key}]", "KW113", f"{value[:80]!r} is not a label's value")


def _secret_faults(where: str, secrets: list[Any]) -> Iterator[Problem]:
    for index, secret in enumerate(secrets):
        if isinstance(secret, str) and not is_dns_name(secret):
            yield _error(f"{where}[{index}]", "KW148", f"{secret[:80]!r} is not a Secret's name")


def _image_faults(where: str, image: Any) -> Iterator[Problem]:
    if isinstance(image, str) and image and (fault := image_fault(image)):
        yield _error(where, "KW145", fault)


def _adapter_source(where: str, source: Mapping[str, Any]) -> Iterator[Problem]:
    image = source.get("image")
    others = [key for key in ("urls", "volumeSource") if source.get(key)]
    if others:
        yield _error(f"{where}.{others[0]}", "KW151", f"{others[0]} cannot hold an adapter", "use image")
    elif image is None or image == "":
        yield _error(f"{where}.image", "KW151", "the adapter has no image")
    yield from _image_faults(f"{where}.image", image)
    yield from _secret_faults(f"{where}.imagePullSecrets", _list(source.get("imagePullSecrets")))


# --- update -----------------------------------------------------------------------------------------------


def update_problems(old: Object, new: Object) -> list[Problem]:
    """What forbids turning the Workspace `old` into `new`; the rules for `new` by itself are not repeated.

    Fields left out count as their defaults, as they do for the API server.

    Guarantee: never raises, whatever JSON the objects are made of.
    """
    return list(_update_problems(_map(old), _map(new)))


def _update_problems(old: Object, new: Object) -> Iterator[Problem]:
    for part in ("inference", "tuning"):
        before, after = old.get(part) is not None, new.get(part) is not None
        if before != after:
            yield _error(part, "KW180", f"{part} cannot be {'removed' if before else 'added'}")
    defaults: dict[str, Any] = {"count": 1}
    if WORKSPACE_V1BETA1.api_version not in (old.get("apiVersion"), new.get("apiVersion")):
        defaults["instanceType"] = DEFAULT_INSTANCE_TYPE
    was, will = (
        defaults | {key: value for key, value in _map(obj.get("resource")).items() if value is not None}
        for obj in (old, new)
    )
    for key in ("count", "instanceType", "labelSelector"):
        if was.get(key) != will.get(key):
            yield _immutable(f"resource.{key}", was.get(key), will.get(key))
    if old.get("inference") is not None and new.get("inference") is not None:
        yield from _inference_changes(_map(old["inference"]), _map(new["inference"]))
    if old.get("tuning") is not None and new.get("tuning") is not None:
        yield from _tuning_changes(_map(old["tuning"]), _map(new["tuning"]))


def _inference_changes(old: Object, new: Object) -> Iterator[Problem]:
    was, will = _preset_with_defaults(old.get("preset")), _preset_with_defaults(new.get("preset"))
    if was != will:
        yield _immutable("inference.preset", dig(was, "name"), dig(will, "name"))
    before, after = old.get("template"), new.get("template")
    if (before is None) != (after is None):
        yield _error(
            "inference.template", "KW182", f"the template cannot be {'set' if before is None else 'unset'}"
        )
    elif before != after:
        yield _warning(
            "inference.template",
            "KW183",
            "KAITO does not apply a changed template",
            "delete the Workspace and create it anew",
        )


def _tuning_changes(old: Object, new: Object) -> Iterator[Problem]:
    if _preset_with_defaults(old.get("preset")) != _preset_with_defaults(new.get("preset")):
        yield _immutable("tuning.preset", dig(old, "preset", "name"), dig(new, "preset", "name"))
    if _text(old.get("method")).lower() != _text(new.get("method")).lower():
        yield _immutable("tuning.method", old.get("method"), new.get("method"))
    if dig(old, "input", "name") != dig(new, "input", "name"):
        yield _immutable("tuning.input.name", dig(old, "input", "name"), dig(new, "input", "name"))


def _preset_with_defaults(preset: Any) -> Any:
    if not isinstance(preset, dict):
        return preset
    return {"accessMode": "public", **preset, "presetOptions": preset.get("presetOptions") or {}}


def _immutable(where: str, old: Any, new: Any) -> Problem:
    same = "" if isinstance(old, dict) or old == new else f" from {old!r} to {new!r}"
    return _error(where, "KW181", f"{where} cannot change{same}", "delete the Workspace and create it anew")
