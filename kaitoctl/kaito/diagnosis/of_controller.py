"""Rules about KAITO's controller: its errors, what it cannot get past, and what it is busy with instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito import api, controller_errors
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    denials,
    is_of_now,
    preset_name,
    reason_words,
    rules_of,
    span,
    title_of,
    without_benchmark,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import serves_unmeasured
from kaitoctl.kaito.serving import serving
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, ObjectKey, dig, is_being_deleted, key_of

WORKERS = 5
"""Workspaces that KAITO works on at a time. Source: v0.3.2 to v0.12 `MaxConcurrentReconciles`."""

# Up to v0.8 a pass waits inside until NodeClaims and workloads are ready (`CheckResourceStatus`).
_WAITS_INSIDE = re.compile(r"^KAITO(?: 0\.[0-8](?:\.|:|$)|:)")

# What KAITO's webhook looks at on updates alone: the controller's first write, a finalizer, is one.
_REFUSED_LATER = frozenset({"KW151", "KW152", "KW145"})
_AT_ONCE_S = 5.0
_DOCTOR = Command("kaitoctl doctor")
_CHECK_NODES = Command("kaitoctl check-nodes {workspace} -n {namespace}")
_STATUS = Command("kaitoctl status {workspace} -n {namespace}")
_MIRRORS = Command("kubectl get modelmirrors,jobs,pvc -A")
_LOG = Command("kaitoctl logs {workspace} -n {namespace}")


# What to do about an error, or a reason, of KAITO's: a pattern, the same in words, where to look; `{NAME}`
# are the pattern's groups. Source: KAITO v0.12 pkg/workspace, pkg/sku, pkg/nodeprovision, pkg/modelmirror.
_ADVICE: tuple[tuple[str, str, Command], ...] = (
    (
        r"is forbidden: User \"system:serviceaccount:(?P<space>[^:\"]+):(?P<account>[^\"]+)\"",
        "KAITO's ServiceAccount {account} lacks the right that the message names: its chart grants it",
        Command("kubectl describe clusterrolebindings"),
    ),
    (
        r"conversion webhook for (?P<api>[^\s,]+), Kind=(?P<kind>\w+) failed",
        "the webhook that converts objects of kind {kind} does not answer: start the controller that serves "
        "it; if that is gone for good, whoever owns the CRD takes spec.conversion out of it",
        Command(
            "kubectl get crd -o custom-columns=CRD:.metadata.name,WEBHOOK:"
            ".spec.conversion.webhook.clientConfig.service.name"
        ),
    ),
    (
        r"failed calling webhook|denied the request",
        "the webhook that the message names does not answer, or refuses: check its pods, and what it "
        "objects to",
        Command("kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations"),
    ),
    (
        r"(?i)\b429\b|too many requests",
        "the hub limits how often KAITO asks: it tries again; a token (modelAccessSecret) may ask more often",
        _DOCTOR,
    ),
    (
        r"(?:huggingface|hf)\.co\b",
        "KAITO's own pod asks the hub about the model: check its way there (proxy, firewall, DNS)",
        _DOCTOR,
    ),
    (
        r"no ready nodes found|No nodes found matching",
        "see which nodes have the Workspace's labels, and why they are not Ready",
        _CHECK_NODES,
    ),
    (
        r"(?:missing required nvidia\.com labels|invalid nvidia\.com/gpu\.\w+ value) on node "
        r"(?P<node>[^\s:]+)",
        "the GPU operator's feature discovery writes these labels: check that it runs on that node",
        Command("kubectl get pods -A --field-selector spec.nodeName={node}"),
    ),
    (
        r"bytes is too small|MIG profile \S+ only provides|larger GPU|exceeds GPUs available on node|"
        r"Unsupported SKU",
        "take an instance type that KAITO knows and that has more GPU memory",
        Command("kaitoctl fit {preset}"),
    ),
    (
        r"ConfigMap (?P<name>[\w.-]+) not found|configmaps? \"(?P<other>[^\"]+)\" not found",
        "create ConfigMap {name}{other}, or correct its name in the Workspace",
        Command("kubectl get configmaps -n {namespace}"),
    ),
    (
        r"(?i)resolve access token|secrets? \"(?P<name>[^\"]+)\" not found",
        "create the Secret that modelAccessSecret names, with the key HF_TOKEN",
        Command("kubectl get secrets -n {namespace}"),
    ),
    (
        r"StorageClass \"(?P<name>[^\"]+)\"|ModelStreaming\w*StorageClass",
        "name a StorageClass that there is, of the provisioner that the message asks for",
        Command("kubectl get storageclasses"),
    ),
    (
        r"ServiceAccount \"|no service account configured|ModelStreamingServiceAccount",
        "create the ServiceAccount that the message names, with the annotation that it asks for",
        Command("kubectl get serviceaccounts -n {namespace} -o yaml"),
    ),
    (
        r"\bDownloadOOMKilled\b",
        "the Job that downloads the model needs more memory (modelMirrorDownloadMemory of KAITO's chart)",
        _MIRRORS,
    ),
    (
        r"ModelMirror|\bDownload(?:Failed|Evicted)\b|\bPVC(?:Pending|CreateFailed)\b|JobCreateFailed",
        "a Job downloads the model to the ModelMirror's volume: see both",
        _MIRRORS,
    ),
    (r"SASTokenFetchFailed", "check which identity the pod has, and that it may read the storage", _LOG),
    (r"ImagePullError", "check the image's name, its pull secrets, and the registry", _STATUS),
    (r"OOMKilled|MemoryPressure", "take nodes with more memory, or raise the limit", _STATUS),
    (r"DiskPressure", "take nodes with a larger disk", _STATUS),
    (r"CrashLoopBackOff|ContainerStartError|PodEvicted|Unschedulable", "see the pod, and its log", _STATUS),
    (
        r"no matches for kind \"(?P<kind>\w+)\"",
        "the cluster does not have the kind {kind}, which KAITO asks for: install its CRD with what serves "
        "it (NodeClaims: Karpenter or gpu-provisioner), or let KAITO do without",
        Command("kubectl get crd"),
    ),
    (
        r"NodeClass|NodePool|\bCRD\b",
        "see the NodePool and the node class that it names: their conditions say why",
        Command("kaitoctl doctor"),
    ),
    (
        r"model not registered|failed to get model by name",
        "this KAITO does not know the preset: correct its name, or upgrade KAITO",
        Command("kaitoctl models"),
    ),
    (
        r"revision name conflicts",
        "two of its specs have the same short hash: change the spec once more, or delete the older "
        "ControllerRevision",
        Command("kaitoctl rollout history {workspace} -n {namespace}"),
    ),
)


def _row_of(words: str) -> tuple[re.Match[str], str, Command] | None:
    for pattern, hint, command in _ADVICE:
        if found := re.search(pattern, words):
            return found, hint, command
    return None


def says_what_stops_it(case: Case) -> bool:
    """Whether the controller names an obstacle of which is known what it is, and that is no lack of nodes."""
    rows = (_row_of(f"{item.get('reason') or ''}: {item.get('message') or ''}") for item in denials(case))
    return any(row is not None and row[2] is not _CHECK_NODES for row in rows)


def advice(case: Case, words: str) -> tuple[str, Command]:
    """What to do about an error or a reason of the controller's, and where to look."""
    names = {"workspace": case.name, "namespace": case.namespace, "preset": preset_name(case.workspace)}
    if row := _row_of(words):
        found, hint, command = row
        groups = {key: value or "" for key, value in found.groupdict().items()}
        is_of_preset = "{preset}" in command.words
        look = command if names["preset"] or not is_of_preset else Command("kaitoctl skus")
        return hint.format_map(groups), look.filled({**names, **groups})
    if controller_errors.prospect(words) == "passing":
        return "that passes by itself as a rule: check that the controller runs, and tries again", _DOCTOR
    look = Command("kubectl describe workspace", case.name, *case.in_namespace)
    return "change what it names; the controller retries automatically", look


