"""Every known reason of Kubernetes leads to a cause; every other is shown with its own message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from trouble import World

from kaitoctl.kaito.diagnosis.codes import CODES
from kaitoctl.kaito.diagnosis.reasons import NORMAL, Place, code_of, reasons
from kaitoctl.kaito.node_check import codes as node_codes

WORDS = "words that only this message has"
KNOWN = sorted(reasons())
SOURCE = (
    r"(pkg|staging|containerd|cluster-autoscaler|GKE|kyverno|node-problem-detector|learn\.microsoft\.com|aws|"
    r"karpenter)\b"
)
TROUBLE = [item for item in KNOWN if item[2] != NORMAL]


def saying(place: Place, reason: str) -> World:
    """A world whose one trouble is this reason, at this place, with WORDS as its message."""
    world = World("runs-as-root")
    item = world["Pod"]["status"]["containerStatuses"][0]
    if place == "waiting":
        item["state"] = {"waiting": {"reason": reason, "message": WORDS}}
    elif place == "terminated":
        item["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
        item["lastState"] = {"terminated": {"reason": reason, "message": WORDS, "exitCode": 128}}
    elif place == "pod":
        world["Pod"]["status"] = {"phase": "Failed", "reason": reason, "message": WORDS}
    elif place == "event":
        item["state"] = {"waiting": {"reason": "ContainerCreating"}}
        world.event(reason, WORDS)
        if code_of(place, reason) == "pod-thrown-out":
            world.objects[-1]["involvedObject"]["name"] = "falcon-5b8f7c9b65-bx2z4"
            del world["Pod"]["spec"]["nodeName"]
    elif place == "node-event":
        of_node(world, item, reason)
    elif place == "workload-event":
        world.without("Pod").event(reason, WORDS, of="Deployment")
    else:
        kind = "PodScheduled" if place == "scheduled" else "DisruptionTarget"
        status = "False" if place == "scheduled" else "True"
        world["Pod"]["status"] = {
            "phase": "Pending",
            "conditions": [{"type": kind, "status": status, "reason": reason, "message": WORDS}],
        }
        del world["Pod"]["spec"]["nodeName"]
    return world


def of_node(world: World, item: Any, reason: str) -> None:
    """A node that tells of itself what would explain a killed server, or one that is not ready."""
    code = code_of("node-event", reason)
    item["state"] = {"running": {"startedAt": "2026-11-28T16:50:00Z"}}
    if code in ("out-of-memory", "container-killed"):
        item["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
        ended = {"exitCode": 137, "reason": "Error", "finishedAt": "2026-11-28T16:54:00Z"}
        item["lastState"] = {"terminated": ended}
    world.event(reason, WORDS, of="Node")
    if code == "node-lost":
        del world["Pod"]["spec"]["nodeName"]
        item["state"] = {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize(("place", "reason", "code"), [item[:3] for item in TROUBLE])
def test_a_known_reason_is_never_left_to_the_controllers_log(place: Place, reason: str, code: str) -> None:
    world = saying(place, reason)
    more: dict[str, Any] = {}
    if (place, code) == ("node-event", "node-lost"):
        world.without("Node")
        more["gone"] = frozenset(world["Workspace"]["status"]["workerNodes"])
    found = world.diagnosis(**more)
    assert found.cause is not None
    codes = {cause.code for cause in found.causes}
    assert "controller-says" not in codes
    # A reason may be shared by several causes; its message decides, and WORDS say nothing.
    assert code in codes, codes
    cause = next(cause for cause in found.causes if cause.code == code)
    assert "controller's log" not in cause.hint
    assert any(WORDS in text for _, text in cause.evidence), cause
    assert cause.hint
    assert cause.command


@pytest.mark.parametrize("reason", ["FrobnicationFailed", "MarsIsRetrograde"])
@pytest.mark.parametrize("place", ["waiting", "terminated", "pod", "event", "workload-event"])
def test_a_reason_that_nobody_knows_is_shown_with_its_message(place: Place, reason: str) -> None:
    assert code_of(place, reason) is None
    cause = saying(place, reason).cause()
    told = " ".join(text for _, text in cause.evidence)
    assert WORDS in told
    assert "controller's log" not in cause.hint
    assert cause.code == ("crash-loop" if place == "terminated" else "kubernetes-says")
    assert place == "terminated" or reason in told


@pytest.mark.parametrize("place", ["scheduled", "disruption"])
def test_a_condition_with_a_reason_that_nobody_knows_is_shown(place: Place) -> None:
    cause = saying(place, "MarsIsRetrograde").cause()
    assert any(WORDS in text for _, text in cause.evidence)
    assert "controller's log" not in cause.hint


def test_every_code_of_the_table_is_explained_and_every_source_is_a_path() -> None:
    for place, reason, code, source in KNOWN:
        assert code == NORMAL or code in CODES or code in node_codes.CODES, (place, reason)
        assert re.match(SOURCE, source), source


def _constants(text: str) -> set[str]:
    return set(re.findall(r'^\s*\w+\s*=\s*(?:errors\.New\()?"([A-Z]\w+)"', text, re.MULTILINE))


@pytest.mark.parametrize(
    ("file", "places", "others"),
    [
        ("pkg/kubelet/events/event.go", ("event", "node-event"), set()),
        ("pkg/kubelet/images/types.go", ("waiting",), set()),
        ("pkg/kubelet/kuberuntime/kuberuntime_container.go", ("waiting",), set()),
        ("pkg/kubelet/container/sync_result.go", ("waiting",), set()),
    ],
)
def test_the_table_is_whole_where_the_sources_are_at_hand(
    file: str, places: tuple[Place, ...], others: set[str]
) -> None:
    """Go keeps the sources of the control plane that some tests run on."""
    here: list[Any] = sorted(Path.home().glob("go/pkg/mod/k8s.io/kubernetes@v1.37.*"))
    if not here:
        pytest.skip("no sources of Kubernetes here")
    for reason in _constants((here[-1] / file).read_text()) - others:
        assert any(code_of(place, reason) is not None for place in places), reason
