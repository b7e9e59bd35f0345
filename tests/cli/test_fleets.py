"""Fleets on the command line: made, seen, and a template carried over beside a controller like KAITO's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_cluster import a_cluster, live, ready, said, until, walk_of
from fleet_world import adapter
from fleet_world import inference_set as set_of
from like_kaito import LikeKaito
from shell import Shell

from kaitoctl import fleet_controller, workspace_controller
from kaitoctl.commands import apply, delete, plan, rollout_fleet, status, why
from kaitoctl.commands.option_values import NOT_SAID, ManagedBy, Manifests, Which
from kaitoctl.commands.target import Target
from kaitoctl.errors import KaitoctlError, NegativeAnswer
from kaitoctl.kaito import api as kaito
from kaitoctl.kaito.fleet import kinds, validation
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import NODE_CLAIM, key_of
from kaitoctl.kube.request import Request

SET, WORKSPACE = kaito.INFERENCE_SET, kaito.WORKSPACE_V1BETA1


def test_the_manifest_of_a_set_is_made_offline_and_valid(offline: Shell) -> None:
    options = ["--preset", "phi-4-mini-instruct", "--instance-type", "Standard_NC24ads_A100_v4"]
    more = ["--replicas", "3", "--adapter", "style=r.io/style:1,pull-secret=p", "--set", "config=server"]
    done = offline.kaitoctl(
        "create", "inference-set", "phis", *options, *more, "--dry-run=client", "-o", "yaml"
    )
    made = yaml.safe_load(done.stdout)
    assert made["spec"]["replicas"] == 3
    assert made["spec"]["labelSelector"] == {"matchLabels": {"apps": "phis"}}
    assert made["spec"]["template"]["inference"] == {
        "preset": {"name": "phi-4-mini-instruct"},
        "config": "server",
        "adapters": [{"source": {"name": "style", "image": "r.io/style:1", "imagePullSecrets": ["p"]}}],
    }
    assert [item.code for item in validation.judge(made)] == []
    assert kinds.is_set(made)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replicas", "2"], "--preset is missing"),
        (["--preset", "phi-4", "--replicas", "-1"], "must not be negative"),
        (["--preset", "phi-9", "--instance-type", "Standard_NC24ads_A100_v4"], "phi-9"),
        (["--preset", "phi-4", "--set", "replica=2"], "no variable 'replica'"),
        (["--preset", "phi-4", "--api-version", "v2"], "--api-version"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(offline: Shell, options: list[str], words: str) -> None:
    done = offline.kaitoctl("create", "inference-set", "phis", *options, "--dry-run=client", code=2)
    assert words in done.stderr


# --- on a cluster ------------------------------------------------------------------------------------------


def test_beside_a_controller_like_kaitos_the_template_is_walked_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First adapter, so each is replaced; then another one, so each is changed in place; never two away."""
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)

    async def story() -> None:
        kaitos = (lambda client: LikeKaito(client).run(), workspace_controller.run)
        async with a_cluster(tmp_path, *kaitos) as (client, target):
            await client.send(request.create(SET, set_of(3)))

            async def all_ready() -> bool:
                return len(await ready(client)) == 3

            await until(all_ready)
            first = {key_of(one).name for one in await live(client)}
            await client.send(request.apply(SET, set_of(3, adapters=[adapter("a")]), manager="u", force=True))
            await asyncio.sleep(0.3)
            assert not any("adapters" in one["inference"] for one in await live(client)), "KAITO's hole"
            _, text, _ = await said(
                status.status, which=Which(("phis",)), watch=False, timeout=None, record=None,
                output_format="table", target=target,
            )  # fmt: skip
            assert "mixed, 3 of 3 replicas ready" in text
            assert "kaitoctl rollout fleet phis" in text.replace(f"--kubeconfig {target.kubeconfig} ", "")
            code, text, _ = await said(
                why.why, names=["phis"], output_format="short", catalog=None, managed=NOT_SAID, target=target
            )
            assert code == 1
            assert "3 of 3 replicas have an older template" in text
            _, _, text = await said(rollout_fleet.rollout_fleet, **walk_of(dry_run="client"), target=target)
            assert text.count("replaced by another Workspace") == 3

            async def pause(value: str | None) -> None:
                patch = {"metadata": {"annotations": {"kaitoctl.dev/rollout-paused": value}}}
                await client.send(request.merge_patch(SET, "default", "phis", patch, manager="somebody"))

            await pause("true")
            with pytest.raises(NegativeAnswer, match="is paused") as refused:
                await said(rollout_fleet.rollout_fleet, **walk_of(), target=target)
            assert "kaitoctl rollout resume phis" in str(refused.value.hint)
            assert not any("adapters" in one["inference"] for one in await live(client))
            await pause(None)

            lowest = [3]

            async def watching() -> None:
                while True:
                    lowest.append(len(await ready(client)))
                    await asyncio.sleep(0.02)

            watch = asyncio.create_task(watching())
            code, _, text = await said(rollout_fleet.rollout_fleet, **walk_of(canary=1), target=target)
            assert code == 0, text
            assert sum("adapters" in one["inference"] for one in await live(client)) == 1

            async def keep(partition: int) -> None:
                patch = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}}
                await client.send(request.merge_patch(SET, "default", "phis", patch, manager="somebody"))

            await keep(1)
            code, _, text = await said(rollout_fleet.rollout_fleet, **walk_of(), target=target)
            assert (code, "partition 1 of its updateStrategy" in text) == (0, True), text
            assert sum("adapters" in one["inference"] for one in await live(client)) == 2
            await keep(0)
            code, _, text = await said(rollout_fleet.rollout_fleet, **walk_of(), target=target)
            assert code == 0, text
            second = await live(client)
            assert first.isdisjoint(key_of(one).name for one in second)
            assert all(one["inference"]["adapters"] for one in second)
            both = [adapter("a"), adapter("b")]
            await client.send(request.apply(SET, set_of(3, adapters=both), manager="u", force=True))
            code, _, text = await said(rollout_fleet.rollout_fleet, **walk_of(), target=target)
            assert code == 0, text
            third = await live(client)
            assert {key_of(one).name for one in third} == {key_of(one).name for one in second}
            assert all(len(one["inference"]["adapters"]) == 2 for one in third)
            watch.cancel()
            assert min(lowest) >= 2

    asyncio.run(story())


