"""`kaitoctl edit`, `scale` and `restart`: judged and announced before anything is written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from adapting import Served
from shell import Shell


@pytest.fixture
def served(shell: Shell, namespace: str) -> Served:
    made = Served(shell, namespace)
    made.create()
    return made


def edit(served: Served, editor: str, *more: str, code: int = 0) -> Any:
    words = ("edit", served.name, "-n", served.namespace, "--timeout", "90s", *more)
    return served.shell.kaitoctl(*words, code=code, EDITOR=editor)


def replacing(*pairs: tuple[str, str]) -> str:
    return shlex.join(["sed", "-i", *(f"-es/{old}/{new}/" for old, new in pairs)])


def pods(served: Served) -> list[str]:
    return served.shell.names("pods", "-n", served.namespace)


def workspace(served: Served) -> Any:
    return served.shell.get("workspace", served.name, "-n", served.namespace)


ADAPTERS = "adapters:\\n  - source:\\n      name: style\\n      image: registry.example\\/style:1\\n  preset:"


def test_a_workspace_is_edited_judged_announced_and_followed(served: Served, tmp_path: Path) -> None:
    before, running = workspace(served), pods(served)
    done = edit(served, "true")
    assert "nothing was changed" in done.stderr and done.stdout == ""

    done = edit(served, replacing(("preset:", ADAPTERS)), code=2)
    assert "+       image: registry.example/style:1" in done.stderr
    assert "1 pod restarts" in done.stderr and "hint: add --yes" in done.stderr
    kept = Path(done.stderr.split("the edited Workspace is in ")[1].strip())
    assert "registry.example/style:1" in kept.read_text()
    kept.unlink()
    assert workspace(served)["inference"] == before["inference"] and pods(served) == running

    done = edit(served, replacing(("preset:", ADAPTERS)), "--yes")
    assert done.stdout == f"workspace.kaito.sh/{served.name} edited\n"
    assert list(served.said) == ["style"] and pods(served) != running

    # What an edit has written is kaitoctl's as well as what it has applied.
    done = served.shell.kaitoctl("rollout", "undo", served.name, "-n", served.namespace, "--yes")
    assert not workspace(served)["inference"].get("adapters")


def test_what_is_wrong_comes_back_as_a_comment_and_can_be_put_right(served: Served, tmp_path: Path) -> None:
    """The first save is no YAML, the second refused by KAITO, the third right."""
    script = tmp_path / "editor"
    steps = [
        "s/preset:/preset: [/",
        "s/preset: \\[/preset:/;s/name: falcon-7b$/name: falcon-7c/",
        "s/name: falcon-7c/name: falcon-7b/;s/^metadata:/metadata:\\n  labels:\\n    team: blue/",
    ]
    lines = [f'{number}) cp "$1" {tmp_path}/seen{number}; sed -i -e {shlex.quote(step)} "$1";;'
             for number, step in enumerate(steps)]  # fmt: skip
    count = f"{tmp_path}/count"
    script.write_text(
        f"#!/bin/sh\nn=$(cat {count} 2>/dev/null || echo 0); echo $((n + 1)) > {count}\n"
        f"case $n in\n{chr(10).join(lines)}\nesac\n"
    )
    script.chmod(0o755)
    edit(served, str(script), "--yes", "--no-wait")
    seen = [(tmp_path / f"seen{number}").read_text() for number in range(3)]
    assert "✗" not in seen[0] and "managedFields" not in seen[0] and "status:" not in seen[0]
    assert "# ✗ the file:" in seen[1] and "preset: [" in seen[1]
    assert "# ✗ inference.preset" in seen[2] and "falcon-7c" in seen[2]
    assert workspace(served)["metadata"]["labels"]["team"] == "blue"


def test_what_cannot_change_is_refused_and_the_way_that_works_works(served: Served) -> None:
    shell = served.shell
    types = replacing(("instanceType: Standard_NC12s_v3", "instanceType: Standard_NC24s_v3"))
    done = edit(served, types, code=2)
    assert "resource.instanceType: is immutable (Standard_NC12s_v3 -> Standard_NC24s_v3)" in done.stderr
    delete, apply = done.stderr.split("takes a new Workspace: ")[1].strip().split(", and then ")
    shell.run("/bin/sh", "-c", f"{delete} --yes --timeout 90s")
    shell.run("/bin/sh", "-c", f"{apply} --yes --timeout 90s")
    assert workspace(served)["resource"]["instanceType"] == "Standard_NC24s_v3"
    Path(apply.split()[-1]).unlink()


@pytest.mark.parametrize(
    ("editor", "words"),
    [
        ("no-such-editor", "cannot be run"),
        ("false", "exit code 1"),
        (replacing(("name: falcon$", "name: other")), "another object"),
        (replacing(("kind: Workspace", "kind: Pod")), "kind: 'Pod'"),
        ("'", "cannot be run"),
    ],
)
def test_an_edit_that_cannot_be(sandbox_shell: Shell, editor: str, words: str) -> None:
    shell, name = sandbox_shell, "falcon"
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edits"}})
    served = Served(shell, "edits", name)
    if "workspace.kaito.sh/falcon" not in shell.names("workspaces", "-n", "edits"):
        served.create("--no-wait")
    assert words in edit(served, editor, code=2).stderr


def test_an_editor_that_always_errs_comes_to_an_end(served: Served) -> None:
    done = edit(served, replacing(("^kind:", "kind: kind:")), code=2)
    assert "is refused" in done.stderr or "the file" in done.stderr
    assert "kaitoctl delete" not in done.stderr, "it is not for want of a new one"


def test_an_empty_file_writes_nothing(served: Served) -> None:
    assert "empty" in edit(served, "truncate -s 0", code=1).stderr
    assert "not found" in served.shell.kaitoctl("edit", "nobody", "-n", served.namespace, code=4).stderr


def test_scaling_is_refused_and_the_way_that_works_works(served: Served) -> None:
    shell, where = served.shell, ("-n", served.namespace)
    assert shell.kaitoctl("scale", served.name, "--count", "1", *where).stdout.endswith(" unchanged\n")
    refused = shell.kaitoctl("scale", served.name, "--count", "2", *where, code=2).stderr
    assert "resource.count: is immutable (1 -> 2)" in refused
    steps = refused.split("a new Workspace can: ")[1].split("; ")[0].split(", then ")
    assert [step.split()[1] for step in steps] == ["scale", "delete", "apply"]
    for step in steps:
        is_asked = not step.startswith("kaitoctl scale")
        done = shell.run("/bin/sh", "-c", step + (" --yes --timeout 90s" if is_asked else ""))
        assert done.returncode == 0, (step, done.stderr)
    assert workspace(served)["resource"]["count"] == 2


def test_a_restart_is_announced_asked_for_and_followed(served: Served) -> None:
    shell, where, running = served.shell, ("-n", served.namespace), pods(served)
    refused = shell.kaitoctl("restart", served.name, *where, code=2).stderr
    assert "1 pod restarts" in refused and "without service" in refused and "--yes" in refused
    for how in ("client", "server"):
        done = shell.kaitoctl("restart", served.name, *where, "--dry-run", how)
        assert done.stdout.endswith(f" restarted ({how} dry run)\n")
    assert pods(served) == running
    before = {claim["metadata"]["name"] for claim in shell.get("nodeclaims")["items"]}
    shell.kaitoctl("rollout", "restart", served.name, *where, "--yes", "--timeout", "90s")  # as with kubectl
    assert len(pods(served)) == 1 and pods(served) != running
    now = {claim["metadata"]["name"] for claim in shell.get("nodeclaims")["items"]}
    assert not now - before, "no node is bought for it"  # those of others may have gone meanwhile
    shell.kaitoctl("restart", "nobody", *where, code=4)


@pytest.mark.sandbox_alone
def test_a_restart_that_would_never_end_is_refused(tmp_path: Path) -> None:
    """As KAITO makes Deployments: the new pod first, which finds no GPU while the old one runs."""
    shell = Shell(tmp_path, "bare", {"KAITOCTL_SANDBOX": "1"})
    shell.kaitoctl("sandbox", "up", "--no-controller", "--speed", "200")
    try:
        made = ("create", "workspace", "w", "--preset", "falcon-7b", "--dry-run=client", "-o", "json")
        shell.apply(json.loads(shell.kaitoctl(*made).stdout))
        owner = shell.get("workspace", "w")
        labels = {"kaito.sh/workspace": "w"}
        gpu = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
        pod = {"containers": [{"name": "w", "image": "registry.example/f:1", **gpu}]}
        shell.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": "w",
                    "namespace": "default",
                    "ownerReferences": [
                        {"apiVersion": owner["apiVersion"], "kind": "Workspace", "name": "w",
                         "uid": owner["metadata"]["uid"], "controller": True}
                    ],
                },
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            }
        )  # fmt: skip
        shell.kubectl("wait", "deployment/w", "--for=jsonpath={.status.replicas}=1", "--timeout=30s")
        done = shell.kaitoctl("restart", "w", "--yes", code=2)
        assert "would wait forever; nothing was written" in done.stderr
        command = done.stderr.split("the old one goes first: ")[1].split("\n")[0]
        assert shell.run("/bin/sh", "-c", command).returncode == 0
        shell.kaitoctl("restart", "w", "--yes", "--no-wait")
        template = shell.get("deployment", "w")["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    finally:
        shell.kaitoctl("sandbox", "down", "--delete")


def test_get_is_status_on_a_screen(served: Served) -> None:
    where = ("-n", served.namespace)
    both = [served.shell.kaitoctl(word, served.name, *where).stdout.split() for word in ("get", "status")]
    ageless = [[word for word in words if not re.fullmatch(r"[0-9]+[ms].*", word)] for words in both]
    assert "NodeClaim" in ageless[0] and ageless[0] == ageless[1]


# --- sets --------------------------------------------------------------------------------------------------

PHIS = "inferenceset/phis"


@pytest.fixture
def phis(shell: Shell, namespace: str) -> Served:
    """A set of one replica that serves."""
    options = ("--preset", "phi-4-mini-instruct", "--instance-type", "Standard_NC24ads_A100_v4")
    create = ("create", "inference-set", "phis", *options, "--replicas", "1", "--yes", "-n", namespace)
    shell.kaitoctl(*create, "--timeout", "90s")
    return Served(shell, namespace, "phis")


def test_a_set_is_scaled_with_what_is_bought_and_what_goes_said_first(phis: Served) -> None:
    shell, where = phis.shell, ("-n", phis.namespace, "--timeout", "90s")
    planned = shell.kaitoctl("scale", "phis", "--replicas", "2", *where, "--dry-run", "server")
    assert "nodes asked for: 1 Standard_NC24ads_A100_v4 node" in planned.stderr
    asked = shell.kaitoctl("scale", "phis", "--replicas", "2", *where, code=2)
    assert "hint: add --yes" in asked.stderr
    assert len(shell.names("workspaces", "-n", phis.namespace)) == 1, "nothing was written yet"
    done = shell.kaitoctl("scale", "phis", "--replicas", "2", *where, "--yes")
    assert done.stdout == "inferenceset.kaito.sh/phis scaled\n"
    assert "2 of 2 replicas ready" in done.stderr
    assert shell.kaitoctl("scale", PHIS, "--replicas", "2", *where).stdout.endswith(" unchanged\n")
    down = shell.kaitoctl("scale", PHIS, "--replicas", "0", *where, "--yes")
    assert down.stderr.count("released: Workspace phis-") == 2
    assert shell.names("workspaces", "-n", phis.namespace) == []
    shown = shell.kaitoctl("scale", PHIS, "--replicas", "3", *where, "-o", "json").stdout
    assert json.loads(shown)["spec"]["replicas"] == 3
    assert shell.get("inferenceset", "phis", "-n", phis.namespace)["spec"]["replicas"] == 0, "printed alone"


def test_a_set_is_edited_judged_announced_and_followed(phis: Served) -> None:
    shell, where = phis.shell, ("-n", phis.namespace)
    assert "nothing was changed" in edit(phis, "true").stderr
    refused = edit(phis, replacing(("name: phi-4-mini-instruct", "name: phi-9")), code=2).stderr
    assert "the InferenceSet is refused" in refused and "phi-9" in refused and "delete" not in refused
    Path(refused.split("kaitoctl apply -f ")[1].split()[0]).unlink()
    adapters = replacing(("preset:", ADAPTERS.replace("\\n", "\\n    ")))
    done = edit(phis, adapters, code=2)
    assert "1 pod restarts" in done.stderr and "the edited InferenceSet is in " in done.stderr
    Path(done.stderr.split("the edited InferenceSet is in ")[1].strip()).unlink()
    prices = shell.home / "prices.json"
    prices.write_text('{"currency": "EUR", "per_hour": {"Standard_NC24ads_A100_v4": 3.5}}')
    done = edit(phis, replacing(("replicas: 1", "replicas: 2")), "--prices", str(prices), code=2)
    assert "1 Standard_NC24ads_A100_v4 node (3.50 EUR per hour" in done.stderr
    Path(done.stderr.split("the edited InferenceSet is in ")[1].strip()).unlink()
    done = edit(phis, adapters, "--yes")
    assert done.stdout == "inferenceset.kaito.sh/phis edited\n"
    (replica,) = shell.get("workspaces", *where)["items"]
    assert replica["inference"]["adapters"][0]["source"]["name"] == "style"
    assert "1 of 1 replicas ready" in done.stderr


def test_a_set_whose_status_moves_is_edited_and_one_that_somebody_changes_is_not(
    phis: Served, tmp_path: Path
) -> None:
    """Both while the editor is open."""
    config = tmp_path / "kubeconfig"
    config.write_text(phis.shell.kubectl("config", "view", "--raw"))
    words = ("patch", "inferenceset", "phis", "-n", phis.namespace, "--type=merge", "-p")
    status = ('{"status": {"replicas": 7}}', "--subresource=status")
    note = 's/^metadata:/metadata:\\n  annotations:\\n    note: "x"/'
    for meanwhile, change, code in (
        (status, note, 0),
        (('{"metadata": {"labels": {"by": "them"}}}',), "s/note:/other:/", 2),
    ):
        patch = shlex.join(["kubectl", "--kubeconfig", str(config), *words, *meanwhile])
        script = tmp_path / f"editor{code}"
        script.write_text(f'#!/bin/sh\n{patch} >/dev/null\nsed -i -e {shlex.quote(change)} "$1"\n')
        script.chmod(0o755)
        done = edit(phis, str(script), "--yes", "--no-wait", code=code)
    assert "InferenceSet" in done.stderr and "was changed by somebody else meanwhile" in done.stderr
    Path(done.stderr.split("the edited InferenceSet is in ")[1].strip()).unlink()


def test_an_edit_reads_the_config_maps_that_it_names_as_a_plan_does(shell: Shell, namespace: str) -> None:
    create = ("--preset", "phi-4", "--instance-type", "Standard_NC24ads_A100_v4", "-n", namespace)
    shell.kaitoctl("create", "workspace", "phi", *create, "--no-wait", "--yes")
    here: dict[str, Any] = {"KUBECONFIG": shell.kubeconfig, "KAITOCTL_SANDBOX": ""}
    words = ("edit", "phi", "-n", namespace, "--yes", "--no-wait")
    kaito = ("--target-version", "v0.12")

    once = 'grep -q config: "$1" || sed -i -e "s/^inference:/inference:\\n  config: none/" "$1"'
    editor = shlex.join(["sh", "-c", once, "-"])
    done = shell.kaitoctl(*words, *kaito, code=2, EDITOR=editor, **here)
    assert f"inference.config: there is no ConfigMap {namespace}/none" in done.stderr
    Path(done.stderr.split("the edited Workspace is in ")[1].split(";")[0]).unlink()
    assert "config" not in shell.get("workspace", "phi", "-n", namespace)["inference"]
    # kaitoctl's controller builds it, and its pods wait for the ConfigMap: that is said.
    done = shell.kaitoctl(*words, "--target-version", "kaitoctl", EDITOR=editor, **here)
    said = " ".join(done.stderr.split())
    assert f"there is no ConfigMap none in namespace {namespace}; the pods wait for it" in said
