"""`kaitoctl plan` and `apply` on clusters: what is announced happens, and all is written or nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from shell import BIN, Shell

TYPE = "Standard_NC12s_v3"


def workspace(namespace: str, name: str, **inference: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {
            "instanceType": TYPE,
            "labelSelector": {"matchLabels": {"apps": f"{namespace[-40:].lstrip('-')}-{name}"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}, **inference},
    }


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def write(shell: Shell, name: str, *objects: Any) -> str:
    (shell.home / name).write_text("---\n".join(json.dumps(obj) + "\n" for obj in objects))
    return name


def plan(shell: Shell, *arguments: str, code: int) -> Any:
    return json.loads(shell.kaitoctl("plan", *arguments, "-o", "json", code=code).stdout)


def claims_of(shell: Shell, namespace: str) -> list[str]:
    return shell.names("nodeclaims", "-l", f"kaito.sh/workspacenamespace={namespace}")


ADAPTERS = [{"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "0.5"}]


def test_a_kind_of_kaitos_that_nobody_knows_is_no_quiet_skip(shell: Shell, namespace: str) -> None:
    misspelt = {**workspace(namespace, "two"), "kind": "Workspce"}
    file = write(shell, "misspelt.yaml", workspace(namespace, "one"), misspelt)
    done = shell.kaitoctl("plan", "-f", file, code=1)
    assert "Workspce two is skipped: kaitoctl knows no such kind of kaito.sh" in " ".join(done.stderr.split())


def test_many_documents_are_planned_asked_for_applied_and_followed(shell: Shell, namespace: str) -> None:
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}}
    file = write(
        shell,
        "many.yaml",
        workspace(namespace, "one"),
        config_map(namespace, "cm", a="b"),
        workspace(namespace, "two"),
        other,
    )
    planned = plan(shell, "-f", file, code=1)
    assert planned["nodesAsked"] == {TYPE: 2}
    assert [item["kind"] for item in planned["changes"]] == ["ConfigMap", "Workspace", "Workspace"]
    assert planned["skipped"] == ["Secret s"]
    refused = shell.kaitoctl("apply", "-f", file, code=2)
    assert "nodes asked for: 1 Standard_NC12s_v3 node" in refused.stderr and "--yes" in refused.stderr
    assert not shell.names("workspaces", "-n", namespace)

    done = shell.kaitoctl("apply", "-f", file, "--yes", "--timeout", "90s")
    assert done.stdout.splitlines() == [
        "configmap/cm created",
        "workspace.kaito.sh/one created",
        "workspace.kaito.sh/two created",
    ]
    assert f"{namespace}/one  ready" in done.stderr and "2 of 2 ready" in done.stderr
    assert len(claims_of(shell, namespace)) == 2
    assert "secret/s" not in shell.names("secrets", "-n", namespace)

    assert plan(shell, "-f", file, code=0)["podsRestarted"] == 0
    again = shell.kaitoctl("apply", "-f", file)
    assert again.stdout.splitlines()[1] == "workspace.kaito.sh/one unchanged"


def test_nodes_have_a_price_where_somebody_has_named_it(shell: Shell, namespace: str) -> None:
    other = workspace(namespace, "b")
    other["resource"]["instanceType"] = "Standard_NC24s_v3"
    file = write(shell, "w.yaml", workspace(namespace, "a"), other)
    prices = write(shell, "prices.json", {"currency": "EUR", "per_hour": {TYPE: 6.5}, "region": "here"})
    planned = plan(shell, "-f", file, "--prices", prices, code=1)
    assert planned["costPerHour"]["nodesAsked"] == 6.5
    assert planned["costPerHour"]["withoutPrice"] == ["Standard_NC24s_v3"]
    text = shell.kaitoctl("plan", "-f", file, "--prices", prices, code=1).stdout
    assert f"1 {TYPE} node (6.50 EUR per hour; prices of here)" in text
    assert "(no price for Standard_NC24s_v3; prices of here)" in text
    assert "(6.50 EUR per hour and no price for Standard_NC24s_v3; prices of here)" in text
    asked = shell.kaitoctl("apply", "-f", file, "--prices", prices, code=2).stderr
    assert "6.50 EUR per hour" in asked and "--yes" in asked
    assert "costPerHour" not in plan(shell, "-f", file, code=1)


def test_restarts_are_announced_and_asked_for(shell: Shell, namespace: str) -> None:
    file = write(shell, "one.yaml", workspace(namespace, "w"))
    shell.kaitoctl("apply", "-f", file, "--yes", "--timeout", "90s")
    pods = shell.names("pods", "-n", namespace)
    write(shell, "one.yaml", workspace(namespace, "w", adapters=ADAPTERS))
    (change,) = plan(shell, "-f", file, code=1)["changes"]
    assert change["podsRestarted"] == 1 and change["outage"]["interrupts"]
    assert [item["path"] for item in change["fields"]] == ["inference.adapters"]
    assert "without service" in shell.kaitoctl("apply", "-f", file, code=2).stderr
    assert shell.names("pods", "-n", namespace) == pods
    shell.kaitoctl("apply", "-f", file, "--yes", "--timeout", "90s")
    assert shell.names("pods", "-n", namespace) != pods

    # What a file no longer says is taken away: that, too, is shown and asked.
    write(shell, "one.yaml", workspace(namespace, "w"))
    (change,) = plan(shell, "-f", file, code=1)["changes"]
    assert change["takesAway"] and change["podsRestarted"] == 1


def test_nothing_is_written_when_one_is_refused_and_all_problems_are_shown(
    shell: Shell, namespace: str
) -> None:
    file = write(
        shell,
        "half.yaml",
        config_map(namespace, "cm", a="b"),
        workspace(namespace, "good"),
        workspace(namespace, "bad", preset={"name": "falcon-7c"}),
        workspace("no-such-namespace", "lost"),
        workspace(namespace, "good"),
    )
    with (shell.home / "half.yaml").open("a") as half:
        half.write("---\na: [\n")
    done = shell.kaitoctl("apply", "-f", file, "--yes", code=2)
    assert "nothing was written" in done.stderr
    for words in ("falcon-7c", "no-such-namespace", "given twice", "document 6"):
        assert words in done.stderr, words
    assert not shell.names("workspaces", "-n", namespace)
    assert "configmap/cm" not in shell.names("configmaps", "-n", namespace)
    planned = plan(shell, "-f", file, code=2)
    assert [item["fate"] for item in planned["changes"]].count("refused") == planned["refused"] == 4


def test_what_cannot_change_is_refused(shell: Shell, namespace: str) -> None:
    file = write(shell, "w.yaml", workspace(namespace, "w"))
    shell.kaitoctl("apply", "-f", file, "--yes", "--no-wait")
    changed = workspace(namespace, "w")
    changed["resource"]["count"] = 2
    write(shell, "w.yaml", changed)
    assert "resource.count: is immutable (1 -> 2)" in shell.kaitoctl("apply", "-f", file, code=2).stderr


def test_what_is_immutable_is_recreated_and_the_way_there_works(shell: Shell, namespace: str) -> None:
    file = write(shell, "w.yaml", workspace(namespace, "w"))
    shell.kaitoctl("apply", "-f", file, "--yes", "--timeout", "90s")
    (claim,) = claims_of(shell, namespace)
    changed = workspace(namespace, "w", preset={"name": "phi-2"})
    write(shell, "w.yaml", changed)
    planned = plan(shell, "-f", file, code=2)
    (change,) = planned["changes"]
    assert change["fate"] == "recreated" and planned["refused"] == 1 and planned["podsRestarted"] == 0
    assert change["podsRestarted"] == 1 and change["outage"]["interrupts"]
    assert [line.split()[1].rstrip(",") for line in change["nodesReturned"]] == [claim.split("/")[1]]
    for form, bold in (("text", "±"), ("markdown", "recreated")):
        shown = shell.kaitoctl("plan", "-f", file, "-o", form, code=2).stdout
        assert f"Workspace {namespace}/w to be recreated" in shown and bold in shown
        assert f"when recreated: released: NodeClaim {claim.split('/')[1]}" in shown
        assert "when recreated: 1 pod restarts" in shown and "1 to be recreated" in shown
        assert "restarts" not in shown.replace("when recreated: 1 pod restarts", ""), "nothing is written"
        assert shown.count("to recreate it: kaitoctl delete w") == shown.count("recreate it") == 1
    stderr = shell.kaitoctl("apply", "-f", file, "--yes", code=2).stderr
    assert f"to recreate Workspace {namespace}/w: {change['recreate']}" in " ".join(stderr.split())
    assert "recreate it" not in stderr and "inference.preset: is immutable (falcon-7b -> phi-2)" in stderr
    # What was read from stdin is gone with the shell's pipe: it takes a file.
    piped = shell.run("sh", "-c", f"kaitoctl plan -f - < {file}")
    assert "kaitoctl apply -f FILE (FILE: what was read from stdin)\n" in piped.stdout
    delete, apply = change["recreate"].split(", then ")
    shell.kaitoctl(*delete.split()[1:], "--yes", "--timeout", "90s")
    shell.kaitoctl(*apply.split()[1:], "--yes", "--no-wait")
    assert shell.get("workspace", "w", "-n", namespace)["inference"]["preset"]["name"] == "phi-2"


def test_a_plan_says_how_long_the_model_loads_and_how_much_context_it_has(
    shell: Shell, namespace: str
) -> None:
    machine = "Standard_NC24ads_A100_v4"
    made = workspace(namespace, "w", preset={"name": "phi-4"})
    made["resource"]["instanceType"] = machine
    file = write(shell, "w.yaml", made, workspace(namespace, "old"))
    of_model, of_preset = plan(shell, "-f", file, code=1)["changes"]
    fits = json.loads(shell.kaitoctl("fit", "phi-4", "-o", "json", "--all").stdout)
    (on,) = [one for one in fits["choices"] if one["instance_type"] == machine]
    assert of_model["contextTokens"] == on["context"] > 2048
    assert of_model["modelLoadMostSeconds"] >= 600 and of_preset["modelLoadMostSeconds"] == 1800
    assert of_preset["contextTokens"] is None
    for form in ("text", "markdown"):
        shown = shell.kaitoctl("plan", "-f", file, "-o", form, code=1).stdout
        assert f"context of at most {on['context']:,} tokens on 1 {machine} node" in shown
        assert "model: at most 30 minutes to load" in shown


def of_size(namespace: str, length: str) -> tuple[Any, Any]:
    """A ConfigMap with a context, and a Workspace of one of today's models that names it."""
    made = workspace(namespace, "sized", preset={"name": "phi-4-mini-instruct"}, config="size")
    made["resource"]["instanceType"] = "Standard_NC24ads_A100_v4"
    return config_map(
        namespace, "size", **{"inference_config.yaml": f"vllm:\n  max-model-len: {length}\n"}
    ), made


