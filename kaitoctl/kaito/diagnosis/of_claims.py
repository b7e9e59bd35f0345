"""Rules about nodes that were asked for: NodeClaims (Machines of KAITO v0.3), NodePools; see `karpenter`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, catalog, kubectl_hints, node_check
from kaitoctl.kaito.controller_errors import split
from kaitoctl.kaito.diagnosis import karpenter, of_nodes
from kaitoctl.kaito.diagnosis.case import (
    Case,
    blame,
    claim_warnings,
    condition_words,
    denials,
    event_words,
    preset_name,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.launch_failures import launch_failure
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object, dig, is_being_deleted

_TAKEN_UP_WITHIN_S = 60.0
_INITIALIZES_WITHIN_S = 600.0
_PLUGIN_WITHIN_S = 180.0

# Source: EC2 InsufficientInstanceCapacity, "in the Availability Zone you requested (us-west-2b)".
_ZONE = r"Availability Zone you requested \(([a-z]{2}(?:-[a-z]+)+-\d[a-z])\)"
_LIMITS = r"(?i)exceed limits for nodepool|limits have been exhausted|exceed.{0,20}limits"


def claims(case: Case) -> Iterator[Cause]:
    """Nodes that were asked for and are not there, or are on their way out."""
    if case.progress.phase > Phase.SCHEDULING:
        return
    for claim in case.seen.claims:
        if (launched := _held_launch(claim)) is not None:
            yield _not_launched(case, claim, launched)
        elif (event := _launch_event(case, claim)) is not None:
            yield _from_event(
                case, event, [condition_words(_step(claim, "Launched"))], kubectl_hints.describe(claim)
            )
        elif is_being_deleted(claim):
            yield _going(case, claim)
        elif not conditions.is_true(claim, "Ready"):
            yield _turned_down_before(case, claim) or _pending(case, claim)
        elif (found := conditions.find(claim, "ConsistentStateFound")) and found.get("status") == "False":
            yield _inconsistent(case, claim, found)


def launch_message(case: Case) -> Iterator[Cause]:
    """What KAITO passes on of a launch that failed, where its claims are gone or may not be seen.

    Source: KAITO v0.12 pkg/utils/nodeclaim FirstProvisioningError; before that, the message alone.
    """
    if case.seen.claims or case.progress.phase > Phase.SCHEDULING:
        return
    for item in denials(case):
        if not re.fullmatch(r"Resource\w*|NodeClaim\w*|Machine\w*", str(item.get("type"))):
            continue
        reason, why = str(item.get("reason") or ""), split(str(item.get("message") or "")).message
        if karpenter.by_words(f"{reason} {why}").code in ("quota-exceeded", "instance-type-unavailable"):
            look = Command("kubectl describe workspace", case.name, *case.in_namespace)
            about, evidence = title_of(case.workspace), [condition_words(item)]
            yield _launch_cause(case, about, reason, f"{reason} {why}", why, evidence, look)
            return


# --- machines that are not launched --------------------------------------------------------------------


def _held_launch(claim: Object) -> Object | None:
    """The condition of a launch that failed, or is held up; None when it went well or nobody tried yet."""
    launched = _step(claim, "Launched")
    held_up = (
        launched.get("status") == "Unknown" and str(launched.get("reason") or "") not in karpenter.AWAITING
    )
    return launch_failure(claim) or (launched if held_up else None)


def _launch_event(case: Case, claim: Object) -> Object | None:
    """The newest event of a launch that failed, where no condition tells of it: the claim is given up."""
    if _step(claim, "Registered").get("status") == "True":
        return None
    events = (event for event in case.seen.events_of(claim) if event.get("type") == "Warning")
    if (launched := _step(claim, "Launched")).get("status") == "True":  # its machine may fail as it starts
        since = str(launched.get("lastTransitionTime") or "")
        later = (item for item in events if event_time(item) >= since)
        return next((item for item in later if karpenter.tells(" ".join(event_words(item)))), None)
    has_no_condition = not dig(claim, "status", "conditions")  # whoever writes an event has acted on it
    return next((item for item in events if has_no_condition or item.get("reason") in karpenter.LAUNCH), None)


def _from_event(case: Case, event: Object, more: list[tuple[str, str]], look: Command) -> Cause:
    """The cause by an event about a claim."""
    name, reason = str(dig(event, "involvedObject", "name") or ""), str(event.get("reason") or "")
    words = event_words(event)[1]
    why = words.partition(f"NodeClaim {name} event: ")[2] or words
    evidence = [event_words(event), *more]
    return _launch_cause(
        case, f"NodeClaim {name}", reason, f"{reason} {words}", why, evidence, look, name=name
    )


def _not_launched(case: Case, claim: Object, launched: Object) -> Cause:
    reason, why = str(launched.get("reason") or ""), str(launched.get("message") or "")
    evidence = [condition_words(launched), *_warnings(case, claim)]
    words = " ".join((reason, *(said for _, said in evidence)))
    name = str(claim["metadata"]["name"])
    return _launch_cause(
        case, title_of(claim), reason, words, why, evidence, kubectl_hints.describe(claim), name=name
    )


def _launch_cause(
    case: Case,
    about: str,
    reason: str,
    words: str,
    why: str,
    evidence: list[tuple[str, str]],
    look: Command,
    *,
    name: str = "",
    weight: Weight = "fault",
) -> Cause:
    """The cause by a reason of Karpenter's; by the message where the reason is one for everything."""
    known = karpenter.of_launch(reason, words)
    from kaitoctl.kaito.diagnosis import cloud_errors  # most machines are launched

    why = cloud_errors.plain(why)
    evidence = [(source, cloud_errors.plain(said)) for source, said in evidence]
    kind = node_check.instance_type_of(case.workspace)
    preset = preset_name(case.workspace)
    fit = Command("kaitoctl fit", preset) if preset else Command("kaitoctl skus")
    hint: Advice
    if known.code == "quota-exceeded":
        message = f"the cloud's quota does not allow another {kind}"
        if known.of:
            message = f"the cloud's quota of {known.of} does not allow another machine"
        hint = known.hint or "raise the quota, give machines back, or take another family: " + fit
    elif known.code == "instance-type-unavailable":
        zone = re.search(_ZONE, words)
        message = f"the cloud has no {kind or 'such machine'} to give" + (f" in {zone[1]}" if zone else "")
        types = case.seen.catalog.instance_types
        near = [] if kind in types else catalog.close_matches(kind, types)
        hint = f"did you mean {near[0]}?" if near else (known.hint or "wait, or take another type: ") + fit
    elif known.code == "node-class-not-ready":
        message = f"the node class does not let machines be launched: {why or reason}"
        hint = known.hint or "correct the node class (AKSNodeClass, EC2NodeClass); its conditions say more"
    else:
        whose = f"the machine for {name}" if name else "a machine"
        what = "prepared" if re.search(r"(?i)vmssCSE|VMExtension|ScriptExtension", words) else "launched"
        message = f"{whose} could not be {what}: {why or reason or 'no reason is given'}"
        hint = known.hint or "check the message, and the node provisioner's log"
    return blame(
        known.code,
        about,
        message,
        evidence,
        hint=hint,
        command=look,
        weight="wait" if known.passes else weight,
    )


