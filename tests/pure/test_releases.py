"""What the releases between v0.4.5 and v0.12 answer that the measured manifests do not show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kaitoctl.commands.version import _skew
from kaitoctl.kaito import catalog, estimate, validation
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.image_generations import IMAGE_GENERATIONS
from kaitoctl.kaito.releases_between import UNLIKE
from kaitoctl.kaito.validation import Setting, release_detection, releases
from kaitoctl.kaito.validation.data_urls import data_url_fault
from kaitoctl.kaito.validation.grammar import docker_fault, go_float, selector_as_map
from kaitoctl.kube.objects import ObjectKey

A100, T4X4 = "Standard_NC24ads_A100_v4", "Standard_NC64as_T4_v3"


def workspace(version: str = "v1beta1", /, **inference: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"instanceType": A100, "labelSelector": {"matchLabels": {"a": "b"}}},
        "inference": inference or {"preset": {"name": "phi-4"}},
    }


def codes(obj: dict[str, Any], release: str, **setting: Any) -> list[tuple[str, str]]:
    return [(p.code, p.kaito) for p in validation.judge(obj, Setting(release, **setting))]


@pytest.mark.parametrize(
    ("name", "secret", "expected"),
    [
        ("phi-4", "", {"v0.4.6": [], "v0.9": [], "v0.12": []}),
        ("phi-4", "hf", {"v0.4.6": ["KW177"], "v0.9": ["KW177"], "v0.12": []}),
        ("llama-3.1-8b-instruct", "", {"v0.4.6": ["KW166"], "v0.9": ["KW166"], "v0.12": ["KW166"]}),
        ("llama-3.1-8b-instruct", "hf", {"v0.4.6": [], "v0.9": [], "v0.12": []}),
        ("gemma-3-4b-instruct", "", {"v0.4.6": ["KW142"], "v0.9": [], "v0.12": []}),
        ("PHI-4", "", {"v0.4.6": ["KW142"], "v0.9": ["KW142"], "v0.12": []}),
        ("microsoft/phi-4", "", {"v0.4.6": ["KW142"], "v0.9": [], "v0.12": []}),
        ("falcon-7b", "", {"v0.4.6": [], "v0.9": [], "v0.12": ["KW142"]}),
        ("a/b", "", {"v0.4.6": ["KW142"], "v0.9": ["KW149"], "v0.12": ["KW149"]}),
    ],
)
def test_presets_and_tokens_by_release(name: str, secret: str, expected: dict[str, list[str]]) -> None:
    options = {"presetOptions": {"modelAccessSecret": secret}} if secret else {}
    for release, wanted in expected.items():
        found = codes(workspace(preset={"name": name, **options}), release)
        assert [code for code, _ in found] == wanted, release


def config(text: str) -> dict[ObjectKey, dict[str, Any]]:
    return {ObjectKey("default", "c"): {"kind": "ConfigMap", "data": {"inference_config.yaml": text}}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("vllm:\n", []),
        ("vllm:\n  max-model-len: 4096\n", []),
        ('vllm:\n  max-model-len: "4096"\n', []),
        ("vllm:\n  max-model-len: ' 4096 '\n", []),
        ("vllm:\n  max-model-len:\n", []),
        ("vllm:\n  max-model-len: abc\n", ["KW197"]),
        ("vllm:\n  max-model-len: auto\n", ["KW197"]),
        ("vllm:\n  max-model-len: 4096.0\n", ["KW197"]),
        ("vllm:\n  max-model-len: 4e3\n", ["KW197"]),
        ("vllm:\n  max-model-len: 0x1000\n", ["KW197"]),
        ("vllm:\n  max-model-len: 4_096\n", ["KW197"]),
        ("vllm:\n  max-model-len: true\n", ["KW197"]),
        ("vllm:\n  max-model-len: 999999999\n", ["KW195"]),
        ("vllm:\n  x: {a: b}\n", ["KW196"]),
        ("vllm:\n  x: [a]\n", ["KW196"]),
        ("vllm: [a]\n", ["KW196"]),
        ("vllm: text\n", ["KW196"]),
        ("vllm:\n  enforce-eager: true\n  seed: 1\n", []),
        ("[a]", ["KW191"]),
        ("vllm: {", ["KW191"]),
        ("other: {a: [b]}\n", []),
    ],
)
def test_inference_parameters_are_flat_and_lengths_whole(text: str, expected: list[str]) -> None:
    obj = workspace(preset={"name": "phi-4"}, config="c")
    for release in ("v0.9", "v0.12"):
        found = codes(obj, release, config_maps=config(text))
        assert found == [(code, "refuses") for code in expected], release
    kept = [code for code in expected if code not in ("KW195", "KW197")]
    found = codes(obj, "v0.4.6", config_maps=config(text))
    assert [code for code, answer in found if answer == "refuses"] == kept


@pytest.mark.parametrize("preset", ["phi-4", "phi-3.5-mini-instruct", "falcon-7b"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("max-model-len: abc", "KW197"),
        ("max-model-len: 4e3", "KW197"),
        ("max-model-len: 999999999", "KW195"),
        ("max-model-len: 4096", ""),
        ("max-model-len: 8k", ""),  # vLLM takes it; KAITO's webhook alone does not
        ("max-model-len: auto", ""),
        ("max-num-seqs: 0", "KW202"),
        ("gpu-memory-utilization: 95", "KW202"),
        ("x: [a]", "KW196"),
    ],
)
def test_what_the_model_server_refuses_holds_for_kaitoctls_own_controller(
    preset: str, text: str, code: str
) -> None:
    obj = workspace(preset={"name": preset}, config="c")
    obj["resource"]["instanceType"] = "Standard_NC24ads_A100_v4"
    found = validation.judge(obj, Setting(validation.OWN, config_maps=config(f"vllm:\n  {text}\n")))
    errors = [one.code for one in found if one.severity == "error"]
    assert errors == ([code] if code and preset != "falcon-7b" else []), "falcon-7b: transformers of v0.4"


@pytest.mark.parametrize(
    ("option", "refused", "taken"),
    [
        ("max-model-len", ("-5", "0", "-2"), ("1", "-1", "4096", "+4096", "'4096'")),
        ("max_model_len", ("-5",), ("4096",)),
        ("gpu-memory-utilization", ("95", "0", "-0.5", "1.01", "90%", "high"), ("0.9", "1", ".85", "9e-1")),
        ("tensor-parallel-size", ("0", "-1", "two", "1.5"), ("1", "8")),
        ("pipeline-parallel-size", ("0",), ("2",)),
        ("max-num-seqs", ("0", "many"), ("1", "256")),
        ("max-num-batched-tokens", ("-1", "8q"), ("8192", "8k", "1.5K")),
        ("max-lora-rank", ("0", "24", "1024"), ("8", "64")),
        ("swap-space", ("-4",), ("0", "4", "0.5")),
        ("enforce-eager", (), ("true",)),
    ],
)
def test_values_with_which_vllm_does_not_start_are_admitted_and_never_ready(
    option: str, refused: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    obj = workspace(preset={"name": "phi-4"}, config="c")
    for value in (*refused, *taken):
        for release in ("v0.9", "v0.12"):
            found = codes(obj, release, config_maps=config(f"vllm:\n  {option}: {value}\n"))
            assert found == [("KW202", "never-ready")] * (value in refused), (value, release)


def test_several_small_gpus_need_a_context_length_up_to_v0_4_6() -> None:
    obj = workspace(preset={"name": "phi-4-mini-instruct"})
    obj["resource"]["instanceType"] = T4X4
    assert ("KW198", "refuses") in codes(obj, "v0.4.6")
    said = {**obj, "inference": {**obj["inference"], "config": "c"}}
    length = config("vllm:\n  max-model-len: 4096\n")
    assert codes(said, "v0.4.6", config_maps=length) == []
    assert ("KW198", "refuses") in codes(said, "v0.4.6", config_maps=config("vllm: {}\n"))
    obj["metadata"]["annotations"] = {"kaito.sh/runtime": "transformers"}
    assert codes(obj, "v0.4.6") == []


def test_without_the_gate_vllm_the_server_is_transformers() -> None:
    obj = workspace(preset={"name": "phi-4-mini-instruct"})
    assert codes(obj, "v0.12") == []
    assert ("KW162", "refuses") in codes(obj, "v0.12", gates_off=frozenset({"vLLM"}))


def controller(*words: str, image: str = "mcr.microsoft.com/aks/kaito/workspace:0.12.0", **env: str) -> Any:
    variables = [{"name": name, "value": value} for name, value in env.items()]
    container = {"image": image, "args": list(words), "env": variables}
    pod = {"spec": {"containers": [container]}}
    return {"metadata": {"name": "kaito-workspace"}, "spec": {"template": pod}}


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        (
            controller(
                "--feature-gates=vLLM=false,enableMIG=true", "--node-provisioner=byo", CLOUD_PROVIDER="aws"
            ),
            ("v0.12.0", "byo", {"enableMIG"}, "aws", {"vLLM"}, True),
        ),
        (controller("--node-provisioner=karpenter"), ("v0.12.0", "karpenter", set(), "", set(), False)),
        (controller(image="r.io/workspace:v0.9.4"), ("v0.9.4", "", set(), "", set(), False)),
        (
            controller("--feature-gates=disableNodeAutoProvisioning=true", image="r.io/workspace:0.9.4"),
            ("v0.9.4", "", {"disableNodeAutoProvisioning"}, "", set(), True),
        ),
        (controller(image="r.io/workspace:0.4.0"), ("v0.4.0", "", set(), "", set(), None)),
        (controller("run-controller", image="r.io/x:1"), ("kaitoctl", "", set(), "", set(), None)),
        (
            controller("run-controller", "--node-provisioner", "byo", image="r.io/x:1"),
            ("kaitoctl", "byo", set(), "", set(), True),
        ),
    ],
)
def test_a_controllers_deployment_tells_how_it_runs(deployment: Any, expected: tuple[Any, ...]) -> None:
    found = release_detection.controller([{}, deployment])
    assert found is not None
    said = (found.target, found.provisioner, found.gates, found.cloud, found.gates_off, found.byo)
    assert said == expected


def test_our_controller_says_as_which_release_it_makes_objects() -> None:
    found = release_detection.controller(
        [controller("run-controller", "--kaito-version=v0.4.3", image="r.io/x:1")]
    )
    assert found is not None and found.made_as == "v0.4.3"
    assert release_detection.generation_near("v0.4.3") == "v0.4"
    assert release_detection.generation_near("v0.12.0") == "v0.12"
    assert release_detection.generation_near("") == release_detection.generation_near("latest") == ""


def test_our_controller_says_what_it_lets_custom_pods_have() -> None:
    options = (
        "--allow-privileged-templates",
        "--allow-template-service-account=streamer",
        "--allow-template-service-account",
        "other",
        "--allow-template-secret=*",
    )
    found = release_detection.controller([controller("run-controller", *options, image="r.io/x:1")])
    assert found is not None
    assert found.rights == (True, frozenset({"streamer", "other"}), frozenset("*"), False)
    plain = release_detection.controller([controller("run-controller", image="r.io/x:1")])
    assert plain is not None and plain.rights == (False, frozenset(), frozenset(), False)
    kaito = release_detection.controller([controller(image="kaito/workspace:0.12.0")])
    assert kaito is None or kaito.rights is None


@pytest.mark.parametrize("deployment", [{}, {"spec": 1}, controller(image="nginx:1"), controller(image="")])
def test_another_deployment_is_no_controller(deployment: Any) -> None:
    assert release_detection.controller([deployment]) is None


def test_fields_that_came_later_are_unknown_before() -> None:
    obj = workspace()
    obj["resource"]["partition"] = {"mode": "mig", "profile": "1g.10gb"}
    del obj["resource"]["instanceType"]
    for release in ("v0.4.6", "v0.9"):
        assert ("KW102", "refuses") in codes(obj, release, byo=True)
    assert ("KW102", "refuses") not in codes(obj, "v0.12", byo=True)
    old = workspace("v1alpha1", preset={"name": "falcon-7b"}, config="c")
    assert ("KW102", "refuses") in codes(old, "v0.4")
    assert ("KW102", "refuses") not in codes(old, "v0.4.6")


def test_volumes_by_release() -> None:
    volume = {"persistentVolumeClaim": {"claimName": "p"}}
    tuned = {
        **{key: value for key, value in workspace().items() if key != "inference"},
        "tuning": {
            "preset": {"name": "phi-4"},
            "method": "lora",
            "input": {"volumeSource": volume},
            "output": {"volumeSource": volume},
        },
    }
    assert {code for code, _ in codes(tuned, "v0.4.6")} == {"KW173", "KW174"}
    assert codes(tuned, "v0.9") == codes(tuned, "v0.12") == []
    both = {**tuned, "tuning": {**tuned["tuning"], "output": {
        "volumeSource": volume, "image": "r.io/a:1", "imagePushSecret": "s",
    }}}  # fmt: skip
    assert codes(both, "v0.9") == codes(both, "v0.12") == [("KW174", "refuses")]


def test_the_tables_of_releases_are_whole() -> None:
    known = catalog.SHIPPED
    for name, count in (("v0.4.6", 19), ("v0.9", 29)):
        release = releases.release_named(name)
        assert release is not None
        names = releases.preset_names(release, known)
        assert len(names) == count
        for preset in names:
            row = releases.preset(release, preset, known)
            assert row is not None
            assert row.total_gib or row.weights_gib
        for cloud, machine in (("azure", A100), ("aws", "p4d.24xlarge")):
            assert releases.gpu_type(release, machine, cloud, known) is not None
        assert releases.gpu_type(release, A100.lower(), "azure", known) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("1", 1),
        (".5", 0.5),
        ("5.", 5),
        ("1e-1", 0.1),
        ("+0.5", 0.5),
        ("0x1p-1", 0.5),
        ("1_0", 10),
    ],
)
def test_go_reads_these_as_numbers(text: str, value: float) -> None:
    assert go_float(text) == value


@pytest.mark.parametrize("text", ["", " 0.5", "0,5", "half", "1e", "0x1", "_1", "1__0", "50%", "٣"])
def test_go_reads_these_as_none(text: str) -> None:
    assert go_float(text) is None


@pytest.mark.parametrize(
    "image", ["nginx", "a/b", "MyOrg/x:1", "r.io:5000/a/b:t", "localhost/x", f"r.io/a@sha256:{'0' * 64}"]
)
def test_gos_parser_takes_these_images(image: str) -> None:
    assert docker_fault(image) == ""


@pytest.mark.parametrize(
    "image", ["", "r.io/A:1", "<YOUR_IMAGE>", "a b", "r.io/a:", "a" * 64, "r.io/a@sha256:0", "http://r.io/a"]
)
def test_gos_parser_refuses_these_images(image: str) -> None:
    assert docker_fault(image)


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("https://example.com/a", False),
        ("HTTP://example.com/a", False),
        ("https://100.64.0.1/a", False),
        ("https://a.internal/x", False),
        ("ftp://example.com/a", True),
        ("example.com/a", True),
        ("http://localhost/a", True),
        ("http://10.1.2.3/a", True),
        ("http://[::1]/a", True),
        ("http://169.254.169.254/a", True),
        ("http://metadata.google.internal/a", True),
    ],
)
def test_which_addresses_of_data_are_refused(url: str, is_refused: bool) -> None:
    assert bool(data_url_fault(url)) is is_refused


def test_an_expression_with_one_value_is_a_label() -> None:
    one = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}
    assert selector_as_map(one) == ({"a": "b", "c": "d"}, "")
    two = {"matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]}
    assert selector_as_map(two)[1] == "matchExpressions[0]"


# --- releases that were read ------------------------------------------------------------------------------


READ = [release.read for release in releases.READ]


def row(version: str) -> releases.Release:
    found = releases.nearest(version)
    assert found is not None
    return found


def test_every_minor_release_is_measured_or_read() -> None:
    known = {f"v0.{minor}" for minor in range(3, 13)}
    rows = {one.version.rpartition(".")[0] for one in (*releases.RELEASES, *releases.READ)}
    assert rows == known
    for version in READ:
        assert row(version).read == version
        patched = version.rpartition(".")[0] + ".7"
        assert row(patched).read == version
        said = releases.judged_as(patched, row(patched))
        assert said.endswith(f", with what was read of {version}")


@pytest.mark.parametrize(
    ("version", "models", "has", "has_not"),
    [
        ("v0.4.6", 19, "phi-4", "llama-3.3-70b-instruct"),
        ("v0.5.0", 20, "llama-3.3-70b-instruct", "deepseek-r1-0528"),
        ("v0.6.0", 22, "deepseek-r1-0528", "gpt-oss-20b"),
        ("v0.7.2", 24, "gpt-oss-20b", "gemma-3-4b-instruct"),
        ("v0.8.1", 29, "gemma-3-4b-instruct", "phi-2"),
        ("v0.9.4", 29, "gemma-3-4b-instruct", "phi-2"),
        ("v0.10.0", 29, "gemma-3-4b-instruct", "phi-2"),
    ],
)
def test_each_release_has_the_presets_of_its_source(
    version: str, models: int, has: str, has_not: str
) -> None:
    release, known = row(version), catalog.SHIPPED
    assert len(releases.preset_names(release, known)) == models
    assert releases.preset(release, has, known) is not None
    assert releases.preset(release, has_not, known) is None
    (said,) = {code for code, _ in codes(workspace(preset={"name": has_not}), version)} - {"KW177", "KW166"}
    assert said == "KW142"


def test_v0_11_has_the_models_of_v0_12_but_the_newest_nine() -> None:
    ids, known = [model.id for model in catalog.models().values()], catalog.SHIPPED
    rows = [row(version) for version in ("v0.11.0", "v0.12.0")]
    then, now = ({one for one in ids if releases.preset(release, one, known)} for release in rows)
    assert (len(then), len(now)) == (51, 60)
    assert "google/gemma-4-12B-it" in now - then


@pytest.mark.parametrize(
    ("machine", "since", "until"),
    [
        ("Standard_NC12s_v3", 4, 8),
        ("Standard_NV72ads_A10_v5", 6, 12),
        ("Standard_NC16as_T4_v3", 4, 11),
        ("Standard_NC24ads_A100_v4", 4, 12),
        ("standard_nc24ads_a100_v4", 10, 12),
    ],
)
def test_each_release_has_the_instance_types_of_its_source(machine: str, since: int, until: int) -> None:
    measured = {4: "v0.4.6", 9: "v0.9.4", 12: "v0.12.0"}
    having = [
        minor
        for minor in range(4, 13)
        if releases.gpu_type(row(measured.get(minor, f"v0.{minor}.0")), machine, "azure", catalog.SHIPPED)
    ]
    assert having == [
        minor
        for minor in range(since, until + 1)
        if minor != 9 or machine != "Standard_NV72ads_A10_v5" or 9 in having
    ]


@pytest.mark.parametrize(
    ("name", "gpus", "memory_gib", "nodes"),
    [
        # v0.12 counts every file of the repository, twice the weights that the table of v0.9 has.
        ("gpt-oss-20b", 1, 24, {"v0.8.0": 1, "v0.9.4": 1, "v0.10.0": 1, "v0.11.0": 2, "v0.12.0": 2}),
        ("llama-3.3-70b-instruct", 1, 94, {"v0.7.0": 2, "v0.10.0": 2, "v0.11.0": 2, "v0.12.0": 2}),
        # 14.96 GiB by 1.02 are 15.26; of 21.5 GiB 15.5 are left, from v0.11 on 14.8.
        ("llama-3.1-8b-instruct", 1, 21.5, {"v0.9.4": 1, "v0.10.0": 1, "v0.11.0": 2, "v0.12.0": 2}),
        # No number of GPUs can share its 71 heads.
        ("falcon-7b", 2, 16, {"v0.7.0": None, "v0.9.4": None, "v0.10.0": None}),
        ("falcon-7b", 1, 24, {"v0.7.0": 1, "v0.9.4": 1, "v0.10.0": 1}),
        ("falcon-40b-instruct", 2, 80, {"v0.9.4": 1}),
    ],
)
def test_each_release_counts_nodes_by_its_own_sizes(
    name: str, gpus: int, memory_gib: float, nodes: dict[str, int | None]
) -> None:
    for version, expected in nodes.items():
        model = releases.as_of(version, catalog.SHIPPED).model(name)
        assert model is not None
        assert estimate.estimated_nodes(model, Shape(gpus, memory_gib)) == expected, version


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("0.12.0", True),
        ("v0.12.7", True),
        ("0.9.4", True),
        ("0.13.0", False),
        ("1.0.0", False),
        ("0.2.0", False),
    ],
)
def test_version_says_which_kaito_is_newer_than_what_was_read(version: str, known: bool) -> None:
    answer = {
        "server": {"version": "v1.37.0"},
        "controllers": [{"kind": "KAITO", "version": version}],
        "crd": {"versions": []},
    }
    said = [words for words in _skew(answer) if words.startswith("KAITO")]
    assert bool(said) != known, said


def test_what_users_bring_stays_over_the_sizes_of_a_release() -> None:
    mine = catalog.SHIPPED.models["openai/gpt-oss-20b"]._replace(weights_gib=1)
    own = catalog.Catalog(own_models={"openai/gpt-oss-20b": mine})
    found = releases.as_of("v0.9.4", own).model("gpt-oss-20b")
    assert found is not None
    assert found.weights_gib == 1


def test_the_releases_that_have_a_name_follow_one_another() -> None:
    known = catalog.SHIPPED
    order = [release.table if release.read else release.name for release in releases.IN_ORDER]
    for name in {*catalog.presets(), *known.model_names()}:
        having = releases.served_by(name, known)
        first = order.index(having[0])
        assert having == order[first : first + len(having)], name


def test_rules_come_with_the_release_that_brought_them() -> None:
    adapter = {"source": {"name": "a", "volumeSource": {"persistentVolumeClaim": {"claimName": "p"}}}}
    with_volume = workspace(preset={"name": "phi-4-mini-instruct"}, adapters=[adapter])
    mode = workspace()
    mode["metadata"]["annotations"] = {"kaito.sh/performance-mode": "fast"}
    local = workspace()
    local["metadata"]["annotations"] = {"kaito.sh/use-local-weights": "maybe"}
    hub = workspace(preset={"name": "microsoft/phi-4"})
    order = ["v0.5.0", "v0.6.0", "v0.7.0", "v0.8.0", "v0.9.4", "v0.10.0", "v0.11.0", "v0.12.0"]
    assert [version for version in order if codes(with_volume, version) == []] == order[5:]
    assert [version for version in order if ("KW117", "refuses") in codes(mode, version)] == order[5:]
    assert [version for version in order if ("KW117", "refuses") in codes(local, version)] == ["v0.12.0"]
    assert [version for version in order if ("KW142", "refuses") in codes(hub, version)] == order[:4]


def test_every_release_without_a_generation_says_what_it_makes_otherwise() -> None:
    without = {one.version for one in (*releases.RELEASES, *releases.READ)} - {
        row.release for row in IMAGE_GENERATIONS.values()
    }
    assert set(UNLIKE) == without
    page = (Path(__file__).parents[2] / "docs" / "run-controller.md").read_text()
    for version, unlike in UNLIKE.items():
        assert release_detection.generation_near(version) == unlike.made_as, version
        how = "run" if unlike.was_run else "read"
        assert f"| {version} (`{unlike.commit}`) | {unlike.made_as} | {how} | {unlike.words} |" in page


def test_a_release_is_of_one_commit_wherever_it_is_named() -> None:
    said = json.dumps(releases.rows())
    named = dict(re.findall(r"KAITO (v[0-9.]+) \(([0-9a-f]{9})\)", said))
    assert len(named) > 5
    assert named == {version: UNLIKE[version].commit for version in named}


# --- weights that are streamed ---------------------------------------------------------------------------

STATIC = "inference.kaito.sh/static-model-mirror"
SOURCE = {
    "inference.kaito.sh/stream-datarefs-url": "https://models.example/refs",
    "inference.kaito.sh/stream-identity-client-id": "0000",
    "inference.kaito.sh/stream-source-type": "public",
}
WHOLE = {STATIC: "true", **SOURCE}
STREAMS = frozenset({"ModelMirror", "ModelStreaming"})


@pytest.mark.parametrize(
    ("notes", "gates", "expected"),
    [
        (WHOLE, STREAMS, []),
        (WHOLE, None, []),
        (WHOLE, frozenset(), [("KW199", "ignores")] * 4),
        ({STATIC: "true"}, STREAMS, [("KW119", "never-ready")] * 3),
        ({**WHOLE, "inference.kaito.sh/stream-source-type": "mine"}, STREAMS, [("KW119", "never-ready")]),
        (SOURCE, STREAMS, [("KW199", "ignores")] * 3),
        ({**WHOLE, "kaito.sh/model-streaming": "disabled"}, STREAMS, [("KW199", "ignores")] * 4),
        ({**WHOLE, "kaito.sh/runtime": "transformers"}, STREAMS, [("KW199", "ignores")] * 4),
        ({"kaito.sh/model-mirror-storage-class": "blob"}, STREAMS, []),
        ({**WHOLE, "kaito.sh/model-mirror-storage-class": "blob"}, STREAMS, [("KW199", "ignores")]),
    ],
)
def test_annotations_of_streaming_are_judged_by_what_comes_of_them(
    notes: dict[str, str], gates: frozenset[str] | None, expected: list[tuple[str, str]]
) -> None:
    obj = workspace(preset={"name": "phi-3-mini-4k-instruct"})
    obj["metadata"]["annotations"] = notes
    assert codes(obj, "v0.12", gates=gates) == expected
    own = [code for code, _ in codes(obj, "kaitoctl") if code != "KW118"]
    assert set(own) <= {"KW116", "KW114"} and len(own) >= len(set(notes) - {"kaito.sh/runtime"})


def test_what_depends_on_a_gate_is_no_error_where_the_gate_may_be_off() -> None:
    obj = workspace(preset={"name": "phi-4"})
    obj["metadata"]["annotations"] = {STATIC: "true"}
    severities = {
        gates: {p.severity for p in validation.judge(obj, Setting("v0.12", gates=gates))}
        for gates in (None, STREAMS)
    }
    assert severities == {None: {"warning"}, STREAMS: {"error"}}


NAMES = sorted({name for one in releases.IN_ORDER for name in releases.preset_names(one, catalog.SHIPPED)})


@pytest.mark.parametrize("version", [releases.V1ALPHA1, releases.V1BETA1])
def test_no_manifest_is_wrong_for_a_preset_that_some_release_serves(version: str) -> None:
    """Where nobody names a release, the nearest one counts that has the preset in that API version."""
    asked = {"usual": 0, "chosen": 0}
    for name in NAMES:
        serving = [
            one.name
            for one in releases.RELEASES[1:]
            if version in one.versions
            and (version == releases.V1BETA1 or not one.dies_of(name))
            and releases.is_preset_name(one, name, catalog.SHIPPED)
        ]
        obj = {**workspace(), "apiVersion": version, "inference": {"preset": {"name": name}}}
        found = {problem.code for problem in validation.judge(obj, Setting())} & {"KW142", "KW165"}
        assert bool(found) == (not serving), name
        usual = "v0.12" if version == releases.V1BETA1 else "v0.4"
        wanted = usual if usual in serving or not serving else serving[-1 if usual == "v0.12" else 0]
        if serving:
            assert Setting().target_of(obj) == wanted, name
            asked["usual" if wanted == usual else "chosen"] += 1
    assert min(asked.values()) >= 5


def test_tuning_chooses_the_release_as_inference_does_and_other_names_choose_none() -> None:
    def target(name: object, version: str = releases.V1ALPHA1, use: str = "inference") -> str:
        return Setting().target_of({"apiVersion": version, use: {"preset": {"name": name}}})

    assert target("phi-4", use="tuning") == "v0.4.6"
    assert target("falcon-7b", releases.V1BETA1, "tuning") == "v0.9"
    for name in ("no-such", "", None, 7, ["phi-4"], "x" * 300, "PHI-4" * 100):
        assert (target(name), target(name, releases.V1BETA1)) == ("v0.4", "v0.12"), name
    assert target("smollm2-135m-instruct") == validation.OWN


@pytest.mark.parametrize(
    ("name", "target", "hint"),
    [
        ("phi-4", "v0.4", "KAITO v0.4.6 to v0.12 has it: upgrade KAITO, or name the release that runs"),
        ("gemma-3-4b-instruct", "v0.4.6", "KAITO v0.8 to v0.12 has it: upgrade KAITO"),
        ("gemma-3-4b-instruct", "v0.7", "KAITO v0.8 to v0.12 has it: upgrade KAITO"),
        (
            "falcon-7b",
            "v0.12",
            "KAITO v0.3 to v0.10 has it: take a model of today's, or name the release that runs",
        ),
        ("llama-2-7b", "v0.12", "KAITO v0.3 to v0.4 has it, in v1alpha1 alone"),
        ("no-such", "v0.4", "known presets: "),
    ],
)
def test_of_a_preset_that_the_release_lacks_it_is_said_which_has_it(
    name: str, target: str, hint: str
) -> None:
    version = releases.V1ALPHA1 if target == "v0.4" else releases.V1BETA1
    obj = {**workspace(), "apiVersion": version, "inference": {"preset": {"name": name}}}
    (said,) = [one for one in validation.judge(obj, Setting(target)) if one.code == "KW142"]
    assert str(said.hint).startswith(hint)
    assert f"mean {name}" not in str(said.hint)
