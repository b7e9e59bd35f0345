"""What each code of a fleet means, for people: `kaitoctl explain CODE` and docs/fleets.md print this table.

A set also has the codes of the Workspaces that it makes.

Source: KAITO v0.12.0, `api/v1beta1/inferenceset_validation.go`,
`api/v1alpha1/multiroleinference_validation.go`, `api/v1alpha1/modelmirror_validation.go`,
`pkg/inferenceset` and `pkg/controllers/multiroleinference`.
"""

from __future__ import annotations

from collections.abc import Mapping

from kaitoctl.kaito.validation.codes import Code

_NEW = "v0.12"

CODES: Mapping[str, Code] = {
    "KW300": Code(
        "a fleet that is not served, or that nobody works on",
        "The API version or the kind is unknown to the KAITO in question, or the gate of its controller is "
        "off. InferenceSets came with v0.8 in v1alpha1, and are in v1beta1 and on by default since v0.11. "
        "MultiRoleInferences are in v1alpha1, and off by default; so are ModelMirrors, since v0.11.",
        "v0.3 to v0.12",
        ("The API server answers 404; with the gate off, the object is stored and nothing happens.",),
    ),
    "KW301": Code(
        "a fleet's name that is not a DNS label",
        "The name begins those of the replicas: at most 63 lower-case letters, digits and hyphens.",
        _NEW,
        ("`invalid value: a lowercase RFC 1123 label must consist of ...: name`",),
    ),
    "KW302": Code(
        "an instance type that does not go with the provisioner",
        "Where KAITO makes nodes, instanceType is needed; with nodes of your own it must be left out.",
        _NEW,
        (
            "`missing field(s): spec.template.resource.instanceType`",
            "`instanceType must be empty when nodeProvisioner is byo`",
        ),
    ),
    "KW303": Code(
        "a maintenance window that is not one",
        "The schedule is cron with five fields (minute, hour, day, month, day of the week; UTC), or a "
        "descriptor such as @daily; the duration is one of Go, such as 4h, and above 0.",
        _NEW,
        (
            "`missing field(s): spec.autoUpgrade.maintenanceWindow.schedule`",
            "`invalid cron expression: ...: spec.autoUpgrade.maintenanceWindow.schedule`",
            "`must be a positive duration: spec.autoUpgrade.maintenanceWindow.duration`",
        ),
    ),
    "KW304": Code(
        "a changed partition",
        "template.resource.partition cannot change; preset, adapters, instanceType and labelSelector can.",
        _NEW,
        ("`field is immutable: spec.template.resource.partition`",),
    ),
    "KW305": Code(
        "nodeCountLimit limits nothing",
        "The field is stored, and no code reads it: any number of nodes may be made, and paid for.",
        _NEW,
    ),
    "KW306": Code(
        "an updateStrategy that is not read, or cannot be used",
        "KAITO stores updateStrategy and no code of it reads it. kaitoctl's own controller does: type "
        "RollingUpdate or OnDelete, and below rollingUpdate maxUnavailable, maxSurge, partition (replicas "
        "that keep the old template) and maxFailures.",
        "v0.12, kaitoctl",
    ),
    "KW307": Code(
        "kaito.sh/runtime on the set alone",
        "The annotation on the set steers its benchmark and its gateway. The replicas read their own, which "
        "come from spec.template.metadata.annotations: without it there they run vLLM.",
        _NEW,
    ),
    "KW308": Code(
        "the label of the documents that does not exist",
        "KAITO's documents select replicas by kaito.sh/inferenceset=NAME. No code writes that label; every "
        "replica has inferenceset.kaito.sh/created-by=NAME.",
        _NEW,
    ),
    "KW309": Code(
        "metadata of the template that is not read",
        "Labels and annotations of spec.template.metadata are copied to the replicas, and nothing else of "
        "it; inferenceset.kaito.sh/created-by is overwritten.",
        _NEW,
    ),
    "KW310": Code(
        "a changed template that does not reach the replicas",
        "KAITO makes new replicas from the new template and leaves those that exist as they are. "
        "InferenceSetReady stays True, and no event says that the fleet is mixed. "
        "`kaitoctl rollout fleet NAME` carries the template to them; kaitoctl's own controller does it "
        "itself.",
        _NEW,
    ),
    "KW311": Code(
        "an upgrade that does not happen",
        "autoUpgrade works while KAITO's gate enableBaseImageAutoUpgrade is on, which it is not by default.",
        "v0.12, kaitoctl",
    ),
    "KW320": Code(
        "a MultiRoleInference without a model",
        "spec.model.name names the preset, or the model at Hugging Face.",
        _NEW,
        ("`missing field(s): spec.model.name`",),
    ),
    "KW321": Code(
        "a MultiRoleInference that selects no nodes",
        "spec.labelSelector must have a label or an expression.",
        _NEW,
        ("`labelSelector must have at least one matchLabels or matchExpressions entry`",),
    ),
    "KW322": Code(
        "roles that are not one prefill and one decode",
        "There are exactly two roles.",
        _NEW,
        (
            "`exactly one prefill and one decode role required`",
            "`exactly 2 roles required (one prefill, one decode), got N: spec.roles`",
        ),
    ),
    "KW323": Code(
        "a changed model",
        "spec.model.name cannot change.",
        _NEW,
        ('`model name is immutable, was "A", now "B": spec.model.name`',),
    ),
    "KW324": Code(
        "nodes without the labels of their role",
        "The sets of a MultiRoleInference select nodes by two labels more than it says: "
        "multiroleinference.kaito.sh/created-by=NAME and kaito.sh/inference-role=ROLE. On nodes of your own, "
        "nobody but you puts them there.",
        _NEW,
        ("`No nodes found matching the specified label selector`, of the role's Workspaces",),
    ),
    "KW330": Code(
        "a ModelMirror that nothing can be made of",
        "A Managed mirror (the default) needs source.registry, source.modelID, storage.size, a "
        "storage.storageClassName that exists, and jobNamespace. A Static one stands for a store that has "
        "the weights: source and storage are refused of it, jobNamespace and serviceAccountName not read.",
        _NEW,
        (
            "`missing field(s): spec.source`, `spec.storage`, `spec.storage.storageClassName` ...",
            "`must not set the field(s): spec.source`, `spec.storage`",
            "`invalid value: SIZE: spec.storage.size`; the same of a StorageClass that is not there",
            "without jobNamespace it is admitted, and `failed to create PVC` for ever",
        ),
    ),
    "KW331": Code(
        "a changed ModelMirror",
        "The spec of a ModelMirror cannot change: delete it and recreate it. Its volume goes with it.",
        _NEW,
        ("`ModelMirror spec is immutable; delete and recreate to change: spec`",),
    ),
}
"""Every code that a problem of a fleet can carry besides those of Workspaces."""