def test_the_context_of_a_config_map_is_judged_and_counted_where_kaitoctls_controller_manages(
    shell: Shell, namespace: str
) -> None:
    for length in ("abc", "999999999"):
        file = write(shell, "sized.yaml", *of_size(namespace, length))
        (refused,) = [one for one in plan(shell, "-f", file, code=2)["changes"] if one["kind"] == "Workspace"]
        assert "max-model-len" in refused["problems"][0]
        shell.kaitoctl("apply", "-f", file, "--yes", "--no-wait", code=2)
    assert not shell.names("workspaces", "-n", namespace)
    file = write(shell, "sized.yaml", *of_size(namespace, "8192"))
    _, made = plan(shell, "-f", file, code=1)["changes"]
    assert made["contextTokens"] == 8192
    shell.kaitoctl("apply", "-f", file, "--yes", "--no-wait")

    settings, other = of_size(namespace, "4096")
    other["inference"]["preset"]["name"] = "phi-4"
    file = write(shell, "other.yaml", settings, other)
    _, anew = plan(shell, "-f", file, code=2)["changes"]
    assert anew["fate"] == "recreated" and anew["contextTokens"] == 4096


def test_todays_models_get_no_nodes_of_the_default_type_that_their_server_cannot_use(
    shell: Shell, namespace: str
) -> None:
    create = ("create", "workspace", "w", "-n", namespace, "--yes", "--no-wait")
    for preset in ("phi-4", "llama-3.3-70b-instruct", "phi-3.5-mini-instruct"):
        for options in ((), ("--api-version", "v1alpha1"), ("--api-version", "v1beta1")):
            refused = shell.kaitoctl(*create, "--preset", preset, *options, code=2).stderr
            assert f"kaitoctl fit {preset}" in refused and "--node-provisioner byo" in refused
            assert "nodes asked for" not in refused
    made = workspace(namespace, "w", preset={"name": "phi-4"})
    for version in ("v1alpha1", "v1beta1"):
        file = write(shell, "v100.yaml", {**made, "apiVersion": f"kaito.sh/{version}"})
        (refused,) = plan(shell, "-f", file, code=2)["changes"]
        assert "compute capability 7.0" in refused["problems"][0]
        shell.kaitoctl("apply", "-f", file, "--yes", "--no-wait", code=2)
    assert not shell.names("workspaces", "-n", namespace) and not claims_of(shell, namespace)
    byo = shell.kaitoctl(*create, "--preset", "phi-4", "--node-provisioner", "byo", "--dry-run", "server")
    assert "created" in byo.stdout
    guide = shell.kaitoctl(*create, "--preset", "falcon-7b", "--dry-run", "server")
    assert "nodes asked for: 1 Standard_NC12s_v3 node" in guide.stderr