# --- machines that have not joined, or joined and are not ready ----------------------------------------


def _pending(case: Case, claim: Object) -> Cause:
    name, since_s = claim["metadata"]["name"], case.age_s(claim["metadata"].get("creationTimestamp"))
    registered, initialized = _step(claim, "Registered"), _step(claim, "Initialized")
    node_name = str(dig(claim, "status", "nodeName") or "")
    node = case.seen.node(node_name)
    evidence = [
        condition_words(item)
        for item in (_step(claim, "Launched"), registered, initialized)
        if item.get("type") and item.get("status") != "True"
    ][:1] + _of_provider(claim)
    evidence += _warnings(case, claim)
    code, command = "node-claim-pending", kubectl_hints.describe(claim)
    hint: Advice = "nodes take minutes; then check the node provisioner's log"
    if not dig(claim, "status", "conditions"):
        message, within_s = f"no node provisioner has acted on {name} for {span(since_s)}", _TAKEN_UP_WITHIN_S
        hint = "start the node provisioner (gpu-provisioner, Karpenter), or check its log"
        command = Command("kaitoctl doctor")
    elif (launched := _step(claim, "Launched")) and launched.get("status") != "True":
        message = f"the machine for {name} was requested {span(since_s)} ago and has not been launched"
        within_s = karpenter.LAUNCH_WITHIN_S
        hint = "check the node provisioner's log" if since_s > within_s else hint
    elif registered.get("status") != "True":
        message = f"the machine for {name} was requested {span(since_s)} ago and has not joined"
        message += _why_not_registered(registered)
        within_s = 0.0 if registered.get("status") == "False" else karpenter.REGISTER_WITHIN_S
        known = karpenter.REGISTRATION_HINTS.get(str(registered.get("reason") or ""), _JOINS)
        hint = known if since_s > within_s else hint
    elif (found := _not_initialized(case, claim, initialized, node_name, node)) is not None:
        code, message, hint, command = found
        within_s, since_s = _INITIALIZES_WITHIN_S, case.age_s(_since(registered, claim))
    elif node is not None and not node_check.offers_gpus(node):
        ready = conditions.find(node, "Ready") or {}
        since_s, within_s = case.age_s(ready.get("lastTransitionTime")), _PLUGIN_WITHIN_S
        code, message, hint, command = of_nodes.without_gpus(case, node)
        message += f", for {span(since_s)}"
    else:
        ready = _step(claim, "Ready")
        why = str(ready.get("message") or ready.get("reason") or _other_denial(claim) or "no reason is given")
        message = f"NodeClaim {name} is not ready {span(since_s)} after it was requested: {why}"
        code, within_s = "node-not-initialized", _INITIALIZES_WITHIN_S
    weight: Weight = "fault" if since_s > within_s else "wait"
    return blame(code, title_of(claim), message, evidence, hint=hint, command=command, weight=weight)


