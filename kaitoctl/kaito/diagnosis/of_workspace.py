"""Rules about the Workspace itself: its name, its spec, its controller."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, controller_errors
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    claim_warnings,
    controller_words,
    denials,
    is_creating,
    is_of_now,
    observed_generation,
    reason_words,
    rules_of,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_controller import advice, is_kaito_here
from kaitoctl.kaito.revisions import has_same_data
from kaitoctl.kaito.serving import serving
from kaitoctl.kaito.snapshot import is_at_work
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import (
    Object,
    annotations_of,
    controller_of,
    dig,
    generation_of,
    uid_of,
)

_TAKEN_UP_WITHIN_S = 5.0
_OBSERVED_WITHIN_S = 15.0
_PASSES_WITHIN_S = 600.0
_BEGINS_WITHIN_S = 180.0
_SILENT = (
    "check whether its pod crashes or lacks rights; "
    + Command("kaitoctl validate")
    + " finds what KAITO fails on silently"
)


def clash(case: Case) -> Iterator[Cause]:
    """Something else has the name of one of its children."""
    for obj in (*case.seen.workloads, *case.seen.jobs, *case.seen.services):
        owner = controller_of(obj)
        if owner is not None and owner.get("uid") == uid_of(case.workspace):
            continue
        whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "has no owner"
        kind = str(obj["kind"])
        name = obj["metadata"]["name"]
        yield blame(
            "name-conflict",
            title_of(obj),
            f"{kind} {name} {whose}, and the Workspace needs the name",
            [
                ("metadata", f"created {obj['metadata'].get('creationTimestamp')}, {whose}"),
                *controller_words(case),
            ],
            hint="give the Workspace another name, or move that object away",
            command=Command("kubectl get", kind.lower(), name, *case.in_namespace, "-o", "yaml"),
        )


# Refusals of the cluster's, which no rule about manifests explains; KAITO's own webhook may repeat one.
_OF_CLUSTER = (
    r"(?i)\bis forbidden\b|exceeded quota|no matches for kind|request is too large|space exceeded|"
    r"admission webhook \"(?![^\"]*kaito\.sh)[^\"]*\" denied|failed calling webhook"
)
_BESIDE = "to have it so, create another Workspace beside it and delete this one when the other serves"
_IMMUTABLE = r"(?i)field is immutable|updates to statefulset spec|may not change|cannot be changed"


def immutable(case: Case) -> Iterator[Cause]:
    """A change that what was made before cannot follow."""
    look = Command("kaitoctl rollout history", case.name, *case.in_namespace)
    for item in dig(case.workspace, "status", "conditions") or ():
        words = str(item.get("message") or "")
        if item.get("status") != "True" and re.search(_IMMUTABLE, words):
            message = "a change needs a field of an existing object to change that cannot"
            yield blame(
                "immutable-field",
                title_of(case.workspace),
                message,
                [(f"condition {item['type']}", words)],
                hint=f"change the field back; {_BESIDE}",
                command=look,
            )
            return
    revisions = sorted(case.seen.revisions, key=lambda item: int(item.get("revision") or 0))
    # What kaitoctl's own controller has applied is recorded: it was no such change.
    if not revisions or (case.seen.is_ours and any(has_same_data(one, case.workspace) for one in revisions)):
        return
    from kaitoctl.kaito import validation

    before = revisions[0]
    data = before.get("data") or {}
    parts = {part: data.get(part) for part in ("resource", "inference", "tuning") if data.get(part)}
    old = {
        **{key: value for key, value in case.workspace.items() if key not in ("inference", "tuning")},
        **parts,
    }
    problems = validation.update_problems(old, case.workspace, rules_of(case))
    changed = [item for item in problems if item.severity == "error"]
    if changed:
        yield blame(
            "immutable-field",
            title_of(case.workspace),
            f"{changed[0].path} was changed after the Workspace was created",
            [
                (f"ControllerRevision {before['metadata']['name']}", f"{item.path}: {item.message}")
                for item in changed
            ],
            hint=f"change it back; {_BESIDE}",
            command=Command(
                "kubectl patch workspace",
                case.name,
                *case.in_namespace,
                "--type",
                "merge",
                "-p",
                _back(case.workspace, old, [item.path for item in changed]),
            ),
        )


def _back(workspace: Object, old: Object, paths: list[str]) -> str:
    """The merge patch, as JSON, that gives fields the values that they had before."""
    patch: Object = {}
    for path in paths:
        steps = path.split(".")
        while len(steps) > 1 and dig(old, *steps[:-1]) is None:
            steps = steps[:-1]
        *above, last = steps
        inside = patch
        for step in above:
            inside = inside.setdefault(step, {})
        inside[last] = _difference(dig(workspace, *steps), dig(old, *steps))
    return json.dumps(patch, separators=(",", ":"))


def _difference(now: object, then: object) -> object:
    if not (isinstance(now, dict) and isinstance(then, dict)):
        return then
    gone = {key: None for key in now if key not in then}
    return gone | {
        key: _difference(now.get(key), value) for key, value in then.items() if now.get(key) != value
    }


_NO_SECRET = re.compile(r"Secret (\S+) \(tuning\.output\.imagePushSecret\) does not exist")


# workspace_controller/decisions.py: refusal_of
_TOO_MANY_NODES = re.compile(r"(resource\.count|the model takes) \d+ (?:is|nodes,) more than the \d+ nodes")


def _way_out(case: Case, words: str) -> tuple[Advice, Command]:
    """What ends a refusal of our own controller: an edit cannot change each field."""
    from kaitoctl.kaito.desired import size_unknown  # most are refused nothing

    name = str(dig(case.workspace, "inference", "preset", "name"))
    recreate = "delete the Workspace, and create it again"
    if words == size_unknown(name):
        hint = f"start the controller again with --catalog {name}=FOLDER: it reads the config.json there"
        return f"{hint}; or take a model that it knows", Command("kaitoctl explain KW149")
    if found := _NO_SECRET.fullmatch(words):
        from kaitoctl.kaito.diagnosis.of_registries import for_registry

        registry = str(dig(case.workspace, "tuning", "output", "image")).partition("/")[0]
        return "create it: the controller looks again", for_registry(case, found[1], registry)
    if (found := _TOO_MANY_NODES.match(words)) and found[1] == "resource.count":
        return f"{recreate} with fewer nodes", Command("kaitoctl delete", case.name, *case.in_namespace)
    if found:
        hint = f"the instance type is too small, and cannot change: {recreate} with one of these"
        return hint, Command("kaitoctl fit", name)
    hint = "the controller refuses what the Workspace asks for: change that"
    return hint, Command("kaitoctl edit", case.name, *case.in_namespace)


def invalid(case: Case) -> Iterator[Cause]:
    """The controller refused it, or stumbled: by which rule."""
    refused = [
        item
        for item in dig(case.workspace, "status", "conditions") or ()
        if item.get("status") == "False"
        and (
            str(item.get("reason")).endswith("StatusFailed")
            or controller_errors.standing(str(item.get("message") or ""))
        )
        and is_of_now(case, item)
    ]
    words = [
        str(item.get("message") or "") for item in refused if item.get("type") != api.WORKSPACE_SUCCEEDED
    ]
    if case.seen.is_ours and len(words) > 1 and len(set(words)) == 1 and words[0]:
        # Our controller says the same of nodes and of the server only where it builds nothing at all.
        hint, command = _way_out(case, words[0])
        yield blame(
            "workspace-invalid",
            title_of(case.workspace),
            words[0],
            [(f"condition {item['type']}", reason_words(item)) for item in refused],
            hint=hint,
            command=command,
        )
        return
    if case.seen.workloads or case.seen.jobs or case.seen.claims or not (refused or _is_silent(case)):
        return
    if not refused and case.waited_s <= _TAKEN_UP_WITHIN_S:
        return
    is_clusters = any(re.search(_OF_CLUSTER, str(item.get("message") or "")) for item in refused)
    if is_clusters or (claim_warnings(case) and _is_turned_down(case)):
        return  # what the cluster says outranks what our rules make of the manifest
    from kaitoctl.kaito import validation

    judged = validation.problems(case.workspace, rules_of(case))
    rules = [item for item in judged if item.severity == "error"]
    if rules:
        evidence = [(f"condition {item['type']}", str(item.get("message"))) for item in refused[:1]]
        evidence += [(item.code, f"{item.path}: {item.message}") for item in rules]
        yield blame(
            "workspace-invalid",
            title_of(case.workspace),
            f"{rules[0].path}: {rules[0].message}" if rules[0].path else rules[0].message,
            evidence,
            hint=rules[0].hint or "change the Workspace",
            command=Command("kaitoctl explain", rules[0].code),
        )


def _is_turned_down(case: Case) -> bool:
    """Whether nodes were asked for, and not given."""
    from kaitoctl.kaito.diagnosis.gone_claims import is_turned_down  # few have lost a claim

    return is_turned_down(case)


def controller(case: Case) -> Iterator[Cause]:
    """Nobody has taken it up, or nobody has taken the last change up."""
    waited_s = case.waited_s
    here = case.seen.controllers
    evidence = [("cluster", words) for words in here or ()]
    if here == ():
        evidence = [("cluster", "no KAITO and no kaitoctl controller was found in any namespace")]
    found = dig(case.workspace, "status", "conditions") or []
    serves = bool(case.seen.workloads) and serving(case.seen).is_any
    # A node that was asked for is the mark of a controller; what keeps that node is a cause of its own.
    asked = any(not conditions.is_true(claim, "Ready") for claim in case.seen.claims)
    is_idle = serves or not (case.seen.workloads or asked)
    if not found and is_idle and waited_s > _TAKEN_UP_WITHIN_S:
        silent = serves or _is_silent(case)
        message = (
            f"{'the model serves' if serves else 'a controller has marked the Workspace'}, and no status has "
            f"been written in {span(waited_s)}"
            if silent
            else f"no controller has taken the Workspace up in {span(waited_s)}"
        )
        evidence.insert(0, ("status", "it has no conditions"))
        yield blame(
            "controller-silent" if silent else "controller-not-running",
            title_of(case.workspace),
            message,
            evidence,
            hint=_SILENT if silent and here != () and not _is_halted(here) else _start(here),
            command=Command("kaitoctl doctor"),
        )
    elif found and all(observed_generation(item) < generation_of(case.workspace) for item in found):
        newest = max(map(observed_generation, found))
        yield blame(
            "generation-not-observed",
            title_of(case.workspace),
            f"its conditions are of generation {newest}, and it is at {generation_of(case.workspace)}",
            evidence,
            hint="check that the controller runs",
            command=Command("kaitoctl doctor"),
            weight="fault" if case.seen.is_ours and (here == () or _is_overdue(case)) else "wait",
        )


def _is_overdue(case: Case) -> bool:
    """Whether a controller that marks each generation it has seen has had the time for this one."""
    return case.age_s(case.seen.written_at) > _OBSERVED_WITHIN_S


def _is_halted(here: tuple[str, ...] | None) -> bool:
    """Whether it is known why the pods of a controller do not run."""
    return any("; pod " in words for words in here or ())


def _start(here: tuple[str, ...] | None) -> Advice:
    """What to do where no controller takes a Workspace up; a second one beside KAITO's would fight it."""
    if here is None:
        return "ask who may list Deployments whether KAITO is installed, and whether its pod is ready"
    if _is_halted(here):
        return "the controller is installed and does not run: fix what its pod says"
    if is_kaito_here(here):
        return "KAITO is installed: check whether its pod is ready, who holds its lease, and its log"
    if here:
        return "check whether kaitoctl's controller is ready, who holds its lease, and its log"
    return "start KAITO's controller, or manage Workspaces with: " + Command("kaitoctl run-controller")


