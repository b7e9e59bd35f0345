"""Each check of `doctor` stands by itself: an answer that makes no sense makes one thing unknown."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from cli.test_doctor import cluster, deployment
from fake_server import Answer, always, serving
from shell import Shell

from kaitoctl.commands.doctor import all_checks
from kaitoctl.commands.doctor_check import Check
from kaitoctl.errors import Unreachable
from kaitoctl.kube.client import connect

GARBAGE: dict[str, tuple[int, str]] = {
    "a page": (200, "<html><title>Sign in</title></html>"),
    "no JSON": (200, "upstream connect error"),
    "nothing": (200, ""),
    "null": (200, "null"),
    "a number": (200, "7"),
    "a list of numbers": (200, '{"items": [1, 2], "versions": [1]}'),
    "items without names": (200, '{"items": [{"metadata": {}}], "versions": "v1", "status": 1}'),
    "another kind": (200, '{"kind": "Status", "status": "Failure", "message": "no", "code": 500}'),
    "too busy": (503, "<html><title>503 Service Unavailable</title></html>"),
    "broken": (500, "panic"),
    "redirected": (302, ""),
    "not acceptable": (406, '{"kind": "Status", "message": "no"}'),
}
"""What proxies, gateways and servers in trouble answer for an object or a list."""

PLACES = {
    "/version": "api-server",
    "/apis/kaito.sh": "workspaces",
    "/apis/apps/v1/deployments": "controllers",
    "/apis/coordination.k8s.io/v1/leases": "controllers",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": "webhooks",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": "webhooks",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workspaces.kaito.sh": "webhooks",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodeclaims.karpenter.sh": "crds",
    "/apis/apiregistration.k8s.io/v1/apiservices": "api-services",
    "/api/v1/namespaces": "namespaces",
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases": "clocks",
    "/apis/kaito.sh/v1beta1/namespaces/default/workspaces": "serving",
    "/api/v1/namespaces/default/pods": "serving",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "rights",
    "/api/v1/nodes": "nodes",
    "/apis/karpenter.sh": "provisioners",
    "/apis/karpenter.sh/v1/nodeclaims": "node-claims",
    "/apis/storage.k8s.io/v1/storageclasses": "storage",
}
"""What is asked for, and the part that is unknown then."""


def examined(answer: Answer, folder: Path) -> list[Check]:
    """The checks of a cluster, as far as there are any before it answers no more."""

    async def look() -> list[Check]:
        found = []
        with suppress(Unreachable):
            async with connect(kubeconfig=Path(kubeconfig)) as client:
                async for check in all_checks(client, is_sandbox=False):
                    found.append(check)
        return found

    with serving(answer, folder) as kubeconfig:
        return asyncio.run(look())


def answering(path: str, said: tuple[int, str], base: Answer) -> Answer:
    """A server that has this one answer for one path."""

    def answer(method: str, asked: str) -> tuple[int, str]:
        plain = asked.removeprefix("/s3cret-path").partition("?")[0]
        return said if plain == path else base(method, asked)

    return answer


WORKSPACE = {
    "metadata": {
        "name": "w",
        "namespace": "default",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
}
SOUND = cluster(deployment("ghcr.io/kaito-project/kaito/workspace:0.12.0"), workspaces=(WORKSPACE,))
AT_A_TIME = 3


@pytest.mark.parametrize("place", range(len(PLACES)), ids=list(PLACES))
def test_an_answer_that_makes_no_sense_makes_one_part_unknown(tmp_path: Path, place: int) -> None:
    """Each place has a few of the garbage; all of it is given somewhere."""
    path, name = list(PLACES.items())[place]
    for said in [list(GARBAGE)[(place * AT_A_TIME + more) % len(GARBAGE)] for more in range(AT_A_TIME)]:
        after = examined(answering(path, GARBAGE[said], SOUND), tmp_path)
        unknown = [check for check in after if check.result == "unknown"]
        assert name in [check.name for check in unknown], f"{said}: nothing is unknown"
        assert not any(check.is_sound for check in unknown), said
        assert all(check.hint and not check.lacks for check in unknown), said
        told = {check.name for check in after}
        assert told >= {"controller", "taken-up", "access", "gpus", "storage"} - LOST.get(path, set()), said


LOST = {
    "/apis/apps/v1/deployments": {"controller"},
    "/apis/kaito.sh": {"taken-up"},
    "/apis/kaito.sh/v1beta1/namespaces/default/workspaces": {"taken-up"},
    "/api/v1/namespaces/default/pods": {"taken-up"},
    "/apis/karpenter.sh": {"taken-up"},
    "/apis/karpenter.sh/v1/nodeclaims": {"taken-up"},
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {"access"},
    "/api/v1/nodes": {"gpus"},
    "/apis/storage.k8s.io/v1/storageclasses": {"storage"},
}
"""What cannot be known without it; whether Workspaces serve takes more than one list."""


def test_whoever_makes_no_sense_at_all_is_no_cluster(offline: Shell, tmp_path: Path) -> None:
    with serving(always(200, "<html><title>Sign in</title></html>"), tmp_path) as kubeconfig:
        done = offline.kaitoctl("doctor", "--kubeconfig", kubeconfig, "-o", "json", code=3)
    assert {check["result"] for check in json.loads(done.stdout)["checks"]} == {"unknown"}


def test_what_was_seen_is_shown_when_the_server_goes_away(offline: Shell, tmp_path: Path) -> None:
    gone = threading.Event()

    def answer(method: str, path: str) -> tuple[int, str]:
        if "/nodes" in path:
            gone.set()
        if gone.is_set():
            raise ConnectionAbortedError  # the connection ends without an answer
        found: tuple[int, str] = SOUND(method, path)
        return found

    with serving(answer, tmp_path) as kubeconfig:
        done = offline.kaitoctl("doctor", "--kubeconfig", kubeconfig, code=3)
    assert "Workspaces are served as v1alpha1, v1beta1" in done.stdout
    assert "the remaining checks could not run" in done.stdout


def test_one_answer_that_is_lost_is_no_end(tmp_path: Path) -> None:
    def answer(method: str, path: str) -> tuple[int, str]:
        if "/nodes" in path:
            raise ConnectionAbortedError
        found: tuple[int, str] = SOUND(method, path)
        return found

    found = {check.name: check.result for check in examined(answer, tmp_path)}
    assert found["nodes"] == "unknown"
    assert found["storage"] == "warning"