def _of_provider(claim: Object) -> list[tuple[str, str]]:
    """What conditions say that are not Karpenter's own: a provider's, of which nobody here knows."""
    return [
        condition_words(item)
        for item in dig(claim, "status", "conditions") or ()
        if item.get("status") == "False" and str(item.get("type")).removeprefix("Machine") not in _OWN
    ]


_OWN = ("Launched", "Registered", "Initialized", "Ready", "ConsistentStateFound", "Drifted", "Consolidatable")


def _why_not_registered(registered: Object) -> str:
    """What keeps a machine from being registered, after a colon; empty when it has merely not joined."""
    reason, said = str(registered.get("reason") or ""), str(registered.get("message") or "")
    if reason in karpenter.AWAITING:
        return ""
    waits = karpenter.REGISTRATION.get(reason, said).replace("{message}", said)
    return f": {waits}" if waits else ""


_JOINS = "check its start-up log at the cloud: can it reach the API server, and may it join?"


def _not_initialized(
    case: Case, claim: Object, initialized: Object, node_name: str, node: Object | None
) -> tuple[str, str, Advice, Command] | None:
    """Code, message, hint and command for a node that has joined; None when its claim says nothing of it."""
    reason, said = str(initialized.get("reason") or ""), str(initialized.get("message") or "")
    if initialized.get("status") == "True" or reason in karpenter.AWAITING:
        reason = _of_node(claim, node)
    if not reason:
        return None
    quoted, of_claim = re.search(r'"([^"]{1,200})"', said) or ("", ""), f"of {claim['metadata']['name']}"
    thing = quoted[1]
    if reason in ("StartupTaintsExist", "KnownEphemeralTaintsExist"):
        thing = thing or next(iter(_startup_taints(claim, node)), "(check the node)")
    if reason == "ResourceNotRegistered" and thing in ("", api.GPU):
        if node is not None and not node_check.offers_gpus(node):
            return of_nodes.without_gpus(case, node)
        message = f"node {node_name or of_claim} has joined and shows no {api.GPU}"
        command = kubectl_hints.pods_on(node_name) if node_name else kubectl_hints.describe(claim)
        return "device-plugin-missing", message, of_nodes.PLUGIN_HINT, command
    words = {
        "node": node_name or of_claim,
        "taint": thing,
        "resource": thing,
        "who": karpenter.waits_for(thing),
        "ready": _unready(node, said),
    }
    template = karpenter.INITIALIZATION.get(reason)
    message = (
        template.format_map(words)
        if template
        else f"node {node_name or of_claim} has joined and is not initialized: {said or reason}"
    )
    hint = "check its conditions and taints, and the pods of the node's agents"
    is_there = node_name and node_name not in case.seen.gone and reason != "NodeNotFound"
    command = Command("kubectl describe node", node_name) if is_there else kubectl_hints.describe(claim)
    if reason == "NodeNotFound":
        hint = "check who deleted the Node or the machine; the claim was given up, and another one is created"
    if reason in ("StartupTaintsExist", "KnownEphemeralTaintsExist") and node_name:
        hint = "check that it runs on the node; do not remove the taint by hand"
        command = kubectl_hints.pods_on(node_name)
    return "node-not-initialized", message, hint, command


