"""Rules about a Workspace that is being deleted: what keeps it, and what may be done about that.

Nothing here advises to take a finalizer off where that ends something that serves, or before it was seen
that what the finalizer guards is gone: a machine that nobody remembers costs money.

Sources: KAITO v0.3.2 to v0.12 workspace_gc_finalizer.go (it lists the NodeClaims, asks for their deletion,
and then takes its finalizer off); Kubernetes 1.34 pkg/controller/garbagecollector; karpenter v1.14
pkg/controllers/node/termination, nodeclaim/lifecycle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, controller_errors, kubectl_hints, node_check
from kaitoctl.kaito.diagnosis import karpenter
from kaitoctl.kaito.diagnosis.case import Case, blame, condition_words, event_words, span, title_of
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.serving import is_foreign
from kaitoctl.kaito.snapshot import event_time
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, dig, is_being_deleted, uid_of

_OF_KUBERNETES = ("foregroundDeletion", "orphan")
_VERSION = r"\bKAITO v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})"
_DRAINS_WITHIN_S, _FINALIZED_WITHIN_S = 600.0, 60.0
_IS_DELETED = "workspace is being deleted"  # how KAITO's condition, and ours, begins
_EVIDENCE_LINES = 4
# Whose a finalizer is, by a part of its name.
_WHOSE = (
    ("argocd.argoproj.io", "Argo CD"),
    ("fluxcd.io", "Flux"),
    ("crossplane.io", "Crossplane"),
    ("cattle.io", "Rancher"),
    ("open-cluster-management.io", "Open Cluster Management"),
    ("kueue.x-k8s.io", "Kueue"),
    ("inferenceset", "KAITO's InferenceSet controller"),
    ("kaito.sh", "another controller of KAITO's"),
    ("batch.kubernetes.io/job-tracking", "Kubernetes' controller of Jobs"),
    ("service.kubernetes.io/load-balancer-cleanup", "the cloud's controller of load balancers"),
)


def deletion(case: Case) -> Iterator[Cause]:
    """It is going away, and something holds it."""
    if not is_being_deleted(case.workspace):
        return
    finalizers = [str(item) for item in case.workspace["metadata"].get("finalizers") or ()]
    foreign = [item for item in finalizers if item not in (api.FINALIZER, *_OF_KUBERNETES)]
    going = [claim for claim in case.seen.claims if is_being_deleted(claim)]
    yield from (_of_claim(case, claim) for claim in going[:_EVIDENCE_LINES])
    if foreign:
        yield _foreign(case, foreign)
    if api.FINALIZER in finalizers and not going and (not foreign or _weight(case) == "fault"):
        yield _ours(case)  # beside another's it holds, too, once it should have gone
    if set(_OF_KUBERNETES) & set(finalizers):
        yield from _dependents(case)


# --- the Workspace's own finalizers --------------------------------------------------------------------


def _evidence(case: Case) -> list[tuple[str, str]]:
    metadata = case.workspace["metadata"]
    finalizers = ", ".join(map(str, metadata.get("finalizers") or ()))
    evidence = [("metadata", f"deletionTimestamp {metadata['deletionTimestamp']}, finalizers {finalizers}")]
    if case.seen.space is not None and is_being_deleted(case.seen.space):
        evidence.append(("Namespace", "it is being deleted, too, and waits for this Workspace"))
    return evidence


_GUARDED = "start the controller that owns the finalizer, or remove it when what it guards is gone"


def _blocked_by(foreign: list[str]) -> str:
    whose = [next((who for part, who in _WHOSE if part in item), "somebody else") for item in foreign]
    return f"finalizer {', '.join(foreign)} of {', '.join(dict.fromkeys(whose))} blocks the deletion"


def _foreign(case: Case, foreign: list[str]) -> Cause:
    return blame(
        "finalizer-holds-deletion",
        title_of(case.workspace),
        _blocked_by(foreign),
        _evidence(case),
        hint=_GUARDED,
        command=Command(
            "kubectl get workspace", case.name, *case.in_namespace, "-o", "jsonpath={.metadata.finalizers}"
        ),
        weight=_weight(case),
    )


def _weight(case: Case) -> Weight:
    """Every finalizer holds a deletion for a moment: that is what it is for."""
    since_s = case.age_s(case.workspace["metadata"]["deletionTimestamp"])
    return "wait" if since_s < _FINALIZED_WITHIN_S else "fault"


def _controller_says(case: Case) -> tuple[str, str] | None:
    """What its controller says of the deletion, as evidence: a condition's error, or its newest warning."""
    # Those of before count: deletion is a generation.
    for item in dig(case.workspace, "status", "conditions") or ():
        if error := controller_errors.split(str(item.get("message") or "")).error:
            return f"condition {item.get('type')}", error
    deleting = conditions.find(case.workspace, api.WORKSPACE_DELETING) or {}
    _, _, more = str(deleting.get("message") or "").partition(_IS_DELETED)
    if more := more.strip("; "):
        return f"condition {api.WORKSPACE_DELETING}", more
    warnings = [event for event in case.seen.events_of(case.workspace) if event.get("type") == "Warning"]
    since = str(case.workspace["metadata"]["deletionTimestamp"])
    return next((event_words(event) for event in warnings if event_time(event) >= since), None)


