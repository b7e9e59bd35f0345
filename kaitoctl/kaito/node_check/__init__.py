"""Workspace x Nodes x Pods x catalog -> Verdict: which nodes the Workspace will use, and why not the others.

KAITO lists nodes by the Workspace's labels first and drops what does not fit without a word
(`preferredNodes` cannot override that). Here every node that somebody could expect to be used gets its
findings, each with the command that fixes it. The controller, `create workspace` and `check-nodes` ask the
same function; `Rules` says whose selection it mirrors.

Source of the rules: KAITO v0.3.2, v0.4.0 and v0.12, `pkg/workspace/controllers` (selection), and the
kube-scheduler's own conditions (allocatable, cordon, taints), which KAITO does not look at.

`need` reads the Workspace (`by_size`: from KAITO v0.12 on, from what its model takes) and `facts` the nodes;
`sharing` and `taints` are what is known of their subjects; `of_...` make the findings, a module for each
subject; `allowed_changes` decides which commands may be printed; `judge` puts it together, for one of those
nodes that are `alike`; `answer` is the result as data, `codes` explains the findings. `inventory`, for
itself, counts all GPUs by who holds them.
"""

from kaitoctl.kaito.node_check.allowed_changes import could_be_labelled
from kaitoctl.kaito.node_check.answer import (
    OWN_RULES,
    PROVISIONERS,
    Finding,
    Gpus,
    NodeVerdict,
    Rules,
    Verdict,
    nobody_creates,
    plural,
)
from kaitoctl.kaito.node_check.cordons import ANNOTATIONS as READ_ANNOTATIONS
from kaitoctl.kaito.node_check.facts import LABEL_COUNT, trimmed
from kaitoctl.kaito.node_check.judge import (
    Crowd,
    capability,
    conclude,
    crowds,
    gpus_held,
    gpus_per_pod,
    holds_devices,
    is_own_pod,
    judge_node,
    keeping,
    offers_gpus,
    pods_of_others,
    take_room,
    verdict,
    what_counts,
    why_no_gpu,
)
from kaitoctl.kaito.node_check.need import (
    TOLERATIONS,
    Need,
    devices_asked,
    instance_type_of,
    instance_types_meant,
    judging_key,
    labels_asked,
    labels_read,
    need_of,
    of_replicas,
    planned_nodes,
    preferred_nodes,
    replicas_of,
    required_nodes,
    rules_for,
    written_node_count,
)
from kaitoctl.kaito.node_check.sharing import mig_slices

__all__ = [
    "LABEL_COUNT",
    "OWN_RULES",
    "PROVISIONERS",
    "READ_ANNOTATIONS",
    "TOLERATIONS",
    "Crowd",
    "Finding",
    "Gpus",
    "Need",
    "NodeVerdict",
    "Rules",
    "Verdict",
    "capability",
    "conclude",
    "could_be_labelled",
    "crowds",
    "devices_asked",
    "gpus_held",
    "gpus_per_pod",
    "holds_devices",
    "instance_type_of",
    "instance_types_meant",
    "is_own_pod",
    "judge_node",
    "judging_key",
    "keeping",
    "labels_asked",
    "labels_read",
    "mig_slices",
    "need_of",
    "nobody_creates",
    "of_replicas",
    "offers_gpus",
    "planned_nodes",
    "plural",
    "pods_of_others",
    "preferred_nodes",
    "replicas_of",
    "required_nodes",
    "rules_for",
    "take_room",
    "trimmed",
    "verdict",
    "what_counts",
    "why_no_gpu",
    "written_node_count",
]
