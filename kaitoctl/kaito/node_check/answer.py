"""The answer of a node check, as data: rules, findings, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import force_setattr

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.node_check.sharing import Sharing

Level = Literal["fail", "warn", "pass"]
Stage = Literal["selection", "scheduling", "model"]

PROVISIONERS = ("azure-gpu-provisioner", "karpenter", "byo")
"""The values of `--node-provisioner` of KAITO v0.12."""


class Rules(Struct, frozen=True):
    """Whose selection a verdict mirrors.

    Args:
        target: `kaitoctl` (our own controller), or a KAITO version of `catalog.TARGETS`.
        provisioner: one of `PROVISIONERS`; counts from v0.12 on.
        catalog: of presets and instance types.
        context: the tokens that the ConfigMap of `inference.config` asks for; 0 where it does not say.
        nobody: why nobody creates nodes; empty where somebody does, and for KAITO's byo.
        made_for: for `kaitoctl`, the labels that say for which Workspace alone a node was made, where its
            controller was given a provisioner that makes them so: name and namespace.
    """

    target: str = "kaitoctl"
    provisioner: str = "azure-gpu-provisioner"
    catalog: Catalog = SHIPPED
    context: int = 0
    nobody: str = ""
    made_for: tuple[str, ...] = ()

    @property
    def is_modern(self) -> bool:
        """Whether nodes are chosen by labels alone, as from v0.12 on."""
        return self.target == "v0.12"

    @property
    def is_byo(self) -> bool:
        """Whether nobody creates nodes, and KAITO looks at the GPU labels of those that there are."""
        return self.is_modern and self.provisioner == "byo"


OWN_RULES = Rules()


def nobody_creates(provisioner: str) -> str:
    """Why nobody creates nodes, where a provisioner is not served or creates none (`byo`)."""
    if provisioner == "byo":
        return "this controller asks for none (--node-provisioner byo)"
    means = "NodePool" if provisioner == "karpenter" else "NodeClaim"
    return f"this cluster has no {means} API that could create them"


# What a node is, beside its labels, taints and free devices.
_UNSEEN_BY_SCHEDULER = frozenset(
    {
        "instance-type-differs", "gpus-shared", "gpus-sliced", "gpu-memory-too-small", "no-bfloat16",
        "gpu-unsupported", "mig-changing", "mig-failed", "gpu-driver-upgrade",
    }
)  # fmt: skip


_TOO_FEW = frozenset({"gpu-unhealthy", "too-few-gpus", "gpus-in-use"})


class Finding(Struct, frozen=True):
    """One thing found out about one node.

    Args:
        code: stable name, a key of `CODES`.
        level: `fail` means that the node will not do.
        message: what is so.
        hint: what to do, in words.
        command: what to do, as a command line; empty when no single command fixes it.
        stage: who objects: KAITO when it selects nodes, the scheduler, or the model when it starts.
    """

    code: str
    level: Level
    message: str
    hint: Advice = ""
    command: Advice = ""
    stage: Stage = "scheduling"

    @property
    def changes_node(self) -> bool:
        """Whether its command changes the node, and does not only show it."""
        return isinstance(self.command, Command) and self.command.words[1] not in ("get", "describe")


class Gpus(Struct, frozen=True):
    """The GPUs of a node, in whole devices of `resource`.

    Args:
        resource: the extended resource's name, empty when the node offers none.
        capacity: devices that the node has.
        allocatable: devices that pods may ask for.
        in_use: devices that unfinished pods hold; None when pods could not be listed.
        product: model from the feature-discovery labels, else the catalogue's; empty when unknown.
        memory_gib: memory that a pod may use of one device, None when unknown.
        sharing: what the devices are, None when each is a GPU of its own.
    """

    resource: str = ""
    capacity: int = 0
    allocatable: int = 0
    in_use: int | None = 0
    product: str = ""
    memory_gib: float | None = None
    sharing: Sharing | None = None

    @property
    def free(self) -> int | None:
        """Devices that a new pod could get now; None when in-use is unknown."""
        return None if self.in_use is None else max(0, self.allocatable - self.in_use)

    @property
    def together(self) -> int:
        """Devices that one pod can use as so many GPUs: of shares and slices fewer than there are."""
        return self.allocatable if self.sharing is None else min(self.allocatable, self.sharing.together)


class NodeVerdict(Struct, frozen=True):
    """What was found out about one node.

    Args:
        name: the node's.
        preferred: whether `preferredNodes` names it.
        gpus: what it offers.
        findings: the one to fix first comes first.
        exists: False for a preferred node that the cluster does not have.
        ready: whether its condition Ready is True.
        instance_type: its label, empty without one.
        labels_asked: how many labels the Workspace asks for.
        labels_to_set: those that it lacks or has with another value, without those that are KAITO's own.
        may_be_labelled: whether setting them takes nothing away from anybody.
        taints: how many keep pods away unless they tolerate them.
        is_provisioned: whether a node provisioner made it.
        usable: whether nothing speaks against it; follows from the findings.
    """

    name: str
    preferred: bool
    gpus: Gpus
    findings: tuple[Finding, ...]
    exists: bool = True
    ready: bool = True
    instance_type: str = ""
    labels_asked: int = 0
    labels_to_set: Mapping[str, str] = field(default_factory=dict)
    may_be_labelled: bool = False
    taints: int = 0
    is_provisioned: bool = False
    usable: bool = True

    def __post_init__(self) -> None:
        force_setattr(self, "usable", all(finding.level != "fail" for finding in self.findings))

    @property
    def recognised(self) -> bool:
        """Whether KAITO would select it, although the scheduler or the model may object."""
        return all(finding.level != "fail" or finding.stage != "selection" for finding in self.findings)

    @property
    def has_all_labels(self) -> bool:
        """Whether it carries the labels that the Workspace asks for, KAITO's own among them."""
        return not self.labels_lacking

    @property
    def labels_lacking(self) -> int:
        """How many of the labels that the Workspace asks for it has not, or with another value."""
        codes = ("label-missing", "of-another-workspace")
        return max(len(self.labels_to_set), sum(finding.code in codes for finding in self.findings))

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that keep it from being used."""
        return tuple(finding for finding in self.findings if finding.level == "fail")

    def may_get_pods(self, gpus: int = 0) -> bool:
        """Whether the scheduler may place pods on a node that is not usable: it does not see why not.

        Args:
            gpus: how many each pod asks for, where that may be less than the node was judged by: pods ask for
                what the smallest of the chosen nodes has; 0 when that is not known.
        """
        free = self.gpus.free if gpus else None
        if free is not None and free < gpus:
            return False
        unseen = _UNSEEN_BY_SCHEDULER | (frozenset() if free is None else _TOO_FEW)
        return not self.usable and all(one.code in unseen for one in self.failures)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What should be known and stops nobody."""
        return tuple(finding for finding in self.findings if finding.level == "warn")

    @property
    def only_labels_are_wrong(self) -> bool:
        """Whether setting `labels_to_set` would make it usable."""
        codes = ("label-missing", "label-differs")
        wrong = [
            finding for finding in self.failures if finding.code in codes and finding.stage == "selection"
        ]
        return bool(self.labels_to_set) and len(wrong) == len(self.failures)