def _is_coming(case: Case, pod: Object) -> bool:
    """Whether a pod loads or pulls, or its node has just begun with it."""
    age_s = case.age_s(pod["metadata"].get("creationTimestamp"))
    return is_at_work(case.seen, pod) or (is_creating(pod) and age_s <= _BEGINS_WITHIN_S)


def controller_message(case: Case) -> Iterator[Cause]:
    """What the controller itself says; for when nothing else was found."""
    for item in denials(case):
        if "Pending" in str(item.get("reason")) or not item.get("message"):
            continue
        reason, (message, error) = (
            str(item.get("reason") or ""),
            controller_errors.split(str(item["message"])),
        )
        words = "; the controller's last error: ".join(filter(None, (message, error)))
        is_passing = not case.seen.is_ours and controller_errors.prospect(error or message) == "passing"
        if is_passing and case.age_s(item.get("lastTransitionTime")) <= _PASSES_WITHIN_S:
            continue  # KAITO's own lost update, say: the next pass heals it
        if is_passing and not error and any(_is_coming(case, pod) for pod in case.pods):
            continue  # up to v0.8 it waits inside a pass for its pods, and writes nothing meanwhile
        hint, command = advice(case, f"{reason}: {words}")
        if "RESPONSE " in words:
            from kaitoctl.kaito.diagnosis import cloud_errors  # clouds speak thus, and few others

            words = cloud_errors.plain(words)
        yield blame(
            "controller-says",
            title_of(case.workspace),
            words,
            [(f"condition {item['type']}", f"{reason}: {item.get('message')}")],
            hint=hint,
            command=command,
            weight="fault" if case.progress.outcome == "failed" else "wait",
        )
        return


def _is_silent(case: Case) -> bool:
    """Whether a controller has left its mark, and nothing else."""
    marked = api.FINALIZER in (case.workspace["metadata"].get("finalizers") or ())
    marked = marked or any(key.startswith("workspace.kaito.io/") for key in annotations_of(case.workspace))
    return marked and not dig(case.workspace, "status", "conditions")