def _ours(case: Case) -> Cause:
    """KAITO's finalizer, and no NodeClaim that is on its way out."""
    evidence, here = _evidence(case), case.seen.controllers
    evidence += [("cluster", words) for words in here or ()]
    since_s = case.age_s(case.workspace["metadata"]["deletionTimestamp"])
    is_running = here is None or any(", 0 of " not in words for words in here)
    if case.seen.claims and is_running:
        return _waits_for_nodes(case, evidence, since_s)
    if is_running and (lacking := _lacking(case)):
        plural = f"{lacking.lower()}s.karpenter.sh"
        return blame(
            "node-claim-kind-missing",
            title_of(case.workspace),
            f"KAITO cannot finish the deletion: it looks for the Workspace's {lacking}s first, and the "
            f"cluster does not have that kind (CRD {plural})",
            evidence,
            hint="install that CRD (Karpenter's or gpu-provisioner's): KAITO then continues automatically"
            + _or_off(case),
            command=Command("kubectl get crd", plural),
        )
    if not is_running:
        if case.seen.claims:
            evidence += [(title_of(claim), _holds(claim)) for claim in case.seen.claims[:_EVIDENCE_LINES]]
        return blame(
            "finalizer-holds-deletion",
            title_of(case.workspace),
            "KAITO's finalizer blocks the deletion, and no controller runs that would remove it",
            evidence or [("cluster", "no controller was found")],
            hint="start the controller: it gives the nodes back and takes its finalizer off" + _or_off(case),
            command=Command("kaitoctl doctor"),
        )
    refuses = f"; or webhook {', '.join(case.seen.webhooks)} refuses it" if case.seen.webhooks else ""
    if says := _controller_says(case):
        return blame(
            "finalizer-holds-deletion",
            title_of(case.workspace),
            f"KAITO's finalizer blocks the deletion for {span(since_s)}: {says[1]}",
            [says, *evidence],
            hint="change what the controller names; it retries automatically",
            command=Command("kaitoctl events", case.name, *case.in_namespace),
            weight=_weight(case),
        )
    left = (
        "whether nodes are left that it waits for cannot be seen: NodeClaims cannot be listed"
        if case.seen.hides_claims
        else "nothing is left that it would wait for"
    )
    return blame(
        "finalizer-holds-deletion",
        title_of(case.workspace),
        f"KAITO's finalizer blocks the deletion for {span(since_s)}, and {left}",
        evidence,
        hint="the controller takes a moment for that"
        if _weight(case) == "wait"
        else f"the controller is busy, or cannot write the Workspace{refuses}: its log says which",
        command=Command("kaitoctl doctor"),
        weight=_weight(case),
    )


def _waits_for_nodes(case: Case, evidence: list[tuple[str, str]], since_s: float) -> Cause:
    count = len(case.seen.claims)
    evidence[1:1] = [(title_of(claim), _holds(claim)) for claim in case.seen.claims[:_EVIDENCE_LINES]]
    claim, says = case.seen.claims[0], _controller_says(case)
    late = since_s > _DRAINS_WITHIN_S
    unasked = f", and nobody has asked for that in {span(since_s)}" if late else ""
    return blame(
        "finalizer-holds-deletion",
        title_of(case.workspace),
        f"it waits for {count} {node_check.plural('node', count)} to be removed"
        + (f": {says[1]}" if says else unasked),
        [says, *evidence] if says else evidence,
        hint="change what the controller names; it retries automatically"
        if says
        else "check that the controller works, and may delete NodeClaims; they cost money until they go"
        if late
        else "the controller has yet to ask for that; draining a node then takes as long as its pods",
        command=Command("kaitoctl doctor") if late and not says else kubectl_hints.describe(claim),
        weight="fault" if late else "wait",
    )