def test_a_plan_that_was_kept_is_applied_or_refused_when_the_world_has_moved(
    shell: Shell, namespace: str
) -> None:
    file = write(shell, "w.yaml", workspace(namespace, "w"), config_map(namespace, "cm", a="b"))
    shell.kaitoctl("plan", "-f", file, "--out", "w.plan", code=1)
    (shell.home / "w.yaml").unlink()
    done = shell.kaitoctl("apply", "--plan", "w.plan", "--yes", "--no-wait")
    assert "workspace.kaito.sh/w created" in done.stdout
    again = shell.kaitoctl("apply", "--plan", "w.plan", "--yes", code=2)
    assert "no longer as it was" in again.stderr and f"Workspace {namespace}/w exists now" in again.stderr
    shell.kaitoctl("rollout", "status", "w", "-n", namespace)  # its own rollout moves the world, too

    file = write(shell, "w.yaml", workspace(namespace, "w", adapters=ADAPTERS))
    shell.kaitoctl("plan", "-f", file, "--out", "w.plan", code=1)
    shell.kubectl("label", "workspace", "w", "-n", namespace, "team=blue")  # which is no obstacle
    shell.kaitoctl("apply", "--plan", "w.plan", "--dry-run", "client")
    patch = '{"inference":{"adapters":[{"source":{"name":"x","image":"registry.example/x:1"}}]}}'
    shell.patch(patch, "workspace", "w", "-n", namespace)
    refused = shell.kaitoctl("apply", "--plan", "w.plan", "--yes", code=2)
    assert "the cluster is no longer as it was" in refused.stderr or "--force-conflicts" in refused.stderr