def stumbles(case: Case) -> Iterator[Cause]:
    """Its last pass ended with an error that the next one will meet again."""
    for item in dig(case.workspace, "status", "conditions") or ():
        error = controller_errors.standing(str(item.get("message") or ""))
        if not error or not is_of_now(case, item):
            continue
        hint, command = advice(case, error)
        yield blame(
            "reconcile-error",
            title_of(case.workspace),
            f"the controller's last pass ended with: {error}",
            [(f"condition {item['type']}", str(item.get("message")))],
            hint=hint,
            command=command,
            weight="fault" if controller_errors.prospect(error) == "final" else "wait",
        )
        return


def failed_benchmark(case: Case) -> Iterator[Cause]:
    """The model serves, but KAITO's benchmark has failed, without which it calls no Workspace ready."""
    if not serves_unmeasured(case.workspace) or not serving(case.seen).is_any:
        return
    told = [
        conditions.find(case.workspace, kind) for kind in (api.WORKSPACE_SUCCEEDED, api.BENCHMARK_COMPLETED)
    ]
    yield blame(
        "benchmark-failed",
        title_of(case.workspace),
        "the model serves, but KAITO does not call it ready: its benchmark failed",
        [(f"condition {item['type']}", reason_words(item)) for item in told if item],
        hint="do without the benchmark: no pod restarts for it; the log of the first pod says why it failed",
        command=without_benchmark(case),
    )