def _lacking(case: Case) -> str:
    """The kind that the KAITO of this cluster lists before it takes its finalizer off, where that is missing.

    Source: workspace_gc_finalizer.go lists Machines up to v0.4.1, NodeClaims from v0.4.2 on, whatever the
    feature gates say; from v0.11 on the node provisioner `byo` lists nothing.
    """
    kinds = case.seen.claim_kinds
    if case.seen.claims or kinds is None or case.seen.is_ours:
        return ""
    here = " ".join(case.seen.controllers or ())
    if "KAITO" not in here and case.seen.controllers is not None:
        return ""
    if "nodes by byo" in here:
        return ""
    version = re.search(_VERSION, here)
    is_old = version is not None and tuple(map(int, version.groups())) < (0, 4, 2)
    kind = "Machine" if is_old else "NodeClaim"
    return "" if kind in kinds else kind


def _or_off(case: Case) -> Advice:
    """How the finalizer may be taken off by hand, where that harms nobody; and what it would end."""
    serving = [pod for pod in case.seen.pods if pod_state.is_ready(pod) and not is_being_deleted(pod)]
    if serving:
        count = len(serving)
        return (
            f". {count} of its pods still {'serves' if count == 1 else 'serve'}: with the finalizer "
            f"{'it goes' if count == 1 else 'they go'}, too"
        )
    if case.seen.hides_claims or "pods" in case.seen.unseen:
        what = "NodeClaims" if case.seen.hides_claims else "its pods"
        return f". Do not remove the finalizer by hand: {what} cannot be listed, and what is left costs money"
    if case.seen.claims:
        names = ", ".join(str(claim["metadata"]["name"]) for claim in case.seen.claims[:_EVIDENCE_LINES])
        return (
            f". Removing the finalizer by hand would leave {names} and the machines behind: they cost money"
        )
    finalizers = list(map(str, case.workspace["metadata"].get("finalizers") or ()))
    path = f"/metadata/finalizers/{finalizers.index(api.FINALIZER)}"
    patch = json.dumps(
        [{"op": "test", "path": path, "value": api.FINALIZER}, {"op": "remove", "path": path}],
        separators=(",", ":"),
    )
    refuses = ""
    if case.seen.webhooks:
        refuses = f" (webhook {', '.join(case.seen.webhooks)} may refuse that while its server does not run)"
    return (
        ". Or check in the cloud that no machine of this Workspace is left (it would go on costing "
        f"money), and take the finalizer off{refuses}: "
    ) + Command("kubectl patch workspace", case.name, *case.in_namespace, "--type=json", "-p", patch)


# --- NodeClaims that do not go -------------------------------------------------------------------------

# Source: Karpenter v1.6 pkg/apis/v1/labels.go (TerminationFinalizer); of Machines, too.
_OF_KARPENTER = "karpenter.sh/"