def test_our_own_controller_needs_no_walk_and_one_replica_that_fails_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaitoctl.commands.follow_fleet.LOOK_AGAIN_S", 0.1)

    async def story() -> None:
        async with a_cluster(tmp_path, fleet_controller.run_together) as (client, target):
            await client.send(request.create(SET, set_of(2)))

            async def all_ready() -> bool:
                return len(await ready(client)) == 2

            await until(all_ready)
            await client.send(request.apply(SET, set_of(2, adapters=[adapter("a")]), manager="u", force=True))
            code, _, text = await said(rollout_fleet.rollout_fleet, **walk_of(), target=target)
            assert code == 0, text
            assert all(one["inference"]["adapters"] for one in await live(client))
            scale = Request("GET", f"{SET.path('default', 'phis')}/scale")
            found = await client.send(scale)
            assert (found["spec"]["replicas"], found["status"]["replicas"]) == (2, 2)
            code, text, _ = await said(
                status.status, which=Which(everywhere=True), watch=False, timeout=None, record=None,
                output_format="json", target=target,
            )  # fmt: skip
            (shown,) = json.loads(text)["inferenceSets"]
            assert (shown["state"], shown["readyReplicas"], len(shown["members"])) == ("ready", 2, 2)
            await apply_three(tmp_path, client, target)

    asyncio.run(story())


async def claims_of(client: Client) -> set[str]:
    return {key_of(claim).name for claim in (await client.list(NODE_CLAIM)).items}