def refused_template(case: Case) -> Iterator[Cause]:
    """A pod or volume is not made: it would give more than writing Workspaces does."""
    for item in denials(case):
        message = str(item.get("message") or "")
        if "inference.template." not in message and ".volumeSource" not in message:
            continue
        from kaitoctl.kaito import custom_pod

        if custom_pod.UNLESS in message:
            yield blame(
                "template-refused",
                title_of(case.workspace),
                message,
                [(f"condition {item['type']}", f"{item.get('reason')}: {message}")],
                hint="take the field out, or ask whoever runs the controller for that option",
                command=Command("kaitoctl explain template-refused"),
            )
            return


def locked_out(case: Case) -> Iterator[Cause]:
    """Admitted when it was created; but KAITO's own first write to it is refused by KAITO's own webhook."""
    if _is_taken_up(case) or not _may_be_kaitos(case) or case.waited_s <= _AT_ONCE_S:
        return
    from kaitoctl.kaito import validation

    rules = [
        problem
        for problem in validation.problems(case.workspace, rules_of(case))
        if problem.severity == "error"
        and problem.code in _REFUSED_LATER
        and problem.path.startswith("inference.adapters")
    ]
    if not rules:
        return
    yield blame(
        "workspace-invalid",
        title_of(case.workspace),
        f"{rules[0].path}: {rules[0].message}; KAITO let it in, and refuses its own controller's first write",
        [
            ("status", "no finalizer, no condition"),
            *((rule.code, f"{rule.path}: {rule.message}") for rule in rules),
        ],
        hint=rules[0].hint or "change the Workspace",
        command=Command("kaitoctl explain", rules[0].code),
    )


def busy(case: Case) -> Iterator[Cause]:
    """All its workers wait inside their passes for other Workspaces; this one's turn does not come."""
    here = case.seen.controllers or ()
    waits = is_being_deleted(case.workspace) or not _is_taken_up(case)
    if not waits or len(case.seen.waiting) < WORKERS or not any(map(_WAITS_INSIDE.match, here)):
        return
    if case.seen.claims and any(map(is_being_deleted, case.seen.claims)):
        return  # its turn has come: nodes go
    age_s = max(case.waited_s, case.age_s(case.workspace["metadata"].get("deletionTimestamp")))
    if not is_being_deleted(case.workspace) and age_s <= _AT_ONCE_S:
        return
    names = [str(key) for key in case.seen.waiting]
    first = case.seen.waiting[0]
    yield blame(
        "controller-busy",
        title_of(case.workspace),
        f"KAITO works on {WORKERS} Workspaces at a time, and {len(names)} that are not ready keep it waiting",
        [("cluster", words) for words in here]
        + [
            ("other Workspaces", f"not ready: {', '.join(names[:WORKERS])}"),
            ("status", f"for {span(age_s)}"),
        ],
        hint="check what these wait for: each holds a worker until it is ready, 30 minutes at most",
        command=Command("kaitoctl why", first.name, "-n", first.namespace),
        weight="wait",
    )


def waiting(workspaces: Iterable[Object], but: ObjectKey) -> tuple[ObjectKey, ...]:
    """The other Workspaces that a controller has begun with and not brought to an end, for `Snapshot`."""
    found = []
    for item in workspaces:
        begun = dig(item, "status", "conditions") and not is_being_deleted(item)
        if begun and key_of(item) != but and not conditions.is_true(item, api.WORKSPACE_SUCCEEDED):
            found.append(key_of(item))
    return tuple(sorted(found))


def is_kaito_here(controllers: Iterable[str] | None) -> bool:
    """Whether KAITO is among what manages Workspaces in the cluster, in words."""
    return any(words.startswith("KAITO") for words in controllers or ())


def does_kaito_run(controllers: Iterable[str] | None) -> bool:
    """Whether KAITO has a pod that is ready, as far as the words say: one that has none fails on nothing."""
    return any(words.startswith("KAITO") and ", 0 of " not in words for words in controllers or ())


def _may_be_kaitos(case: Case) -> bool:
    return case.seen.controllers is None or is_kaito_here(case.seen.controllers)


def _is_taken_up(case: Case) -> bool:
    found = dig(case.workspace, "status", "conditions") or ()
    return any(is_of_now(case, item) for item in found) or bool(case.seen.workloads)