def _of_node(claim: Object, node: Object | None) -> str:
    """Karpenter's reason, as far as the node itself shows it; a claim without conditions says none."""
    if node is None:
        return ""
    if not conditions.is_true(node, "Ready"):
        return "NodeNotReady"
    return "StartupTaintsExist" if _startup_taints(claim, node) else ""


def _startup_taints(claim: Object, node: Object | None) -> list[str]:
    """The taints of the node that will go when it is ready, as `KEY=VALUE:EFFECT`."""
    declared = {str(item.get("key")) for item in dig(claim, "spec", "startupTaints") or ()}
    return [
        f"{taint.get('key')}{'=' + str(taint['value']) if taint.get('value') else ''}:{taint.get('effect')}"
        for taint in dig(node, "spec", "taints") or ()
        if str(taint.get("key")) in declared
        or karpenter.waits_for(str(taint.get("key"))) != karpenter.waits_for("")
    ]


def _unready(node: Object | None, said: str) -> str:
    """Why the node is not Ready; where it says that it is, or is unseen, what its claim said of it."""
    ready = (conditions.find(node, "Ready") if node else None) or {}
    if said and (not ready or ready.get("status") == "True"):
        ready = {"message": said}
    words = f"{ready.get('reason') or ''}: {ready.get('message') or ''}"
    known = next((what for pattern, what in karpenter.NOT_READY if re.search(pattern, words)), "")
    said = str(ready.get("message") or ready.get("reason") or "it does not say why")
    return f"{known} ({said})" if known else said


# --- machines that go, have gone, or are not what was promised -----------------------------------------


def _going(case: Case, claim: Object) -> Cause:
    """A claim that is being deleted while the Workspace is not."""
    name, since_s = claim["metadata"]["name"], case.age_s(claim["metadata"].get("creationTimestamp"))
    steps = (conditions.find(claim, kind) for kind in ("Registered", *karpenter.DELETION))
    evidence = [
        ("metadata", f"deletionTimestamp {claim['metadata'].get('deletionTimestamp')}"),
        *(condition_words(found) for found in steps if found and found.get("status") != "True"),
    ]
    if _step(claim, "Registered").get("status") != "True" and since_s >= karpenter.REGISTER_WITHIN_S:
        return blame(
            "node-claim-pending",
            title_of(claim),
            f"the machine for {name} did not join within {span(karpenter.REGISTER_WITHIN_S)} and is given up",
            [*evidence, *_warnings(case, claim)],
            hint=_JOINS,
            command=kubectl_hints.describe(claim),
        )
    from kaitoctl.kaito.diagnosis import node_removals  # most nodes stay

    why = node_removals.of_claim(claim, case.seen.events_of(claim))
    message = f"node {dig(claim, 'status', 'nodeName') or 'of ' + name} is being removed"
    return blame(
        "node-claim-terminating",
        title_of(claim),
        f"{message}: {why.words}" if why.words else message,
        [*evidence, *_warnings(case, claim)],
        hint=f"wait for its successor; {why.hint}",
        command=kubectl_hints.describe(claim),
        weight="wait",
    )


