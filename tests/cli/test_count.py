"""Whether the count of a Workspace may change has one answer for each release, whoever is asked."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from shell import Shell

A100 = "Standard_NC24ads_A100_v4"

# A preset that the release serves, and as whose objects `diff` renders it.
RELEASES = {
    "v0.3": ("v1alpha1", "falcon-7b", "Standard_NC12s_v3"),
    "v0.4": ("v1alpha1", "falcon-7b", "Standard_NC12s_v3"),
    "v0.4.6": ("v1beta1", "phi-3-mini-4k-instruct", A100),
    "v0.12": ("v1beta1", "microsoft/phi-4", A100),
}


def workspace(namespace: str, release: str, count: int) -> dict[str, Any]:
    version, preset, machine = RELEASES[release]
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {
            "name": "w",
            "namespace": namespace,
            **({} if release == "v0.12" else {"annotations": {"kaito.sh/runtime": "transformers"}}),
        },
        "resource": {
            "count": count,
            "instanceType": machine,
            "labelSelector": {"matchLabels": {"apps": namespace[-40:].lstrip("-")}},
        },
        "inference": {"preset": {"name": preset}},
    }


@pytest.mark.sandbox_alone
@pytest.mark.parametrize("release", RELEASES)
def test_all_who_are_asked_agree(shell: Shell, namespace: str, release: str) -> None:
    for name, count in (("old.json", 1), ("new.json", 2)):
        (shell.home / name).write_text(json.dumps(workspace(namespace, release, count)))
    shell.apply(workspace(namespace, release, 1))
    _, preset, machine = RELEASES[release]
    here = ("-n", namespace, "--target-version", release)
    answers = {
        "validate": shell.kaitoctl(
            "validate",
            "--old",
            "old.json",
            "-f",
            "new.json",
            "-o",
            "json",
            "--target-version",
            release,
            code=2,
        ).stdout,
        "plan": shell.kaitoctl(
            "plan", "-f", "new.json", "-o", "json", "--target-version", release, code=2
        ).stdout,
        "apply": shell.kaitoctl(
            "apply", "-f", "new.json", "--yes", "--target-version", release, code=2
        ).stderr,
        "scale": shell.kaitoctl("scale", "w", "--count", "2", *here, code=2).stderr,
        "diff": shell.kaitoctl(
            "diff", "-f", "new.json", "--force-conflicts", "--kaito-version", release, code=1
        ).stderr,
        "create": shell.kaitoctl(
            *("create", "workspace", "w", "--preset", preset, "--instance-type", machine, "--count", "2"),
            *("--yes", "--no-wait", *here),
            code=2,
        ).stderr,
    }
    said = {
        who: "is immutable (1 -> 2)" in text and "resource.count" in text for who, text in answers.items()
    }
    assert said == dict.fromkeys(answers, True), answers
    assert shell.get("workspace", "w", "-n", namespace)["resource"]["count"] == 1


def test_no_new_workspace_is_advised_that_would_be_no_larger(shell: Shell, namespace: str) -> None:
    """By its size there is one node whatever the count says: a new one is an outage for nothing."""
    shell.apply(workspace(namespace, "v0.12", 1))
    for release in ((), ("--target-version", "v0.12")):
        here = ("scale", "w", "-n", namespace, *release)
        refused = shell.kaitoctl(*here, "--count", "2", code=2).stderr
        assert "kaitoctl delete" not in refused and "and overrides 2" in refused
        assert f"create inference-set w-set -n {namespace} --preset microsoft/phi-4" in refused
        printed = shell.kaitoctl(*here, "--count", "2", "-o", "json")
        assert json.loads(printed.stdout)["resource"]["count"] == 2 and "and overrides 2" in printed.stderr
    # Its controller takes three nodes of them, though one is asked for.
    shell.apply(
        {**(large := workspace(namespace, "v0.12", 1)), "metadata": {**large["metadata"], "name": "l"}}
    )
    patch = json.dumps({"status": {"targetNodeCount": 3}})
    where = ("workspace", "l", "-n", namespace)

    def scaled(count: int) -> subprocess.CompletedProcess[str]:
        """What scale says while three are taken: the sandbox's controller writes what it takes itself."""
        for _ in range(20):
            shell.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", patch)
            done = shell.run("kaitoctl", "scale", "l", "-n", namespace, "--count", str(count))
            if shell.get(*where)["status"].get("targetNodeCount") == 3:
                return done
        raise AssertionError("its controller is faster every time")

    same = scaled(3)
    assert same.returncode == 0 and same.stdout.endswith(" unchanged\n")
    fewer = scaled(2)
    assert fewer.returncode == 2 and "what fits on fewer: kaitoctl fit microsoft/phi-4" in fewer.stderr


def test_what_passes_admission_buys_no_node_and_why_says_so(shell: Shell, namespace: str) -> None:
    written = workspace(namespace, "v0.4", 1)
    (shell.home / "new.json").write_text(json.dumps(written))
    shell.kaitoctl("apply", "-f", "new.json", "--yes", "--timeout", "90s")
    ours = f"kaito.sh/workspace=w,kaito.sh/workspacenamespace={namespace}"
    bought = shell.names("nodeclaims", "-l", ours)
    assert len(bought) == 1
    here = ("workspace", "w", "-n", namespace)
    shell.kubectl("patch", *here, "--type", "merge", "-p", '{"resource":{"count":2}}')
    shell.kubectl("wait", *here, "--for=condition=WorkspaceSucceeded=False", "--timeout=60s")
    for item in shell.get(*here)["status"]["conditions"]:
        if item["type"] in ("ResourceReady", "InferenceReady", "WorkspaceSucceeded"):
            assert "resource.count: is immutable (1 -> 2); change it back" in item["message"], item
            assert "generation 1 still serves" in item["message"], item
    events = shell.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].message}")
    assert "resource.count: is immutable (1 -> 2)" in events
    assert shell.names("nodeclaims", "-l", ours) == bought
    said = shell.kaitoctl("why", "w", "-n", namespace, code=1).stdout
    assert "resource.count was changed after the Workspace was created" in said
    assert '{"resource":{"count":1}}' in said.replace(" ", ""), "the command that changes it back"
    back = shell.kaitoctl("rollout", "undo", "w", "-n", namespace, "--dry-run", "server", "--force-conflicts")
    assert "rolled back" in back.stdout
    back = shell.kaitoctl("apply", "-f", "new.json", "--force-conflicts", "--yes", "--timeout", "60s")
    assert "nodes asked for: none; released: none; pods restarted: none" in back.stderr
    shell.kubectl("wait", *here, "--for=condition=WorkspaceSucceeded=True", "--timeout=60s")
    assert shell.names("nodeclaims", "-l", ours) == bought