@pytest.mark.parametrize("how", ["client", "server"])
def test_a_dry_run_shows_and_writes_nothing(shell: Shell, namespace: str, how: str) -> None:
    file = write(shell, "w.yaml", workspace(namespace, "w"))
    done = shell.kaitoctl("apply", "-f", file, "--dry-run", how)
    assert done.stdout == f"workspace.kaito.sh/w created ({how} dry run)\n"
    assert not shell.names("workspaces", "-n", namespace)


def test_fields_of_another_manager_are_taken_over_only_by_force(shell: Shell, namespace: str) -> None:
    shell.apply(workspace(namespace, "w", adapters=ADAPTERS))
    stronger = [{**ADAPTERS[0], "strength": "0.9"}]
    file = write(shell, "w.yaml", workspace(namespace, "w", adapters=stronger))
    assert "--force-conflicts" in shell.kaitoctl("apply", "-f", file, "--yes", code=2).stderr
    shell.kaitoctl("apply", "-f", file, "--yes", "--no-wait", "--force-conflicts")
    (adapter,) = shell.get("workspace", "w", "-n", namespace)["inference"]["adapters"]
    assert adapter["strength"] == "0.9"


def test_a_folder_and_what_kubectl_has_saved(shell: Shell, namespace: str) -> None:
    shell.apply(workspace(namespace, "w"))
    folder = shell.home / f"folder-{namespace}"
    folder.mkdir()
    saved = shell.kubectl("get", "workspaces", "-n", namespace, "-o", "json")
    (folder / "saved.json").write_text(saved)
    (change,) = plan(shell, "-f", folder.name, code=0)["changes"]
    assert change["fate"] == "unchanged" and change["name"] == "w"