async def apply_three(folder: Path, client: Client, target: Target) -> None:
    """One replica more, and another model: what is bought and what restarts is said, and done when agreed."""
    file = folder / "three.yaml"
    file.write_text(yaml.safe_dump(set_of(3, preset={"name": "phi-4"})))
    made: dict[str, Any] = {
        "managed": ManagedBy("kaitoctl"),
        "catalog": None,
        "prices": None,
        "target": target,
    }
    code, text, _ = await said(
        plan.plan,
        given=Manifests(filename=[str(file)]),
        force_conflicts=True,
        out=None,
        output_format="json",
        **made,
    )
    assert code == 1
    (change,) = json.loads(text)["changes"]
    assert (change["nodesAsked"], change["podsRestarted"], len(change["nodesReturned"])) == (3, 2, 2)
    assert {field["path"] for field in change["fields"]} >= {"spec.replicas"}
    how: dict[str, Any] = {"plan": None, "dry_run": "none", "force_conflicts": True, "wait": True}
    how |= {"prune": False, "selector": ""}
    with pytest.raises(KaitoctlError, match="no terminal to confirm"):
        await said(apply.apply, given=Manifests(filename=[str(file)]), yes=False, timeout=None, **how, **made)
    assert len(await live(client)) == 2
    code, _, text = await said(
        apply.apply, given=Manifests(filename=[str(file)]), yes=True, timeout="60s", **how, **made
    )
    assert code == 0, text
    assert len(await ready(client)) == 3
    assert {one["inference"]["preset"]["name"] for one in await live(client)} == {"phi-4"}

    async def a_node_each() -> bool:
        """Those of the preset before go with its Workspaces, or those bought since: whichever got no pod."""
        return len(await claims_of(client)) == 3

    await until(a_node_each)
    gone: dict[str, Any] = {"ignore_not_found": False, "wait": True, "timeout": "60s", "target": target}
    (alone := folder / "workspace.yaml").write_text(
        "{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: phis}}"
    )
    for names, files in ((["workspace/phis"], []), (None, [str(alone)])):
        with pytest.raises(KaitoctlError, match="Workspace default/phis not found"):
            given = Manifests(filename=files)
            await said(delete.delete, names=names, given=given, dry_run="client", yes=True, **gone)
    with pytest.raises(KaitoctlError, match="no terminal to confirm"):
        await said(
            delete.delete, names=["inferenceset/phis"], given=Manifests(), dry_run="none", yes=False, **gone
        )
    code, text, told = await said(
        delete.delete, names=None, given=Manifests(filename=[str(file)]), dry_run="none", yes=True, **gone
    )
    assert code == 0, told
    assert "inferenceset.kaito.sh/phis deleted" in text
    assert told.count("will be deleted") == 4
    assert (await client.list(WORKSPACE, "default")).items == []
    assert (await client.list(SET, "default")).items == []


def test_there_is_no_such_set(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_cluster(tmp_path) as (_, target):
            with pytest.raises(KaitoctlError, match="InferenceSet default/phis not found"):
                await said(rollout_fleet.rollout_fleet, **walk_of(), target=target)
            with pytest.raises(KaitoctlError, match="Workspace default/phis not found"):
                how: dict[str, Any] = {"output_format": "text", "catalog": None, "managed": NOT_SAID}
                await said(why.why, names=["phis"], target=target, **how)

    asyncio.run(story())


def test_nodes_are_bought_for_a_set_only_with_consent(shell: Shell, namespace: str) -> None:
    """By its kubeconfig a sandbox is any cluster, which somebody pays for."""
    here: dict[str, Any] = {"KUBECONFIG": shell.kubeconfig, "KAITOCTL_SANDBOX": ""}
    name = namespace[-30:].strip("-")
    size = ["--replicas", "2", "--instance-type", "Standard_NC24ads_A100_v4"]
    create = ["create", "inference-set", name, "--preset", "phi-4-mini-instruct", *size, "-n", namespace]
    refused = shell.kaitoctl(*create, "--no-wait", code=2, **here)
    assert "no terminal to confirm" in refused.stderr
    assert "nodes asked for: 2 Standard_NC24ads_A100_v4" in refused.stderr
    assert shell.names("inferencesets", "-n", namespace) == []
    shell.kaitoctl(*create, "--dry-run=server", **here)
    assert shell.names("inferencesets", "-n", namespace) == []
    shell.kaitoctl(*create, "--yes", "--no-wait", **here)
    assert shell.names("inferencesets", "-n", namespace) == [f"inferenceset.kaito.sh/{name}"]
    shell.kubectl("delete", "inferenceset", name, "-n", namespace)
