"""Rules about ways to the model that work for some: a load balancer without an address, pods of others.

Nothing of it keeps the Workspace from being ready: within the cluster, and mostly, it serves.

Source: Kubernetes v1.37.2 staging/src/k8s.io/cloud-provider/controllers/service/controller.go (events
SyncLoadBalancerFailed, and with them the cloud's words); aws-load-balancer-controller v2 (FailedBuildModel,
FailedDeployModel); MetalLB v0.14 controller (AllocationFailed).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import api, kubectl_hints
from kaitoctl.kaito.diagnosis import of_service
from kaitoctl.kaito.diagnosis.case import Case, blame, event_words, span
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.serving import lacks_address, main_service, others_behind
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object, dig, labels_of

_MADE_WITHIN_S = 300.0
# Events of a Service that are about something else.
_OF_OTHERS = re.compile(r"(?i)endpoint|clusterip|topology|portn|portout|ipn")
_CLOUDS_WORDS = re.compile(r'\\?"message\\?": ?\\?"(?P<words>[^"\\]{1,400})')
_HINTS = (
    (
        r"(?i)limit|quota|no available|exhausted|not enough|address(?:es)? (?:are|is) (?:in use|used)",
        "free an address, or have the quota or the pool of addresses raised",
    ),
    (
        r"(?i)authoriz|forbidden|access ?denied|permission|40[13]\b",
        "give the identity of the cluster the right to make load balancers and addresses",
    ),
    (
        r"(?i)subnet",
        "check that the cloud's controller finds a subnet for it: tags of subnets, or the annotation that "
        "names one",
    ),
    (
        r"(?i)loadbalancerip|public ip|static ip|ip address|not found|does not exist",
        "correct the address that the Service asks for (spec.loadBalancerIP, annotations), or take it out",
    ),
)
_NOBODY = (
    "check that the cluster has something that makes load balancers: a cloud's controller, or MetalLB on "
    "machines of one's own"
)


def load_balancer(case: Case) -> Iterator[Cause]:
    """A Service of type LoadBalancer that has no address."""
    main = main_service(case.seen)
    if main is None or not lacks_address(main):
        return
    warned = [
        event
        for event in case.seen.events_of(main)
        if event.get("type") == "Warning" and not _OF_OTHERS.search(str(event.get("reason")))
    ]
    since_s = case.age_s(main["metadata"].get("creationTimestamp"))
    if not warned and since_s < _MADE_WITHIN_S:
        return
    source, words = event_words(warned[0]) if warned else ("", "")
    found = _CLOUDS_WORDS.search(words)
    said = found["words"] if found else words
    why = f": {said.rstrip('. ')}" if said else ", and no event says why"
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, words)), "check the message")
    spec = main["spec"]
    asked = ", ".join(
        f"{key} {spec[key]}" for key in ("loadBalancerIP", "loadBalancerClass") if spec.get(key)
    )
    yield blame(
        "load-balancer-pending",
        f"Service {case.name}",
        f"its load balancer has had no address for {span(since_s)}, so that only the cluster reaches the "
        f"model{why}",
        [(source, words), ("Service", f"type LoadBalancer{', ' if asked else ''}{asked}, no ingress")],
        hint=hint if warned else _NOBODY,
        command=kubectl_hints.describe(main),
        weight="note",
    )


def pending_load_balancer(seen: Snapshot, now: datetime) -> Cause | None:
    """The same for who asks for an address; None where there is one, or the wait has just begun."""
    assert seen.workspace is not None
    return next(load_balancer(Case(seen, seen.workspace, progress(seen), now)), None)


def foreign_pods(case: Case) -> Iterator[Cause]:
    """Pods behind the Service that are none of the Workspace's: they get a share of the prompts."""
    main = main_service(case.seen)
    if main is None or "pods" in case.seen.unseen:
        return
    for name in others_behind(case.seen, main):
        selector = dig(main, "spec", "selector") or {}
        labels = of_service.of_selector(case)
        is_wide = bool(labels) and not labels.items() <= selector.items()
        hint, command = _apart(case, name, next(iter(selector), ""), labels if is_wide else {})
        what = "which is no pod of the Workspace"
        if _is_unexplained(case, name, selector):
            what = (
                "which no pod with its labels is called: the endpoint is out of date, or not Kubernetes' own"
            )
            hint, command = _writer(case)
        yield blame(
            "foreign-endpoints",
            f"Pod {name}",
            f"Service {case.name} sends a share of all prompts to {name}, {what}",
            [("Service", f"selector {selector}"), *_labels(case, name)],
            hint=hint,
            command=command,
            weight="note",
        )


def _is_unexplained(case: Case, name: str, selector: Object) -> bool:
    """Whether no pod of that name has the label that the Service asks for: it is gone, perhaps."""
    asks_for_ours = selector.get(api.LABEL_WORKSPACE) == case.name
    return asks_for_ours and all(pod["metadata"]["name"] != name for pod in case.seen.pods)


def _writer(case: Case) -> tuple[str, Command]:
    return (
        "check who writes the endpoints of the Service, and whether that controller runs",
        kubectl_hints.endpoints_of(case.name, case.in_namespace),
    )


def _labels(case: Case, name: str) -> list[tuple[str, str]]:
    pod = next((pod for pod in case.seen.pods if pod["metadata"]["name"] == name), None)
    return [("pod", f"labels {labels_of(pod)}")] if pod else []


def _apart(case: Case, name: str, label: str, labels: Object) -> tuple[str, Advice]:
    """How to part the pod from the Service: by its label, or by the selector where that is too wide."""
    if labels:
        pairs = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return (
            "the Service selects more than the Workspace's pods: give it their labels again",
            Command("kubectl set selector service", case.name, *case.in_namespace, pairs),
        )
    if not label:
        return _writer(case)
    return (
        "take the label from that pod, or ask its owner to: it then gets no prompts and runs on",
        Command("kubectl label pod", name, *case.in_namespace, f"{label}-"),
    )