def test_a_pull_secret_that_is_missing_is_refused(shell: Shell, namespace: str) -> None:
    private = [{"source": {**ADAPTERS[0]["source"], "imagePullSecrets": ["nope"]}, "strength": "0.5"}]  # type: ignore[dict-item]
    file = write(shell, "w.yaml", workspace(namespace, "w", adapters=private))
    assert "no pull secret nope" in shell.kaitoctl("apply", "-f", file, "--yes", code=2).stderr


def test_a_namespace_that_is_ending_takes_nothing_more(shell: Shell, namespace: str) -> None:
    ending = f"{namespace[:50]}-ends"
    held = config_map(ending, "held", a="b")
    held["metadata"]["finalizers"] = ["example.org/hold"]
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ending}})
    shell.apply(held)
    shell.end_namespace(ending)
    file = write(shell, "w.yaml", config_map(namespace, "cm", a="b"), workspace(ending, "w"))
    done = shell.kaitoctl("apply", "-f", file, "--yes", code=2)
    assert "nothing was written" in done.stderr and "being terminated" in done.stderr
    assert "configmap/cm" not in shell.names("configmaps", "-n", namespace)
    nothing = '{"metadata":{"finalizers":null}}'
    shell.patch(nothing, "configmap", "held", "-n", ending)


def said_by_apply(
    shell: Shell, *given: str, once: str, then: Callable[[subprocess.Popen[str]], None], code: int
) -> str:
    """What `apply` says on stderr while it follows; something happens once a line has some words."""
    command = [str(BIN / "kaitoctl"), "apply", *given, "--yes"]
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=shell.home, env=shell.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if once in line and not any(once in earlier for earlier in lines):
                then(process)
            lines.append(line)
        assert process.wait(20) == code
    return "".join(lines)


@pytest.mark.sandbox_alone
def test_whose_change_is_ready_is_said_when_somebody_else_came_later(shell: Shell, namespace: str) -> None:
    late = workspace(namespace, "late")
    labels = late["resource"]["labelSelector"]["matchLabels"]
    labels["sandbox.kaitoctl.dev/fault"] = "never-joins"
    file = write(shell, f"{namespace}.yaml", late)

    def meanwhile(_: subprocess.Popen[str]) -> None:
        shell.patch({"inference": {"adapters": ADAPTERS}}, "workspace", "late", "-n", namespace)
        shell.add_node(f"node-of-{namespace}"[:60].strip("-"), "Standard_NC12s_v3", **labels)

    said = said_by_apply(shell, "-f", file, once=f"{namespace}/late  preparing", then=meanwhile, code=0)
    assert f"Workspace {namespace}/late was changed by somebody else meanwhile (generation 1 -> 2)" in said