def _of_claim(case: Case, claim: Object) -> Cause:
    name, kind = str(claim["metadata"]["name"]), str(claim["kind"])
    since_s = case.age_s(claim["metadata"].get("deletionTimestamp"))
    node_name = str(dig(claim, "status", "nodeName") or "")
    node = case.seen.node(node_name)
    evidence = [(title_of(claim), _holds(claim)), *_evidence(case)]
    look = kubectl_hints.describe(claim)
    if held := _let_go(case, claim, evidence) or (node and _let_go(case, node, evidence)):
        return held
    steps = [
        (step, found)
        for step in karpenter.DELETION
        if (found := conditions.find(claim, step))
        and (found.get("status") != "True" or step == "InstanceTerminating")
    ]
    told = [event_words(event) for event in case.seen.events_of(claim) if event.get("type") == "Warning"][:1]
    evidence[1:1] = [*told, *[condition_words(found) for _, found in steps][:1]]
    late = since_s > _DRAINS_WITHIN_S
    if node is not None:
        from kaitoctl.kaito.diagnosis.of_drains import drain_block  # most claims that go have no node left

        if blocked := drain_block(case, claim, node, evidence, late=late):
            return blocked
    if "nodes" not in case.seen.unseen and node is None:
        machine = str(dig(claim, "status", "providerID") or "")
        gone = f"node {node_name} is gone" if node_name else f"no node ever joined for {name}"
        is_told = ("InstanceTerminating", "True") in ((step, found.get("status")) for step, found in steps)
        waits = (
            "the cloud has not confirmed that the machine is deleted"
            if is_told
            else "its finalizer is not taken off"
        )
        return blame(
            "node-claim-stuck",
            title_of(claim),
            f"{gone}, and {kind} {name} stays for {span(since_s)}: {waits}",
            evidence,
            hint=_by_hand(claim, machine),
            command=look,
            weight="fault" if late else "wait",
        )
    going = next((karpenter.DELETION[step] for step, _ in steps), "")
    message = f"it waits for {node_name or kind + ' ' + name} to be removed"
    in_cloud = going == karpenter.DELETION["InstanceTerminating"]
    return blame(
        "finalizer-holds-deletion",
        title_of(claim),
        (f"{message}: {going}" if going else message)
        + (f" for {span(since_s)}" if late else "")
        + (f": {told[0][1]}" if told else ""),
        evidence,
        hint="check at the cloud whether the machine goes, and the node provisioner's log"
        if in_cloud
        else "check which pods are left on the node and why they do not end; then what the NodeClaim says"
        if late and node_name
        else "draining a node takes as long as its pods; then check what the NodeClaim says",
        command=kubectl_hints.pods_on(node_name) if late and node_name and not in_cloud else look,
        weight="fault" if late else "wait",
    )


def _let_go(case: Case, obj: Object, evidence: list[tuple[str, str]]) -> Cause | None:
    """A claim, or its node, that its provisioner has done with, and somebody else's finalizer holds."""
    finalizers = list(map(str, obj["metadata"].get("finalizers") or ()))
    if not (finalizers and is_being_deleted(obj)) or any(x.startswith(_OF_KARPENTER) for x in finalizers):
        return None
    gone = "" if obj["kind"] == "Node" else ", as the machine is gone"
    return blame(
        "finalizer-holds-deletion",
        title_of(obj),
        f"{_blocked_by(finalizers)}; the node provisioner has taken its own off{gone}",
        evidence,
        hint=_GUARDED,
        command=kubectl_hints.describe(obj),
        weight="fault" if case.age_s(obj["metadata"]["deletionTimestamp"]) > _DRAINS_WITHIN_S else "wait",
    )