def _inconsistent(case: Case, claim: Object, found: Object) -> Cause:
    evidence = _warnings(case, claim)
    said = next((words for _, words in evidence), str(found.get("message") or "it does not say how"))
    return blame(
        "node-claim-inconsistent",
        title_of(claim),
        f"the node of {claim['metadata']['name']} is not what was promised: {said}",
        [condition_words(found), *evidence],
        hint="check the node's GPUs and its device plugin; a machine with a broken GPU has to be replaced",
        command=kubectl_hints.describe(claim),
        weight="wait",
    )


def vanished_claims(case: Case) -> Iterator[Cause]:
    """Claims that were given up and deleted before anybody looked; only their events are left."""
    if case.seen.claims or case.progress.phase > Phase.NODES or case.progress.outcome == "ready":
        return
    if not claim_warnings(case):
        return
    from kaitoctl.kaito.diagnosis import gone_claims  # most have got their nodes

    if (event := next(gone_claims.warnings(case), None)) is not None:
        name = str(dig(event, "involvedObject", "name") or "")
        look = Command("kubectl get events -n default --field-selector", f"involvedObject.name={name}")
        more = [condition_words(item) for item in denials(case)]
        yield _from_event(case, event, [*gone_claims.whose(case, event), *more], look)


def _turned_down_before(case: Case, claim: Object) -> Cause | None:
    """What became of the claim before this one, while nobody has said anything of this one."""
    launched = _step(claim, "Launched")
    if launched.get("status") == "True" or not claim_warnings(case):
        return None
    from kaitoctl.kaito.diagnosis import gone_claims  # most have got their nodes

    if (event := gone_claims.turned_down_before(case)) is None:
        return None
    more = [condition_words(launched)] if launched else []
    more += gone_claims.whose(case, event)
    return _from_event(case, event, more, kubectl_hints.describe(claim))


def pools(case: Case) -> Iterator[Cause]:
    """NodePools that create no nodes (KAITO v0.12 with Karpenter makes one for each Workspace)."""
    if case.progress.phase > Phase.SCHEDULING:
        return
    for pod in case.pods:
        for event in case.seen.events_of(pod):
            if re.search(_LIMITS, words := event_words(event)[1]):
                yield blame(
                    "node-pool-limit",
                    title_of(pod),
                    f"the limits of the node pool allow no further node: {words}",
                    [event_words(event)],
                    hint="raise spec.limits of the NodePool, or free nodes of it",
                    command=Command("kubectl get", kubectl_hints.resource_of(api.NODE_POOL.kind)),
                )
                return
    if any(conditions.is_true(claim, "Launched") for claim in case.seen.claims):
        return
    for pool in case.seen.pools:
        for kind in ("NodeClassReady", "ValidationSucceeded", "NodeRegistrationHealthy"):
            found = conditions.find(pool, kind) or {}
            if found.get("status") != "False":
                continue
            reason, why = str(found.get("reason") or ""), str(found.get("message") or "")
            evidence = [condition_words(found)]
            look = kubectl_hints.describe({"kind": api.NODE_POOL.kind, **pool})
            if kind == "NodeClassReady" and reason not in karpenter.LAUNCH:
                reason, why = "NodeClassNotReady", why or reason
            yield _launch_cause(case, title_of(pool), reason, f"{reason} {why}", why, evidence, look)
            return


def _step(claim: Object, kind: str) -> Object:
    """A condition of a NodeClaim, or of a Machine, whose names begin with Machine."""
    return dict(conditions.find(claim, kind) or conditions.find(claim, f"Machine{kind}") or {})


def _other_denial(claim: Object) -> str:
    """What any other condition of the claim says against it."""
    for item in dig(claim, "status", "conditions") or ():
        if item.get("status") == "False" and item.get("message"):
            return f"{item.get('type')} is False: {item['message']}"
    return ""


def _since(registered: Object, claim: Object) -> object:
    return registered.get("lastTransitionTime") or claim["metadata"].get("creationTimestamp")


def _warnings(case: Case, claim: Object) -> list[tuple[str, str]]:
    return [event_words(event) for event in case.seen.events_of(claim) if event.get("type") == "Warning"]