@pytest.mark.sandbox_alone
@pytest.mark.parametrize("is_kept", [False, True])
def test_ctrl_c_says_what_was_applied_and_the_same_command_goes_on(
    shell: Shell, namespace: str, is_kept: bool
) -> None:
    """Of a plan that was kept: the folder that it is of, and not a hundred files of it."""
    never = workspace(namespace, "never")
    never["resource"]["labelSelector"]["matchLabels"]["sandbox.kaitoctl.dev/fault"] = "never-joins"
    (shell.home / namespace).mkdir()
    write(shell, f"{namespace}/1.yaml", config_map(namespace, "cm", a="b"))
    write(shell, f"{namespace}/2.yaml", never)
    file = str(shell.home / namespace)
    if is_kept:
        shell.kaitoctl("plan", "-f", file, "--out", "kept.plan", code=1)
    given = ("--plan", "kept.plan") if is_kept else ("-f", file)

    def interrupt(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGINT)

    said = said_by_apply(shell, *given, once=f"{namespace}/never  preparing", then=interrupt, code=130)
    assert f"applied: ConfigMap {namespace}/cm, Workspace {namespace}/never" in said
    assert f"to continue, run again: kaitoctl apply -f {file}\n" in said
    again = shell.kaitoctl("apply", "-f", file, "--no-wait")
    assert again.stdout.splitlines()[1] == "workspace.kaito.sh/never unchanged"


def test_of_two_who_apply_at_once_one_is_told(shell: Shell, namespace: str) -> None:
    file = write(shell, "w.yaml", config_map(namespace, "cm", a="0"), workspace(namespace, "w"))
    shell.kaitoctl("apply", "-f", file, "--yes", "--no-wait")
    files = [write(shell, f"{who}.yaml", config_map(namespace, "cm", a=who)) for who in ("x", "y")]
    with ThreadPoolExecutor(2) as people:
        done = list(
            people.map(lambda one: shell.run(str(BIN / "kaitoctl"), "apply", "-f", one, "--yes"), files)
        )
    value = shell.get("configmap", "cm", "-n", namespace)["data"]["a"]
    won = [one for one in done if one.returncode == 0]
    assert won and value in ("x", "y")
    assert all("plan" in one.stderr for one in done if one.returncode)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apply"], "one of the two"),
        (["apply", "-f", "x.yaml", "--plan", "y"], "one of the two"),
        (["apply", "-f", "missing.yaml"], "missing.yaml"),
        (["apply", "--plan", "missing.plan"], "missing.plan"),
        (["apply", "-f", ""], "names no file"),
        (["apply", "-f", "-", "-f", "-"], "only once"),
        (["apply", "-f", "-", "--dry-run", "maybe"], "--dry-run 'maybe'"),
        (["apply", "-f", "-", "--timeout", "soon"], "is not a duration"),
        (["apply", "-f", "-"], "there is no document"),
        (["plan", "-f", "-"], "there is no document"),
        (["plan", "-f", "."], "no .yaml"),
        (["plan", "-f", "-", "-o", "xml"], "--output 'xml'"),
        (["plan", "-f", "-", "--target-version", "v99.x"], "--target-version"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    offline: Shell, arguments: list[str], words: str
) -> None:
    assert words in offline.kaitoctl(*arguments, code=2).stderr


@pytest.mark.parametrize("text", ["", "{}", '{"apiVersion":"kaitoctl.dev/v1","kind":"Plan"}', "[1]", "\x00"])
def test_what_is_no_plan_is_refused(offline: Shell, text: str) -> None:
    (offline.home / "x.plan").write_text(text)
    assert "not a plan file" in offline.kaitoctl("apply", "--plan", "x.plan", code=2).stderr