def _by_hand(claim: Object, machine: str) -> Advice:
    what = f"machine {machine}" if machine else "machine"
    kind, name = kubectl_hints.resource_of(str(claim["kind"])), str(claim["metadata"]["name"])
    return (
        f"check that the node provisioner runs, and its log; check at the cloud whether the {what} still "
        f"exists, which "
        "costs money. Only when it is gone, remove the finalizer: "
    ) + Command("kubectl patch", kind, name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def _holds(claim: Object) -> str:
    state = "is being deleted" if is_being_deleted(claim) else "is not being deleted"
    return f"{state}, finalizers {', '.join(claim['metadata'].get('finalizers') or ()) or 'none'}"


# --- foreground deletion -------------------------------------------------------------------------------


def _dependents(case: Case) -> Iterator[Cause]:
    """Kubernetes deletes a Workspace last when it was asked to delete in the foreground.

    With `orphan` it lets go of what the Workspace owns first, which takes seconds.
    """
    seen = case.seen
    made = (*seen.workloads, *seen.jobs, *seen.replica_sets, *seen.pods, *seen.services, *seen.revisions)
    everything = (*seen.claims, *made)
    blocking, parents = [], {uid_of(case.workspace)}
    for _ in range(4):  # Workspace, Deployment, ReplicaSet, Pod
        children = [obj for obj in everything if obj not in blocking and _blocks(obj, parents)]
        blocking += children
        parents = {uid_of(obj) for obj in children}
    evidence = [(title_of(obj), _state(case, obj)) for obj in reversed(blocking)]
    is_orphaning = "orphan" in (dig(case.workspace, "metadata", "finalizers") or ())
    held = [obj for obj in made if _is_held(case, obj) and (obj in blocking or obj.get("kind") == "Pod")]
    if held and not is_orphaning:
        yield from (_held(case, obj) for obj in held[:_EVIDENCE_LINES])
        return
    if not blocking or is_orphaning:  # what it lets go of goes on running, and need not end
        yield blame(
            "dependents-hold-deletion",
            title_of(case.workspace),
            "Kubernetes lets go of what depends on the Workspace first (orphan), and leaves it running"
            if is_orphaning
            else "Kubernetes sees to what depends on the Workspace first, and none of that is among what "
            "was seen",
            _evidence(case),
            hint="its garbage collector needs every API of the cluster to answer; one that does not stops it",
            command=Command("kubectl get apiservices"),
        )
        return
    last = blocking[-1]
    names = ", ".join(title_of(obj) for obj in blocking[:_EVIDENCE_LINES])
    more = f" and {len(blocking) - _EVIDENCE_LINES} more" if len(blocking) > _EVIDENCE_LINES else ""
    yield blame(
        "dependents-hold-deletion",
        title_of(case.workspace),
        f"Kubernetes deletes what depends on the Workspace first: {names}{more}",
        [*evidence[:3], *_evidence(case)],
        hint="each of them has to end, and Kubernetes then takes foregroundDeletion off itself: check a "
        "pod's node, and other finalizers",
        command=kubectl_hints.describe(last),
        weight="fault"
        if case.age_s(case.workspace["metadata"]["deletionTimestamp"]) > _DRAINS_WITHIN_S
        else "wait",
    )


def _foreign_finalizers(obj: Object) -> list[str]:
    return [str(name) for name in obj["metadata"].get("finalizers") or () if name not in _OF_KUBERNETES]


def _is_held(case: Case, obj: Object) -> bool:
    """Whether only a finalizer keeps an object: a pod has to end first, which its node sees to."""
    if not is_being_deleted(obj) or not _foreign_finalizers(obj):
        return False
    is_over = pod_state.is_finished(obj) or not dig(obj, "spec", "nodeName")
    return obj.get("kind") != "Pod" or (is_over and not is_foreign(case.seen, obj))


def _held(case: Case, obj: Object) -> Cause:
    """What a finalizer holds of that which goes before the Workspace: those above it only follow."""
    since_s = case.age_s(obj["metadata"]["deletionTimestamp"])
    kind, name = kubectl_hints.resource_of(str(obj["kind"])), str(obj["metadata"]["name"])
    return blame(
        "finalizer-holds-deletion",
        title_of(obj),
        f"{_blocked_by(_foreign_finalizers(obj))}: {title_of(obj)} stays for {span(since_s)}, "
        "and Kubernetes deletes it before the Workspace",
        [(title_of(obj), _state(case, obj)), *_evidence(case)],
        hint=f"{_GUARDED}; who has written it, the managed fields say",
        command=Command("kubectl get", kind, name, *case.in_namespace, "-o", "yaml", "--show-managed-fields"),
        weight="fault" if since_s > _FINALIZED_WITHIN_S else "wait",
    )


def _blocks(obj: Object, owners: set[str]) -> bool:
    return any(
        item.get("uid") in owners and item.get("blockOwnerDeletion")
        for item in obj["metadata"].get("ownerReferences") or ()
    )


def _state(case: Case, obj: Object) -> str:
    finalizers = ", ".join(map(str, obj["metadata"].get("finalizers") or ())) or "none"
    moment = obj["metadata"].get("deletionTimestamp")
    state = f"is being deleted for {span(case.age_s(moment))}" if moment else "is not being deleted yet"
    name = str(dig(obj, "spec", "nodeName") or "") if obj.get("kind") == "Pod" else ""
    node = case.seen.node(name)
    if name and node is None and "nodes" not in case.seen.unseen:
        return f"{state}, finalizers {finalizers}, on node {name}, which is gone"
    if node is not None and not conditions.is_true(node, "Ready"):
        return f"{state}, finalizers {finalizers}, on node {name}, which is not Ready"
    return f"{state}, finalizers {finalizers}"