class Verdict(Struct, frozen=True):
    """The answer for a whole Workspace.

    Args:
        required: how many nodes it needs.
        nodes: every node looked at, usable or not, in the order of preference.
        selected: names of the usable nodes that it gets, at most `required`.
        not_found: preferred nodes that do not exist.
        instance_type: what new nodes would be.
        rules: whose selection this mirrors.
        refusal: why KAITO's webhook would refuse the Workspace, whatever nodes it may have; empty when not.
        unsized: the model whose size nobody here knows: it takes `required` nodes or more; else empty.
    """

    required: int
    nodes: tuple[NodeVerdict, ...]
    selected: tuple[str, ...]
    not_found: tuple[str, ...] = ()
    instance_type: str = ""
    rules: Rules = OWN_RULES
    refusal: str = ""
    unsized: str = ""

    @property
    def missing(self) -> int:
        """How many nodes there are too few."""
        return self.required - len(self.selected)

    @property
    def enough(self) -> bool:
        """Whether the Workspace can run on what there is."""
        return self.missing <= 0 and not self.refusal

    @property
    def warned(self) -> int:
        """How many warnings there are about nodes that will be used, or that the user named."""
        chosen = set(self.selected)
        return sum(len(node.warnings) for node in self.nodes if node.preferred or node.name in chosen)

    def suffices(self, *, strict: bool) -> bool:
        """Whether there are enough nodes, as far as that can be known; when strict, without a warning."""
        return self.enough and not self.unsized and not (strict and self.warned)

    @property
    def taken_unusable(self) -> tuple[str, ...]:
        """Nodes that KAITO would select although they cannot be used, while usable ones are missing."""
        if self.missing <= 0 or self.refusal or self.rules.target == "kaitoctl":
            return ()
        taken = [node for node in self.nodes if node.recognised][: self.required]
        return tuple(node.name for node in taken if not node.usable)

    @property
    def would_create(self) -> int:
        """How many nodes the controller would create if the Workspace were applied now."""
        if self.missing <= 0 or self.refusal or self.rules.is_byo or self.rules.nobody:
            return 0
        if self.rules.target == "kaitoctl":  # it buys nothing that somebody has prepared already
            return 0 if self.unusable_preferred else self.missing
        return max(0, self.required - sum(node.recognised for node in self.nodes))

    @property
    def unusable_preferred(self) -> tuple[str, ...]:
        """One sentence for each preferred node that will not be used, missing ones first."""
        preferred = [node for node in self.nodes if node.preferred and not node.usable]
        return tuple(
            f"{node.name}: " + "; ".join(finding.message for finding in node.failures)
            for node in sorted(preferred, key=lambda node: node.exists)
        )

    @property
    def _when_applied(self) -> list[str]:
        count, kind = self.would_create, f"{self.instance_type} node" if self.instance_type else "node"
        new = f"{'at least ' if self.unsized else ''}{count} new {plural(kind, count)}"
        if self.refusal or (self.enough and self.unsized):
            return []
        if self.enough:
            return ["Applying now would create no node."]
        if self.rules.is_byo:
            return ["KAITO creates no nodes here (byo): the Workspace would wait for them."]
        if self.rules.nobody:
            return [f"Nobody creates the missing nodes: {self.rules.nobody}."]
        if self.rules.target == "kaitoctl" and not count:
            return ["The controller would create no node while preferred ones cannot be used."]
        if self.rules.target == "kaitoctl":
            return [f"Applying now would make the controller create {new}."]
        if not count:
            return ["Applying now would make KAITO create no node."]
        return [f"Applying now would make KAITO create {new}."]

    @property
    def required_words(self) -> str:
        """How many nodes it needs, in words: of a model of unknown size, so many at least."""
        return f"at least {self.required}" if self.unsized else str(self.required)

    @property
    def why_unsized(self) -> str:
        """Why nobody here can say how many nodes it takes; empty when that is known."""
        if not self.unsized or self.rules.target == "kaitoctl":
            return self.unsized and f"{self.unsized} is not in the catalog"
        return f"KAITO asks Hugging Face for the size of {self.unsized}"

    @property
    def how_to_size(self) -> Advice:
        """What tells how many nodes a model takes that no catalog has; empty when that is known."""
        if not self.unsized:
            return ""
        return "its config.json tells: " + Command(
            "kaitoctl fit", self.unsized, "--catalog", f"{self.unsized}=FOLDER"
        )

    @property
    def summary(self) -> str:
        """What there is and what applying now would do, in two or three sentences."""
        words = [f"{len(self.selected)} of {self.required_words} required nodes usable."]
        if self.refusal:
            who = "kaitoctl's controller" if self.rules.target == "kaitoctl" else "KAITO"
            words.append(f"{who} would refuse the Workspace: {self.refusal}.")
        words += self._when_applied
        if names := self.taken_unusable:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            words.append(f"KAITO would take {shown} all the same, and the pod there would not run.")
        return " ".join(words)


def plural(what: str, number: int) -> str:
    """`node` or `nodes`."""
    return what if number == 1 else f"{what}s"
