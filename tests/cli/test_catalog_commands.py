"""models, skus, fit, template, convert, schema and the catalog of create, as a user runs them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import node as gpu_node
from builders import pod as gpu_pod
from shell import BIN, Shell

CREATE = ["create", "workspace", "w", "--dry-run=client", "-o", "json"]
PHI = [*CREATE, "--preset", "phi-3-mini-4k-instruct", "--instance-type", "Standard_NC24ads_A100_v4"]


def answer(shell: Shell, *arguments: str, **how: Any) -> Any:
    return json.loads(shell.kaitoctl(*arguments, "-o", "json", **how).stdout)


def first_words(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


# --- models and skus -----------------------------------------------------------------------------------


def test_models_are_listed_by_version(offline: Shell) -> None:
    everything = offline.kaitoctl("models", "list", "-o", "name").stdout.split()
    old = offline.kaitoctl("models", "list", "--target-version", "v0.3", "-o", "name").stdout.split()
    new = first_words(offline.kaitoctl("models", "list", "--target-version", "v0.12").stdout)[1:]
    assert "falcon-7b" in old and "phi-3.5-mini-instruct" not in old
    assert "phi-4" in new and "moonshotai/kimi-k2.5" in new and "falcon-7b" not in new
    assert set(everything) >= {*old, *new}


def test_a_model_describes_itself_and_its_source(offline: Shell) -> None:
    shown = offline.kaitoctl("models", "describe", "META-llama/llama-3.1-8b-instruct").stdout
    assert "HF_TOKEN" in shown and "14.96 GiB" in shown and "Source" in shown
    both = offline.kaitoctl("models", "describe", "mistral-7b").stdout
    assert "Preset:" in both and "Model:" in both


def test_what_describe_prints_is_a_catalog_file(offline: Shell) -> None:
    row = offline.kaitoctl("models", "describe", "falcon-40b", "-o", "yaml").stdout
    (offline.home / "mine.yaml").write_text(row.replace("400Gi", "512Gi"))
    shown = offline.kaitoctl("models", "describe", "falcon-40b", "--catalog", "mine.yaml").stdout
    assert "512Gi" in shown
    assert "512Gi" in offline.kaitoctl("models", "list", KAITOCTL_CATALOG="mine.yaml").stdout


def test_instance_types_are_listed_by_cloud_and_version(offline: Shell) -> None:
    arc = offline.kaitoctl("skus", "list", "--cloud", "arc", "-o", "name").stdout.split()
    assert len(arc) == 8
    wide = offline.kaitoctl("skus", "list", "--cloud", "aws", "-o", "wide").stdout
    assert next(line for line in wide.splitlines() if line.startswith("g4ad.xlarge")).count(" no ") == 1
    rows = answer(offline, "skus", "list", "--target-version", "v0.12")["instance_types"]
    assert len(rows) == 14 + 35 + 8


# --- fit -----------------------------------------------------------------------------------------------


def test_fit_marks_the_smallest_and_says_why_not(offline: Shell) -> None:
    done = offline.kaitoctl("fit", "llama-2-13b-chat", "--cloud", "azure", "--all")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("smallest: Standard_NC12s_v3, 1 node of 2 x NVIDIA V100, ")
    assert sum("smallest" in line for line in lines) == 1
    assert "GiB per GPU needed" in next(line for line in lines if line.startswith("Standard_NV24 "))


def test_fit_shows_five_and_how_many_more(offline: Shell) -> None:
    lines = offline.kaitoctl("fit", "phi-4").stdout.splitlines()
    rows = lines[lines.index("") + 2 : -1]
    assert len(rows) == 5
    fitting = [choice for choice in answer(offline, "fit", "phi-4")["choices"] if choice["fits"]]
    assert lines[-1].startswith(f"{len(fitting) - 5} more fit, ")
    assert all(choice["context"] >= 2048 for choice in fitting)


def test_the_context_that_is_shown_is_the_longest_that_takes_no_more_nodes(offline: Shell) -> None:
    model = ("fit", "llama-3.1-8b-instruct", "--cloud", "azure")
    found = [one for one in answer(offline, *model)["choices"] if one["context"] < 131_072]
    assert found
    for choice in found[:3]:
        for more, same in ((0, True), (1, False)):
            said = answer(offline, *model, "--max-model-len", str(choice["context"] + more), "--all")
            other = next(one for one in said["choices"] if one["instance_type"] == choice["instance_type"])
            assert (other["nodes"] == choice["nodes"]) == same, (choice, more)


def test_the_cheapest_comes_first_where_prices_are_given(offline: Shell) -> None:
    assert "--prices FILE" in offline.kaitoctl("fit", "phi-4", "--cheapest", code=2).stderr
    file = offline.home / "prices.yaml"
    file.write_text(
        "currency: EUR\nper_hour: {Standard_ND96amsr_A100_v4: 1.5, Standard_NC24ads_A100_v4: 3}\n"
    )
    done = offline.kaitoctl("fit", "phi-4", "--cheapest", "--prices", str(file))
    first = done.stdout.splitlines()[0]
    assert first.startswith("cheapest: Standard_ND96amsr_A100_v4, 1 node ") and "1.50 EUR per hour" in first
    said = answer(offline, "fit", "phi-4", "--cheapest", "--prices", str(file))["choices"]
    assert [one["per_hour"] for one in said[:3]] == [1.5, 3.0, None]
    assert "instance types that fit have no price: not compared" in done.stderr


def test_nothing_is_cheapest_where_nothing_that_fits_has_a_price(offline: Shell) -> None:
    file = offline.home / "prices.yaml"
    file.write_text("currency: EUR\nper_hour: {Standard_NC24ads_A100_v5: 3}\n")
    done = offline.kaitoctl("fit", "phi-4", "--cheapest", "--prices", str(file), code=2)
    assert done.stdout == "" and "instance types that fit has a price" in done.stderr
    file.write_text("currency: EUR\nper_hour: {}\n")
    assert "per_hour is empty" in offline.kaitoctl("fit", "phi-4", "--prices", str(file), code=2).stderr


def test_fit_answers_in_json_and_names(offline: Shell) -> None:
    said = answer(offline, "fit", "qwen2.5-coder-32b-instruct", "--cloud", "azure")
    assert said["target_version"] == "v0.12"
    by_name = {choice["instance_type"]: choice for choice in said["choices"]}
    assert by_name["Standard_NC24ads_A100_v4"]["nodes"] == 2
    assert all(choice["fits"] for choice in said["choices"])
    names = offline.kaitoctl(
        "fit", "qwen2.5-coder-32b-instruct", "--cloud", "azure", "-o", "name"
    ).stdout.split()
    assert names == [choice["instance_type"] for choice in said["choices"]]


def test_fit_exits_with_1_when_nothing_fits(offline: Shell) -> None:
    done = offline.kaitoctl("fit", "deepseek-r1-0528", "--cloud", "arc", code=1)
    assert "no instance type runs" in done.stderr and done.stdout == ""


def node(name: str, gpus: int, kind: str, **spec: Any) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"node.kubernetes.io/instance-type": kind}},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "capacity": {"nvidia.com/gpu": str(gpus)},
            "allocatable": {"nvidia.com/gpu": str(gpus)},
        },
    }


@pytest.fixture
def nodes(offline: Shell) -> Path:
    items = [
        node("a", 1, "Standard_NC24ads_A100_v4"),
        node("b", 2, "Standard_NC12s_v3"),
        node("c", 2, "Standard_NC48ads_A100_v4", unschedulable=True),
    ]
    file = offline.home / "nodes.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return file


def placements(said: Any) -> dict[str, list[str]]:
    return {item["name"]: item["nodes"] for item in said["placements"] if "v0.4" in item["versions"]}


def test_fit_says_what_runs_on_given_nodes(offline: Shell, nodes: Path) -> None:
    said = answer(offline, "fit", "--nodes", str(nodes))
    runs = placements(said)
    assert runs["falcon-7b"] == ["b"] and runs["phi-3-medium-4k-instruct"] == ["b"]
    assert "falcon-40b" not in runs
    assert [item["name"] for item in said["nodes"] if item["faults"]] == ["c"]


def test_fit_counts_the_gpus_that_pods_hold(offline: Shell, nodes: Path) -> None:
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    pod = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "b", "containers": [container]}}
    (offline.home / "pods.yaml").write_text(yaml.safe_dump({"kind": "List", "items": [pod]}))
    runs = placements(answer(offline, "fit", "--nodes", str(nodes), "--pods", "pods.yaml"))
    assert runs["falcon-7b"] == ["a"]


def test_fit_counts_only_slices_where_the_memory_of_gpus_is_not_known(offline: Shell) -> None:
    node = gpu_node("mixed", labels={}, gpus="3")
    for held in ("allocatable", "capacity"):
        node["status"][held]["nvidia.com/mig-3g.40gb"] = "2"
    (offline.home / "mixed.yaml").write_text(yaml.safe_dump(node))
    done = offline.kaitoctl("fit", "phi-4", "--nodes", "mixed.yaml")
    assert "mixed: the memory of its GPUs is not known, so only its slices count" in done.stderr
    assert "on one MIG slice" in " ".join(done.stdout.split()) and "None" not in done.stderr
    done = offline.kaitoctl("fit", "falcon-7b", "--nodes", "mixed.yaml", code=1)
    assert "memory of its GPUs is not known" in done.stderr


def test_fit_reads_nodes_from_stdin(offline: Shell, nodes: Path) -> None:
    done = subprocess.run(
        [str(BIN / "kaitoctl"), "fit", "falcon-40b", "--nodes", "-"],
        input=nodes.read_text(),
        capture_output=True,
        text=True,
        check=False,
        env=offline.env,
    )
    assert done.returncode == 1
    assert "2 GPUs needed on one node" in done.stdout and "cannot run falcon-40b" in done.stderr


def test_fit_asks_the_cluster_for_its_nodes(shell: Shell) -> None:
    shell.add_node("fit-a", "Standard_NC12s_v3", fit="a")
    said = answer(shell, "fit", "--cluster", "--all")
    assert any(item["name"] == "fit-a" for item in said["nodes"])
    assert {item["name"] for item in said["placements"]} >= {"falcon-7b", "phi-4"}
    shell.delete_node("fit-a")


# --- templates, values, versions ---------------------------------------------------------------------------


def test_a_template_of_ones_own_begins_with_a_shipped_one(offline: Shell) -> None:
    assert "custom-pod" in offline.kaitoctl("template", "list", "-o", "name").stdout.split()
    offline.kaitoctl("template", "new", "mine.yaml.j2", "--from", "custom-pod")
    shown = offline.kaitoctl("template", "show", "custom-pod").stdout
    assert (offline.home / "mine.yaml.j2").read_text() == shown
    offline.kaitoctl("template", "new", "mine.yaml.j2", code=2)
    offline.kaitoctl("template", "new", "mine.yaml.j2", "--force")
    assert "preset" in (offline.home / "mine.yaml.j2").read_text()
    offline.kaitoctl(*PHI, "--template", "mine.yaml.j2")


def test_values_come_from_a_file_and_set_wins(offline: Shell) -> None:
    (offline.home / "values.yaml").write_text("image: r.io/server:1\nport: 80\nenv: {A: x, B: y}\n")
    arguments = [*CREATE, "--template", "custom-pod", "--values", "values.yaml", "--set", "env.B=z"]
    made = json.loads(offline.kaitoctl(*arguments, "--instance-type", "Standard_NC24ads_A100_v4").stdout)
    (container,) = made["inference"]["template"]["spec"]["containers"]
    assert container["image"] == "r.io/server:1" and container["ports"] == [{"containerPort": 80}]
    assert container["env"] == [{"name": "A", "value": "x"}, {"name": "B", "value": "z"}]


TUNED = ["input_image=r.io/i:1", "output_image=r.io/o:1", "output_secret=s"]
TUNING = ["--template", "tuning", *(part for item in TUNED for part in ("--set", item))]
CUSTOM = ["--template", "custom-pod", "--set", "image=r.io/x:1"]
NAMED = "kind: Workspace\napiVersion: kaito.sh/v1alpha1\nmetadata: {name: {{ name }}}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--values", "v.yaml"], "--values v.yaml: the template has no variable 'instancetype'"),
        (["--values", "v.yaml", "--template", "tuning"], "--values v.yaml: the template has no variable"),
        (["--values", "v.json"], "--values v.json: the template has no variable 'presetName'"),
        ([*TUNING, "--count", "3"], "--count: the template has no variable 'count'"),
        ([*CUSTOM, "--adapter", "a=r.io/a:1"], "--adapter: the template has no variable"),
        (["--template", "mine.yaml", "--instance-type", "x"], "--instance-type: the template has no"),
        (["--template", "mine.yaml", "--label", "a=b"], "--label: the template has no variable 'labels'"),
        (["--template", "mine.yaml", "--preferred-node", "n"], "--preferred-node: the template has no"),
        (["--template", "mine.yaml", "--private-image", "r.io/a:1"], "--private-image: the template has no"),
        (["--template", "mine.yaml", "--image-pull-secret", "s"], "--image-pull-secret: the template has no"),
    ],
)
def test_a_value_that_the_template_does_not_read_is_refused_however_it_is_given(
    offline: Shell, arguments: list[str], words: str
) -> None:
    (offline.home / "v.yaml").write_text("instancetype: Standard_NC24ads_A100_v4\n")
    (offline.home / "v.json").write_text('{"presetName": "phi-2"}')
    (offline.home / "mine.yaml").write_text(NAMED)
    preset = [] if "mine.yaml" in arguments or "custom-pod" in arguments else ["--preset", "phi-2"]
    assert words in offline.kaitoctl(*CREATE, *preset, *arguments, code=2).stderr


def test_create_renders_the_api_version_that_is_asked_for(offline: Shell) -> None:
    done = offline.kaitoctl(*PHI)
    assert json.loads(done.stdout)["apiVersion"] == "kaito.sh/v1beta1"
    assert "writing v1beta1, judged as KAITO v0.12; --target-version chooses another" in done.stderr
    older = json.loads(offline.kaitoctl(*PHI, "--target-version", "v0.4").stdout)
    assert older["apiVersion"] == "kaito.sh/v1alpha1"
    done = offline.kaitoctl(*CREATE, "--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3")
    assert json.loads(done.stdout)["apiVersion"] == "kaito.sh/v1alpha1"
    assert "judged as KAITO v0.4: falcon-7b is a preset of KAITO up to v0.10" in done.stderr
    beta = json.loads(offline.kaitoctl(*PHI, "--api-version", "v1beta1").stdout)
    assert beta["apiVersion"] == "kaito.sh/v1beta1" and "count" not in beta["resource"]


def test_create_takes_the_newest_version_that_the_cluster_serves(shell: Shell, namespace: str) -> None:
    arguments = [*PHI, "-n", namespace, "--dry-run=server"]
    assert json.loads(shell.kaitoctl(*arguments).stdout)["apiVersion"] == "kaito.sh/v1beta1"
    falcon = [*CREATE, "--preset", "falcon-7b", "-n", namespace, "--dry-run=server"]
    done = shell.kaitoctl(*falcon)
    assert json.loads(done.stdout)["apiVersion"] == "kaito.sh/v1alpha1"
    assert "falcon-7b is a preset of KAITO up to v0.10" in done.stderr
    (shell.home / "falcon.yaml").write_text("preset: falcon-7b\ninstance_type: Standard_NC12s_v3\n")
    by_file = [*CREATE, "--values", "falcon.yaml", "-n", namespace, "--dry-run=server"]
    assert json.loads(shell.kaitoctl(*by_file).stdout)["apiVersion"] == "kaito.sh/v1alpha1"


def test_create_judges_by_the_own_catalog(offline: Shell) -> None:
    (offline.home / "mine.yaml").write_text("instance_types: [{name: rack-1, gpus: 1, gpu_memory_gib: 8}]")
    arguments = [*CREATE, "--preset", "falcon-7b", "--instance-type", "rack-1"]
    assert "does not know 'rack-1'" in offline.kaitoctl(*arguments, code=2).stderr
    done = offline.kaitoctl(*arguments, "--catalog", "mine.yaml", code=2)
    assert "8 GiB" in done.stderr
    offline.kaitoctl(*arguments, code=2, KAITOCTL_CATALOG="mine.yaml")


RACK = "instance_types: [{name: rack-1, gpus: 4, gpu_memory_gib: 160, gpu_model: NVIDIA A100}]"
WORKSPACE = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "w"},
    "resource": {"instanceType": "rack-1", "labelSelector": {"matchLabels": {"apps": "w"}}},
    "inference": {"preset": {"name": "falcon-7b"}},
}


def gpus_rendered(shell: Shell, *arguments: str, **env: Any) -> str:
    made = json.loads(shell.kaitoctl("render", "-f", "w.yaml", "-o", "json", *arguments, **env).stdout)
    (deployment,) = (item for item in made["items"] if item["kind"] == "Deployment")
    return str(
        deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    )


def test_the_controllers_objects_follow_from_the_own_catalog(offline: Shell) -> None:
    (offline.home / "mine.yaml").write_text(RACK)
    (offline.home / "w.yaml").write_text(yaml.safe_dump(WORKSPACE))
    assert gpus_rendered(offline) == "1", "of a machine that nobody knows, what the preset needs"
    assert gpus_rendered(offline, "--catalog", "mine.yaml") == "4"
    assert gpus_rendered(offline, KAITOCTL_CATALOG="mine.yaml") == "4"


def test_nodes_are_judged_by_the_own_catalog(offline: Shell) -> None:
    (offline.home / "mine.yaml").write_text(RACK)
    (offline.home / "w.yaml").write_text(yaml.safe_dump(WORKSPACE))
    labels = {"apps": "w", "node.kubernetes.io/instance-type": "rack-1"}
    (offline.home / "nodes.yaml").write_text(yaml.safe_dump(gpu_node("n1", labels=labels, gpus="2")))
    check = ["check-nodes", "-f", "w.yaml", "--nodes", "nodes.yaml", "--target-version", "kaitoctl"]
    offline.kaitoctl(*check)
    for done in (
        offline.kaitoctl(*check, "--catalog", "mine.yaml", code=1),
        offline.kaitoctl(*check, code=1, KAITOCTL_CATALOG="mine.yaml"),
    ):
        assert "2 of 4 GPUs allocatable (a rack-1 has 4)" in done.stdout


LOOKS_UP = [
    ["create", "workspace", "w", "--preset", "phi-2"],
    ["validate", "-f", "w.yaml"],
    ["render", "-f", "w.yaml"],
    ["diff", "-f", "w.yaml"],
    ["check-nodes", "-f", "w.yaml"],
    ["nodes"],
    ["why", "w"],
    ["run-controller"],
    ["add-adapter", "w", "--name", "a", "--image", "r.io/a:1"],
    ["set-adapter", "w", "--name", "a", "--strength", "1"],
    ["remove-adapter", "w", "--name", "a"],
    ["list-adapters", "w"],
    ["rollout", "status", "w"],
    ["rollout", "undo", "w"],
    ["sandbox", "up"],
    ["fit", "phi-2"],
    ["models", "list"],
    ["skus", "list"],
]


@pytest.mark.parametrize("command", LOOKS_UP, ids=lambda words: "-".join(words[:2]))
def test_every_command_that_looks_something_up_reads_the_own_catalog(
    offline: Shell, command: list[str]
) -> None:
    (offline.home / "broken.yaml").write_text("instance_types: [{name: x, gpus: none}]")
    for done in (
        offline.kaitoctl(*command, "--catalog", "broken.yaml", code=2),
        offline.kaitoctl(*command, code=2, KAITOCTL_CATALOG="broken.yaml"),
    ):
        assert "broken.yaml" in done.stderr


def test_a_sandbox_makes_machines_of_the_own_catalog(offline: Shell) -> None:
    (offline.home / "mine.yaml").write_text(RACK)
    up = ["sandbox", "up", "--no-controller", "--gpu-nodes", "rack-1=1", "--sandbox-name", "racks"]
    offline.kaitoctl(*up, code=2)
    offline.kaitoctl(*up, KAITOCTL_CATALOG="mine.yaml")
    shown = offline.kaitoctl("nodes", "--sandbox", "--sandbox-name", "racks", "-o", "json").stdout
    offline.kaitoctl("sandbox", "down", "--delete", "--sandbox-name", "racks")
    assert [item["gpus"]["allocatable"] for item in json.loads(shown)["nodes"]] == [4]


def test_a_sandbox_that_starts_by_itself_finds_a_model_by_its_files(offline: Shell) -> None:
    (offline.home / "house").mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "num_hidden_layers": 80}
    (offline.home / "house" / "config.json").write_text(json.dumps(config))
    index = {"metadata": {"total_size": 140 * 2**30}, "weight_map": {}}
    (offline.home / "house" / "model.safetensors.index.json").write_text(json.dumps(index))
    named = ("--sandbox", "--sandbox-name", "house")
    try:
        offline.kaitoctl("nodes", *named, KAITOCTL_CATALOG="acme/house=house")
    finally:
        offline.kaitoctl("sandbox", "down", "--delete", "--sandbox-name", "house")


# --- convert and schema ------------------------------------------------------------------------------------


def test_convert_writes_the_manifest_and_says_what_is_lost(offline: Shell) -> None:
    made = offline.kaitoctl(*PHI[:-4], "--preset", "phi-3-mini-4k-instruct", "--preferred-node", "n1").stdout
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    (offline.home / "w.yaml").write_text(yaml.safe_dump_all([json.loads(made), config]))
    done = offline.kaitoctl("convert", "-f", "w.yaml", "--to", "v1beta1")
    first, second = yaml.safe_load_all(done.stdout)
    assert first["apiVersion"] == "kaito.sh/v1beta1" and second == config
    assert "kubectl label node n1 apps=w" in done.stderr


def test_the_schema_is_for_clusters_and_for_editors(offline: Shell) -> None:
    crd = yaml.safe_load(offline.kaitoctl("schema").stdout)
    assert [version["name"] for version in crd["spec"]["versions"]] == ["v1alpha1", "v1beta1"]
    (only,) = yaml.safe_load(offline.kaitoctl("schema", "--api-version", "v1alpha1").stdout)["spec"][
        "versions"
    ]
    assert only["name"] == "v1alpha1" and only["storage"]
    editor = json.loads(offline.kaitoctl("schema", "--json-schema", "--api-version", "v1beta1").stdout)
    assert editor["properties"]["apiVersion"]["const"] == "kaito.sh/v1beta1"


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models", "describe", "falcon7b"], "falcon-7b"),
        (["models", "describe", "falcon-7b", "--target-version", "v0.12"], "v0.12"),
        (["models", "list", "-o", "xml"], "--output"),
        (["models", "list", "--target-version", "v1"], "--target-version"),
        (["models", "list", "--catalog", "no-such.yaml"], "no-such.yaml"),
        (["skus", "list", "--cloud", "moon"], "--cloud"),
        (["fit"], "name a preset"),
        (["fit", "nope"], "neither a preset nor a model"),
        (["fit", "Qwen/Qwen3-8B"], "or give the folder of its config.json: --catalog Qwen/Qwen3-8B=FOLDER"),
        (["fit", "--pods", "p.json", "falcon-7b"], "--nodes is missing"),
        (["fit", "--nodes", "n.json", "--cluster"], "give one of them"),
        (["fit", "--nodes", "no-such.json"], "no-such.json"),
        (["fit", "falcon-7b", "--max-nodes", "0"], "--max-nodes"),
        (["template", "show", "nope"], "nope"),
        (["template", "new", "/no/such/dir/x"], "/no/such/dir/x"),
        (["convert", "-f", "no-such.yaml", "--to", "v1beta1"], "no-such.yaml"),
        (["convert", "-f", "no-such.yaml", "--to", "v2"], "--to"),
        (["schema", "--api-version", "v2"], "--api-version"),
        ([*PHI, "--api-version", "v2"], "--api-version"),
        ([*PHI, "--values", "no-such.yaml"], "no-such.yaml"),
        ([*PHI, "--catalog", "no-such.yaml"], "no-such.yaml"),
        ([*PHI, "--api-version", "v1beta1", "--preferred-node", "n"], "preferredNodes"),
    ],
)
def test_bad_input_names_what_is_wrong(offline: Shell, arguments: list[str], words: str) -> None:
    done = offline.kaitoctl(*arguments, code=2)
    assert words in done.stderr and done.stdout == ""


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[]", b"- 1", b"a: &a [*a]", b"kind: Pod"])
@pytest.mark.parametrize(
    "arguments",
    [["fit", "--nodes"], ["convert", "--to", "v1beta1", "-f"], [*PHI, "--values"], [*PHI, "--catalog"]],
)
def test_no_file_is_a_traceback(offline: Shell, content: bytes, arguments: list[str]) -> None:
    (offline.home / "file").write_bytes(content)
    done = offline.run(str(BIN / "kaitoctl"), *arguments, "file")
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, done.stderr


def test_one_of_a_thing_is_named_as_one(offline: Shell) -> None:
    done = offline.kaitoctl("fit", "falcon-40b", "--max-nodes", "1", "--cloud", "arc", code=1)
    assert "on at most 1 node\n" in done.stderr
    (offline.home / "nodes.yaml").write_text(yaml.safe_dump(gpu_node("n1")))
    (offline.home / "pods.yaml").write_text(yaml.safe_dump(gpu_pod(node_name="n2", gpus=1)))
    done = offline.kaitoctl("nodes", "--nodes", "nodes.yaml", "--pods", "pods.yaml")
    assert "pods hold 1 GPU on nodes that are not in nodes.yaml" in done.stderr


def test_the_admission_policy_knows_the_users_own_presets(offline: Shell) -> None:
    policy, binding = yaml.safe_load_all(offline.kaitoctl("schema", "--format", "admission-policy").stdout)
    assert (policy["kind"], binding["spec"]["policyName"]) == (
        "ValidatingAdmissionPolicy",
        "kaitoctl-workspaces",
    )
    (offline.home / "mine.yaml").write_text(
        "instance_types:\n- {name: rack-1, gpus: 4, gpu_memory_gib: 192}\n"
    )
    chosen = ("schema", "--format", "admission-policy", "--catalog")
    assert '"rack-1": [4.0, 192.0, 48.0]' in offline.kaitoctl(*chosen, "mine.yaml").stdout
    refused = offline.kaitoctl("schema", "--format", "admission-policy", "--kind", "inferenceset", code=2)
    assert "for Workspaces" in refused.stderr
    assert "--format" in offline.kaitoctl("schema", "--format", "rego", code=2).stderr


def test_the_schema_beside_a_template_judges_the_values(offline: Shell) -> None:
    offline.kaitoctl("template", "new", "mine.yaml.j2", "--from", "inference")
    schema = '{"properties": {"count": {"maximum": 1}}}'
    (offline.home / "mine.schema.json").write_text(schema)
    call = [
        "create",
        "workspace",
        "w",
        "--preset",
        "falcon-7b",
        "--template",
        "mine.yaml.j2",
        "--dry-run=client",
    ]
    offline.kaitoctl(*call, "--count", "1")
    refused = offline.kaitoctl(*call, "--count", "2", code=2)
    assert "mine.schema.json does not allow these values" in refused.stderr
    assert "count: 2 is greater than the maximum of 1" in refused.stderr


# --- releases between those of the catalog ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "models", "has", "has_not"),
    [
        ("v0.4.6", 19, "phi-4", "gpt-oss-20b"),
        ("v0.9.4", 29, "falcon-7b", "phi-2"),
        ("v0.9", 29, "gpt-oss-20b", "phi-2"),
        ("v0.12.0", 60, "gpt-oss-20b", "falcon-7b"),
    ],
)
def test_each_release_has_its_own_models(
    offline: Shell, release: str, models: int, has: str, has_not: str
) -> None:
    said = ("--target-version", release)
    names = offline.kaitoctl("models", "list", *said, "-o", "name").stdout.split()
    assert len(names) == models
    assert has in names and has_not not in names
    assert offline.kaitoctl("fit", has, *said, "-o", "name").stdout
    refused = offline.kaitoctl("fit", has_not, *said, code=2).stderr
    assert f"does not have {has_not}" in refused


def test_each_release_has_its_own_instance_types(offline: Shell) -> None:
    types = {
        release: set(
            offline.kaitoctl("skus", "list", "--target-version", release, "-o", "name").stdout.split()
        )
        for release in ("v0.4.6", "v0.9", "v0.12")
    }
    v100, t4 = "Standard_NC12s_v3", "Standard_NC16as_T4_v3"
    assert [v100 in types[release] for release in types] == [True, False, False]
    assert [t4 in types[release] for release in types] == [True, True, False]


def test_a_release_that_is_not_known_so_well_is_judged_by_its_neighbour(offline: Shell) -> None:
    done = offline.kaitoctl("models", "list", "--target-version", "v0.10.0", "-o", "name")
    assert "v0.10.0: judged as KAITO v0.9.4" in done.stderr
    assert done.stdout == offline.kaitoctl("models", "list", "--target-version", "v0.9", "-o", "name").stdout


def test_an_instance_type_shows_the_releases_that_have_it_and_whether_any_serves_on_it(
    offline: Shell,
) -> None:
    rows = [line.split() for line in offline.kaitoctl("skus", "list").stdout.splitlines()]
    by_name = {row[0]: " ".join(row[row.index("GiB") + 1 :]) for row in rows if "GiB" in row}
    assert by_name["Standard_NC24ads_A100_v4"] == "v0.3 to v0.12 yes"
    assert by_name["Standard_NC4as_T4_v3"] == "v0.3 to v0.11 yes"
    assert by_name["Standard_NV36ads_A10_v5"].startswith("v0.3, v0.")
    assert by_name["Standard_NV36ads_A10_v5"].endswith("to v0.12 yes")
    assert by_name["Standard_NC6"] == "v0.3 no"  # a K80, and no image is built for one
    assert by_name["Standard_NC4_A2"] == "v0.12 yes"
