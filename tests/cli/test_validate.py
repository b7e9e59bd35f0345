"""`kaitoctl validate` and `kaitoctl explain` as processes: exit codes, both outputs, many files."""

from __future__ import annotations

import codecs as encodings
import copy
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import Answer, serving
from shell import BIN, Shell

from kaitoctl.kaito import validation
from kaitoctl.kaito.adapter_files.codes import CODES as ADAPTER_CODES
from kaitoctl.kaito.diagnosis.codes import CODES as CAUSES
from kaitoctl.kaito.fleet.codes import CODES as FLEET_CODES
from kaitoctl.kaito.installation_codes import CODES as OF_INSTALLATIONS
from kaitoctl.kaito.node_check.codes import CODES as NODE_CODES
from kaitoctl.kaito.validation.codes import CODES, Code
from kaitoctl.kaito.validation.release_detection import target_of_crd
from kaitoctl.kaito.validation.releases import release_named

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "data" / "validate-table.txt"
PAGE = ROOT / "docs" / "validation.md"
IS_WRITING = os.environ.get("GOLDEN") == "write"

GOOD = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata:
  name: falcon
  annotations:
    kaito.sh/runtime: transformers
resource:
  instanceType: Standard_NC12s_v3
  labelSelector:
    matchLabels:
      apps: falcon
inference:
  preset:
    name: falcon-7b
"""
BAD = (
    GOOD.replace("falcon-7b", "falcon7b")
    .replace("kaito.sh/runtime", "kaito.sh/enable-lb")
    .replace("  labelSelector", "  preferredNodes: [Node A]\n  labelSelector")
    + """\
  adapters:
    - source:
        name: helper
        image: registry.example/a-rather-long-path/to-the-image/of-the-helper:1
      strength: "1.5"
      weight: 1
"""
)
WARNED = GOOD.replace(
    "    matchLabels", "    matchExpressions: [{key: a, operator: In, values: [b]}]\n    matchLabels"
)


def write(shell: Shell, **files: str) -> None:
    for name, text in files.items():
        path = shell.home / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def judged(shell: Shell, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = shell.kaitoctl("validate", *arguments, "-o", "json", code=code)
    answer = json.loads(done.stdout)
    assert list(answer) == ["documents"]
    documents: list[dict[str, Any]] = answer["documents"]
    return documents


@pytest.mark.parametrize("form", ["table", "json", "yaml", "github", "sarif", "junit"])
@pytest.mark.parametrize("text", ["", "# nothing\n---\n", "Error from server (NotFound): not found\n"])
def test_where_nothing_was_validated_nothing_is_well_whatever_the_format(
    offline: Shell, form: str, text: str
) -> None:
    write(offline, none_yaml=text)
    done = offline.kaitoctl("validate", "-f", "none.yaml", "-o", form, code=2)
    assert "no Workspace was found" in done.stderr
    offline.kaitoctl("validate", "-f", "none.yaml", "-o", form, "--allow-none")


def test_a_stream_of_json_is_validated_object_by_object(offline: Shell) -> None:
    good = yaml.safe_load(GOOD)
    lines = "\n".join(json.dumps(good | {"metadata": {"name": name}}) for name in ("one", "two"))
    write(offline, all_json=lines)
    assert [document["valid"] for document in judged(offline, "-f", "all.json")] == [True, True]


def test_a_good_file_is_valid_and_says_so_on_stderr(offline: Shell) -> None:
    write(offline, good_yaml=GOOD)
    done = offline.kaitoctl("validate", "-f", "good.yaml")
    assert done.stdout == ""
    summary = "✔ 1 document: 1 valid, 0 invalid; 0 errors, 0 warnings\n"
    said = "► v1alpha1 is judged as KAITO v0.4; --target-version names another release, such as v0.12\n"
    assert done.stderr == said + summary  # that today's KAITO judges otherwise is said, also of a good one
    assert offline.kaitoctl("validate", "-f", "good.yaml", "--target-version", "v0.4").stderr == summary
    assert "judged as" not in offline.kaitoctl("validate", "-f", "good.yaml", "-q").stderr


@pytest.mark.parametrize("text", ["hello", '{"apiVersion": "kaito.sh/v1', "kind: Workspace", "a: [", "[1]"])
def test_no_release_is_named_for_what_says_no_api_version(offline: Shell, text: str) -> None:
    write(offline, bad_yaml=text)
    assert "judged as" not in offline.kaitoctl("validate", "-f", "bad.yaml", code=2).stderr
    write(offline, both_yaml=f"{GOOD}\n---\n{text}")
    assert "v1alpha1 is judged as" in offline.kaitoctl("validate", "-f", "both.yaml", code=2).stderr


def test_json_has_the_promised_shape_and_places(offline: Shell) -> None:
    write(offline, bad_yaml=BAD)
    (document,) = judged(offline, "-f", "bad.yaml", code=2)
    problems = document.pop("problems")
    place = {"index": 0, "source": "bad.yaml", "name": "falcon", "namespace": ""}
    assert document == {**place, "valid": False, "judgedAs": "v0.4.0", "admission": "refuses"}
    assert {tuple(problem) for problem in problems} == {
        ("path", "code", "severity", "message", "hint", "kaito", "line", "column")
    }
    assert [(p["code"], p["path"], p["line"], p["column"]) for p in problems] == [
        ("KW115", "metadata.annotations[kaito.sh/enable-lb]", 6, 5),
        ("KW124", "resource.preferredNodes[0]", 9, 20),
        ("KW142", "inference.preset.name", 15, 5),
        ("KW156", "inference.adapters[0].strength", 20, 7),
        ("KW102", "inference.adapters[0].weight", 21, 7),
    ]


def test_the_table_shows_the_line_with_a_caret(offline: Shell) -> None:
    """Run with GOLDEN=write to write the golden file anew."""
    write(offline, bad_yaml=BAD)
    done = offline.run(str(BIN / "kaitoctl"), "validate", "-f", "bad.yaml", COLUMNS="80")
    assert done.returncode == 2
    if IS_WRITING:
        GOLDEN.write_text(done.stdout)
    assert done.stdout == GOLDEN.read_text()
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_warnings_are_allowed_unless_strict(offline: Shell) -> None:
    write(offline, warned_yaml=WARNED)
    (document,) = judged(offline, "-f", "warned.yaml")
    assert document["valid"]
    assert [problem["severity"] for problem in document["problems"]] == ["warning"]
    (document,) = judged(offline, "-f", "warned.yaml", "--strict", code=2)
    assert not document["valid"]


def test_folders_are_read_below_and_sorted_and_files_may_repeat(offline: Shell) -> None:
    as_list = json.dumps({"apiVersion": "v1", "kind": "List", "items": [{"kind": "Workspace"}] * 2})
    write(offline, d__b_yaml=GOOD, d__a_yml=GOOD, d__c_json=as_list, d__readme_txt="no", other_yaml=GOOD)
    documents = judged(offline, "-f", "d", "-f", "other.yaml", code=2)
    assert [(d["source"], d["index"], d["valid"]) for d in documents] == [
        ("d/a.yml", 0, True),
        ("d/b.yaml", 0, True),
        ("d/c.json", 0, False),
        ("d/c.json", 1, False),
        ("other.yaml", 0, True),
    ]


def test_a_document_that_cannot_be_read_is_its_own_problem(offline: Shell) -> None:
    write(offline, three_yaml=f"{GOOD}---\na: 1\na: 2\n---\n{GOOD}")
    first, second, third = judged(offline, "-f", "three.yaml", code=2)
    assert first["valid"]
    assert third["valid"]
    assert second["index"] == 1
    (problem,) = second["problems"]
    assert (problem["code"], problem["line"], problem["column"]) == ("KW100", 17, 1)
    assert "twice" in problem["message"]


def test_other_objects_are_skipped_with_a_note(offline: Shell) -> None:
    write(offline, two_yaml=f"{GOOD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n")
    done = offline.kaitoctl("validate", "-f", "two.yaml")
    assert "two.yaml: Secret s is skipped" in done.stderr
    assert done.stderr.endswith("; 1 skipped\n")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("RAGEngine", "RAGEngine is a kind of KAITO's for which there are no rules here"),
        ("Workspce", "it is misspelt, or of a newer KAITO"),
    ],
)
def test_other_kinds_of_kaito_are_named_and_not_called_valid(offline: Shell, kind: str, words: str) -> None:
    other = f"apiVersion: kaito.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\n"
    write(offline, both_yaml=f"{GOOD}---\n{other}", alone_yaml=other)
    both = offline.kaitoctl("validate", "-f", "both.yaml").stderr
    assert f"both.yaml: {kind} x was not validated: " in both
    assert words in both
    alone = offline.kaitoctl("validate", "-f", "alone.yaml", code=2).stderr
    assert words in alone
    assert f"error: nothing was validated: there is no Workspace beside {kind}" in alone


@pytest.mark.parametrize("text", ["", "apiVersion: v1\nkind: Secret\n"])
def test_a_file_without_workspace_is_no_success(offline: Shell, text: str) -> None:
    write(offline, none_yaml=text)
    assert "no Workspace" in offline.kaitoctl("validate", "-f", "none.yaml", code=2).stderr


def test_stdin_is_read(offline: Shell) -> None:
    done = subprocess.run(
        [str(BIN / "kaitoctl"), "validate", "-f", "-", "-o", "json"],
        input=BAD, capture_output=True, text=True, check=False, env=offline.env,
    )  # fmt: skip
    assert done.returncode == 2
    assert json.loads(done.stdout)["documents"][0]["source"] == "stdin"


def test_old_judges_the_change(offline: Shell) -> None:
    write(offline, old_yaml=GOOD, new_yaml=GOOD.replace("falcon-7b", "phi-2"))
    (document,) = judged(offline, "-f", "new.yaml", "--old", "old.yaml", code=2)
    assert [problem["code"] for problem in document["problems"]] == ["KW181"]
    assert judged(offline, "-f", "new.yaml")[0]["valid"]


def test_config_maps_are_looked_into(offline: Shell) -> None:
    tuning = """\
tuning:
  preset: {name: phi-2}
  method: qlora
  config: mine
  input: {urls: ["https://example.com/data"]}
  output: {image: "r.io/out:1", imagePushSecret: push}
"""
    config = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {training_config.yaml: "a: 1"}\n'
    write(offline, w_yaml=GOOD[: GOOD.index("inference:")] + tuning, maps_yaml=config)
    assert judged(offline, "-f", "w.yaml")[0]["valid"]
    (document,) = judged(offline, "-f", "w.yaml", "--config-maps", "maps.yaml", code=2)
    assert [(p["code"], p["path"]) for p in document["problems"]] == [("KW191", "tuning.config")]


SERVED = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: own}
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector: {matchLabels: {apps: own}}
inference:
  config: mine
  preset: {name: phi-4}
"""
SET = """\
apiVersion: kaito.sh/v1beta1
kind: InferenceSet
metadata: {name: fleet}
spec:
  replicas: 1
  labelSelector: {matchLabels: {apps: own}}
  template:
    resource: {instanceType: Standard_NC24ads_A100_v4}
    inference:
      config: mine
      preset: {name: phi-4}
"""
LENGTH = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: mine}
data:
  inference_config.yaml: |
    vllm:
      max-model-len: 16385
"""


def placed(text: str, namespace: str) -> str:
    return re.sub(r"\{name: (\w+)\}", rf"{{name: \1, namespace: {namespace}}}", text, count=1)


@pytest.mark.parametrize("workspace", [SERVED, SET], ids=["workspace", "set"])
@pytest.mark.parametrize("kind", ["one file", "ConfigMap first", "one folder", "two files", "a List"])
def test_a_config_map_beside_its_workspace_is_judged_with_it(
    offline: Shell, workspace: str, kind: str
) -> None:
    target = () if workspace is SET else ("--target-version", "v0.12")
    for text, found in ((LENGTH, ["KW195"]), (LENGTH.replace("16385", "16384"), [])):
        folder = offline.home / kind.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        arguments = ["-f", folder.name]
        if kind == "one file":
            (folder / "a.yaml").write_text(f"{workspace}---\n{text}")
        elif kind == "ConfigMap first":
            (folder / "a.yaml").write_text(f"{text}---\n{workspace}")
        elif kind == "a List":
            items = [yaml.safe_load(one) for one in (workspace, text)]
            (folder / "a.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        else:
            (folder / "w.yaml").write_text(workspace)
            (folder / "z.yaml").write_text(text)
        if kind == "two files":
            arguments = ["-f", f"{folder.name}/w.yaml", "-f", f"{folder.name}/z.yaml"]
        done = offline.kaitoctl("validate", *arguments, *target, "-o", "json", code=2 if found else 0)
        (document,) = json.loads(done.stdout)["documents"]
        assert [problem["code"] for problem in document["problems"]] == found
        assert {problem["kaito"] for problem in document["problems"]} <= {"refuses"}
        assert "skipped" not in done.stderr, "it was looked into"


@pytest.mark.parametrize(
    ("workspace", "config_map", "arguments", "found"),
    [
        (SERVED, LENGTH, (), ["KW195"]),
        (placed(SERVED, "a"), placed(LENGTH, "a"), (), ["KW195"]),
        (SERVED, placed(LENGTH, "team"), ("-n", "team"), ["KW195"]),
        (placed(SERVED, "a"), placed(LENGTH, "b"), (), []),  # another one, which may be there
        (SERVED, LENGTH.replace("name: mine", "name: other"), (), []),  # the same
        (SERVED, LENGTH.replace("  inference_config.yaml: |", "  config.yaml: |"), (), ["KW191"]),
        (SERVED, LENGTH.replace("16385", "many"), (), ["KW197"]),
        (SERVED, LENGTH.replace("      max-model-len: 16385", "      a: [1]"), (), ["KW196"]),
        (SERVED, f"{LENGTH}---\n{LENGTH.replace('16385', '16384')}", (), []),  # the last one stays
        (SERVED, LENGTH.replace("apiVersion: v1\n", "apiVersion: example.com/v1\n"), (), []),
    ],
)
def test_the_config_map_that_counts_is_that_of_the_name_and_namespace(
    offline: Shell, workspace: str, config_map: str, arguments: tuple[str, ...], found: list[str]
) -> None:
    write(offline, all_yaml=f"{workspace}---\n{config_map}")
    target = ("--target-version", "v0.12")
    code = 2 if found else 0
    (document,) = judged(offline, "-f", "all.yaml", *target, *arguments, code=code)
    assert [problem["code"] for problem in document["problems"]] == found


def test_the_target_decides(offline: Shell) -> None:
    write(offline, w_yaml=GOOD.replace("Standard_NC12s_v3", "g5.4xlarge"))
    for arguments, code in [
        (["--target-version", "v0.3"], 2),
        (["--target-version", "v0.4"], 0),
        (["--target-version", "v0.4", "--cloud-provider", "azure"], 2),
        (["--target-version", "v0.12"], 2),
    ]:
        judged(offline, "-f", "w.yaml", *arguments, code=code)


BETA = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: own}
resource:
  labelSelector: {matchLabels: {apps: own}}
  partition: {mode: mig, profile: 1g.20gb}
inference:
  preset: {name: phi-4}
"""


def codes(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem["code"], problem["severity"]) for problem in document["problems"]]


def test_gates_decide_whether_gpus_can_be_divided(offline: Shell) -> None:
    write(offline, w_yaml=BETA.replace("phi-4", "phi-4-mini-instruct"))
    byo = ("-f", "w.yaml", "--node-provisioner", "byo")
    assert codes(judged(offline, *byo)[0]) == [("KW129", "warning")]
    assert codes(judged(offline, *byo, "--feature-gates", "vLLM=true,enableMIG=true")[0]) == []
    assert codes(judged(offline, *byo, "--feature-gates", "enableMIG=false", code=2)[0]) == [
        ("KW129", "error")
    ]


def test_nodes_of_ones_own_are_looked_at(offline: Shell) -> None:
    node = {"kind": "Node", "metadata": {"name": "n", "labels": {"apps": "own"}}}
    whole = "".join(line for line in BETA.splitlines(keepends=True) if "partition" not in line)
    write(offline, w_yaml=whole, nodes_json=json.dumps({"kind": "List", "items": [node]}))
    byo = ("-f", "w.yaml", "--node-provisioner", "byo", "--nodes", "nodes.json")
    assert codes(judged(offline, *byo, code=2)[0]) == [("KW201", "error")]
    node["metadata"]["labels"] |= {  # type: ignore[index]
        f"nvidia.com/gpu.{key}": value
        for key, value in (("product", "A100"), ("count", "1"), ("memory", "81920"))
    }
    write(offline, nodes_json=json.dumps({"kind": "List", "items": [node]}))
    assert codes(judged(offline, *byo)[0]) == []


# --- with a cluster ----------------------------------------------------------------------------------------


def test_a_cluster_that_is_named_tells_the_version_and_what_there_is(shell: Shell, namespace: str) -> None:
    text = BETA.replace("  partition: {mode: mig, profile: 1g.20gb}\n", "").replace(
        "resource:", "resource:\n  instanceType: Standard_NC24ads_A100_v4"
    )
    text = text.replace("{name: own}", f"{{name: own, namespace: {namespace}}}")
    text = text.replace("inference:", "inference:\n  config: mine")
    write(shell, beta_yaml=text)
    arguments = ("-f", "beta.yaml", "--kubeconfig", shell.kubeconfig, "--target-version", "v0.12")
    shell = replace(shell, cluster={"KUBECONFIG": shell.kubeconfig})
    done = shell.kaitoctl("validate", *arguments, code=2)
    assert f"there is no ConfigMap {namespace}/mine" in " ".join(done.stdout.split())

    data = {"inference_config.yaml": "vllm:\n  max-model-len: 16385\n"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": namespace}}
    shell.apply({**config, "data": data})
    assert codes(judged(shell, *arguments, code=2)[0]) == [("KW195", "error")]
    shell.apply({**config, "data": {"inference_config.yaml": ""}})
    assert codes(judged(shell, *arguments)[0]) == []

    shell.kubectl("apply", "--server-side", "--validate=false", "-f", str(shell.home / "beta.yaml"))
    assert codes(judged(shell, *arguments)[0]) == []
    write(shell, beta_yaml=text.replace("phi-4", "phi-4-mini-instruct"))
    assert codes(judged(shell, *arguments, code=2)[0]) == [("KW181", "error")]
    assert codes(judged(shell, "-f", "beta.yaml")[0]) == []  # no cluster named, none asked


def test_what_a_workspace_names_and_is_not_there_is_named(shell: Shell, namespace: str) -> None:
    text = BETA.replace("  partition: {mode: mig, profile: 1g.20gb}\n", "").replace(
        "resource:", "resource:\n  instanceType: Standard_NC24ads_A100_v4"
    )
    text = text.replace("{name: own}", f"{{name: own, namespace: {namespace}}}")
    text = text.replace("phi-4", "llama-3.1-8b-instruct, presetOptions: {modelAccessSecret: hf}")
    text += (
        "  adapters:\n    - source: {name: a, image: 'r.io/a:1', imagePullSecrets: [pull]}\n"
        "    - source: {name: b, volumeSource: {persistentVolumeClaim: {claimName: disk}}}\n"
    )
    write(shell, beta_yaml=text)
    arguments = ("-f", "beta.yaml", "--kubeconfig", shell.kubeconfig, "--target-version", "v0.12")
    shell = replace(shell, cluster={"KUBECONFIG": shell.kubeconfig})
    found = codes(judged(shell, *arguments, code=2)[0])
    assert sorted(found) == [("KW186", "error"), ("KW186", "warning"), ("KW188", "error")]

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace}}
    login = {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{}"}}
    shell.apply({**secret, "metadata": {"name": "pull", "namespace": namespace}, **login})
    hidden = {"metadata": {"name": "hf", "namespace": namespace}, "stringData": {"TOKEN": "hf_canary"}}
    shell.apply({**secret, **hidden})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    place = {"name": "disk", "namespace": namespace}
    shell.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": place, "spec": claim})
    done = shell.kaitoctl("validate", *arguments, "-o", "json", code=2)
    (document,) = json.loads(done.stdout)["documents"]
    assert codes(document) == [("KW187", "error")]
    assert "canary" not in done.stdout + done.stderr
    (hint,) = [problem["hint"] for problem in document["problems"]]
    assert "kubectl patch secret hf" in hint
    shell.run(*shlex.split(hint.replace("VALUE", "hf_canary")))
    assert set(shell.get("secret", "hf", "-n", namespace)["data"]) == {"TOKEN", "HF_TOKEN"}

    shell.apply({**secret, **hidden, "stringData": {"HF_TOKEN": "hf_canary"}})
    assert codes(judged(shell, *arguments)[0]) == []


def test_what_may_not_be_read_is_not_judged(offline: Shell) -> None:
    """Secrets are what most users may not read."""
    text = GOOD.replace(
        "name: falcon-7b",
        "name: falcon-7b\n  adapters: [{source: {name: a, image: 'r.io/a:1', "
        "imagePullSecrets: [pull]}, strength: '1'}]",
    )
    write(offline, w_yaml=text)

    def answer(_: str, path: str) -> tuple[int, str]:
        if path.endswith("/apis/kaito.sh"):
            return 200, json.dumps({"versions": [{"version": "v1alpha1"}]})
        if "/deployments" in path:
            return 200, json.dumps({"items": []})
        return (403, "{}") if "/secrets/" in path else (404, "{}")

    with serving(answer, offline.home) as kubeconfig:
        done = offline.kaitoctl(
            "validate", "-f", "w.yaml", "--kubeconfig", kubeconfig, "--target-version", "v0.4"
        )
    assert "Secret default/pull may not be read; whether it exists was not checked" in done.stderr
    assert done.stdout == ""


def test_a_workspace_that_stands_twice_is_named_once_more(offline: Shell) -> None:
    write(offline, a_yaml=GOOD, b_yaml=f"{GOOD}---\n{GOOD.replace('name: falcon', 'name: other', 1)}")
    documents = judged(offline, "-f", "a.yaml", "-f", "b.yaml")
    assert [codes(document) for document in documents] == [[], [("KW109", "warning")], []]
    assert "is also in a.yaml:4" in documents[1]["problems"][0]["message"]


def test_utf16_is_read_as_powershell_writes_it(offline: Shell) -> None:
    (offline.home / "w.yaml").write_bytes(
        encodings.BOM_UTF16_LE + GOOD.replace("\n", "\r\n").encode("utf-16-le")
    )
    assert codes(judged(offline, "-f", "w.yaml")[0]) == []
    bad = GOOD.replace("falcon-7b", "falcon7b").encode("utf-16-be")
    (offline.home / "w.yaml").write_bytes(encodings.BOM_UTF16_BE + bad)
    (problem,) = judged(offline, "-f", "w.yaml", code=2)[0]["problems"]
    assert (problem["line"], problem["kaito"]) == (14, "refuses")


def test_any_release_can_be_judged_for_and_says_by_which(offline: Shell) -> None:
    write(offline, w_yaml=GOOD)
    done = offline.kaitoctl("validate", "-f", "w.yaml", "--target-version", "v0.5.1", "-o", "json")
    assert "v0.5.1: judged as KAITO v0.4.6" in done.stderr
    (document,) = json.loads(done.stdout)["documents"]
    assert (document["judgedAs"], document["admission"]) == ("v0.4.6", "admits")
    done = offline.kaitoctl("validate", "-f", "w.yaml", "--target-version", "kaitoctl", "-o", "json")
    (document,) = json.loads(done.stdout)["documents"]
    assert (document["judgedAs"], document["admission"]) == ("kaitoctl", None)


@pytest.mark.sandbox_alone("elsewhere nobody says whose controller it is")
def test_in_the_sandbox_our_own_controller_is_judged_for_and_it_knows_todays_models(
    shell: Shell, namespace: str
) -> None:
    text = BETA.replace("  partition: {mode: mig, profile: 1g.20gb}\n", "")
    write(shell, beta_yaml=text.replace("{name: own}", f"{{name: own, namespace: {namespace}}}"))
    own = judged(shell, "-f", "beta.yaml", "--sandbox", code=2)[0]
    assert own["judgedAs"] == "kaitoctl"
    assert "KW142" not in [code for code, _ in codes(own)]


def crd_of(name: str) -> dict[str, Any]:
    """A CRD with what tells a release's from another's."""
    release = release_named(name)
    assert release is not None
    versions = []
    for version in release.versions:
        schema = copy.deepcopy(validation.schema_of(version))
        kind = schema["properties"]["resource"]["properties"]["instanceType"]
        kind.pop("default", None)
        if release.default_type(version):
            kind["default"] = release.default_type(version)
        for path in release.unknown_fields:
            part, field = path.split(".")
            schema["properties"][part]["properties"].pop(field, None)
        versions.append({"name": version.rpartition("/")[2], "schema": {"openAPIV3Schema": schema}})
    return {"kind": "CustomResourceDefinition", "metadata": {}, "spec": {"versions": versions}}


def test_the_targets_of_clusters(offline: Shell) -> None:
    """Answers that no sandbox gives: an older KAITO, and one that may not be looked at."""
    write(offline, w_yaml=GOOD)

    def controller(image: str) -> dict[str, Any]:
        pod = {"containers": [{"image": image}]}
        return {"metadata": {"name": "kaito-workspace"}, "spec": {"template": {"spec": pod}}}

    def crd(release: str) -> tuple[int, str]:
        found = crd_of(release)
        return 200, json.dumps(found)

    group = json.dumps({"kind": "APIGroup", "versions": [{"version": "v1alpha1"}]})
    old = yaml.safe_load(GOOD.replace("falcon-7b", "phi-2"))

    def answer(
        deployments: tuple[int, str],
        *,
        served: int = 200,
        workspace: int = 404,
        crd: tuple[int, str] = (404, "{}"),
    ) -> Answer:
        def one(_: str, path: str) -> tuple[int, str]:
            path = path.removeprefix("/s3cret-path")
            if path == "/apis/kaito.sh":
                return served, group if served == 200 else "{}"
            if "/deployments" in path:
                return deployments
            if "/leases" in path:
                return 404, "{}"
            if path == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workspaces.kaito.sh":
                return crd
            assert path == "/apis/kaito.sh/v1alpha1/namespaces/default/workspaces/falcon"
            return workspace, json.dumps(old) if workspace == 200 else "{}"

        return one

    def run(image: str) -> tuple[int, str]:
        return 200, json.dumps({"items": [controller(image)]})

    none = (200, '{"items": []}')
    registry = "mcr.microsoft.com/aks/kaito/workspace"
    for told, said, code in [
        (answer(run(f"{registry}:0.3.2")), "judged for KAITO v0.3.2: its controller's image says so", 0),
        (answer(run(f"{registry}:0.4.6")), "judged for KAITO v0.4.6: its controller's image", 0),
        (
            answer(run(f"{registry}:0.10.0")),
            "KAITO v0.10.0 (judged as KAITO v0.9.4, with what was read of v0.10.0)",
            2,
        ),
        (answer(none, crd=crd("v0.4")), "judged for KAITO v0.4: its CRD is of that release", 0),
        (answer(none), "the KAITO release is unknown", 0),
        (answer((403, "{}")), "cannot be listed in all namespaces", 0),
        (answer(none, workspace=403), "Workspace default/falcon may not be read; judged as if new", 0),
        (answer(none, workspace=200), "invalid", 2),
        (answer(none, served=403), "does not say which versions it serves; judged by apiVersion", 0),
        (answer(none, served=404), "has no CRD of Workspaces; judged by apiVersion", 0),
    ]:
        with serving(told, offline.home) as kubeconfig:
            done = offline.kaitoctl("validate", "-f", "w.yaml", "--kubeconfig", kubeconfig, code=code)
        assert said in done.stderr


def test_the_crd_that_kaitoctl_ships_is_known_as_its_own() -> None:
    crd = yaml.safe_load((ROOT / "schemas" / "kaito.sh_workspaces.yaml").read_text("utf-8"))
    assert target_of_crd(crd) == validation.OWN


@pytest.mark.parametrize("name", ["v0.4", "v0.4.6", "v0.9", "v0.12"])
def test_a_crd_tells_its_release(name: str) -> None:
    assert target_of_crd(crd_of(name)) == name


@pytest.mark.parametrize("crd", [{}, {"spec": 1}, {"spec": {"versions": [1, {"name": "v1alpha1"}]}}])
def test_another_crd_tells_none(crd: dict[str, Any]) -> None:
    assert target_of_crd(crd) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-f", "missing.yaml"], "No such file"),
        (["-f", "a\nb"], "No such file"),
        (["-f", "w.yaml", "-o", "xml"], "--output"),
        (["-f", "w.yaml", "--target-version", "v1"], "--target-version"),
        (["-f", "w.yaml", "--cloud-provider", "gcp"], "--cloud-provider"),
        (["-f", "w.yaml", "--old", "maps.yaml"], "no Workspace"),
        (["-f", "w.yaml", "--old", "broken.yaml"], "broken.yaml:2:1:"),
        (["-f", "empty"], "no .yaml"),
        (["-f", "w.yaml", "--nodes", "w.yaml"], "--node-provisioner byo"),
        (["-f", "w.yaml", "--kubeconfig", "missing"], "no such file"),
        ([], "no manifest is named"),
    ],
)
def test_bad_usage_is_named(offline: Shell, arguments: list[str], said: str) -> None:
    (offline.home / "empty").mkdir()
    write(offline, w_yaml=GOOD, maps_yaml="apiVersion: v1\nkind: ConfigMap\n", broken_yaml="{")
    assert said in offline.kaitoctl("validate", *arguments, code=2).stderr


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"\x00",
        b"a: \xe2\x28\xa1",
        b"\xef\xbb\xbfa: 1",
        b"{" * 5000,
        b"kind: Workspace\napiVersion: kaito.sh/v1beta1\nmetadata: 3",
    ],
)
def test_any_bytes_are_an_answer(offline: Shell, raw: bytes) -> None:
    (offline.home / "raw.yaml").write_bytes(raw)
    offline.kaitoctl("validate", "-f", "raw.yaml", code=2)


def test_a_file_of_many_mistakes_ends_early(offline: Shell) -> None:
    write(offline, many_yaml="---\nkind: Workspace\nspec: 1\n" * 2000)
    done = offline.kaitoctl("validate", "-f", "many.yaml", code=2)
    assert "the rest was not validated" in done.stderr


def test_control_characters_do_not_reach_the_terminal(offline: Shell) -> None:
    write(offline, w_yaml=GOOD.replace("name: falcon-7b", 'name: "a\\e[2Jb\\u202ec"'))
    done = offline.kaitoctl("validate", "-f", "w.yaml", code=2)
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_every_code_has_a_page_and_they_are_listed(offline: Shell) -> None:
    listed = offline.kaitoctl("explain").stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [
        *CODES,
        *FLEET_CODES,
        *NODE_CODES,
        *ADAPTER_CODES,
        *CAUSES,
        *OF_INSTALLATIONS,
    ]
    page = offline.kaitoctl("explain", "kw156").stdout
    assert page.startswith("KW156: ")
    assert "between 0 and 1: inference.adapter" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 80
    assert offline.kaitoctl("explain", "label-missing").stdout.startswith("label-missing:")


def test_an_unknown_code_is_answered_with_its_neighbours(offline: Shell) -> None:
    assert "Did you mean KW15" in offline.kaitoctl("explain", "KW15", code=2).stderr
    assert "lists all" in offline.kaitoctl("explain", "x" * 1000, code=2).stderr


def test_a_valid_file_needs_neither_jsonschema_nor_asyncio(offline: Shell) -> None:
    write(offline, good_yaml=GOOD)
    program = (
        "import sys; from kaitoctl.cli.app import app, run;"
        "sys.argv = ['kaitoctl', 'validate', '-f', 'good.yaml']; code = run(app);"
        "heavy = ('jsonschema', 'asyncio', 'aiohttp', 'kubernetes', 'rich', 'jinja2');"
        "print([name for name in heavy if name in sys.modules], code)"
    )
    done = offline.run(sys.executable, "-c", program)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr


@pytest.mark.parametrize(("name", "codes"), [("validation", CODES), ("fleets", FLEET_CODES)])
def test_the_docs_list_every_code(name: str, codes: Mapping[str, Code]) -> None:
    """Run with GOLDEN=write to write the list anew."""
    rows = [f"| {name} | {code.title} | {code.applies} |" for name, code in codes.items()]
    table = "\n".join(["| code | what it is | judged for KAITO |", "|---|---|---|", *rows])
    file = PAGE.with_name(f"{name}.md")
    before, mark, rest = file.read_text().partition("<!-- all codes -->\n")
    _, end, after = rest.partition("\n<!-- end -->")
    page = f"{before}{mark}{table}{end}{after}"
    if IS_WRITING:
        file.write_text(page)
    assert file.read_text() == page


def test_sets_and_workspaces_are_judged_side_by_side(offline: Shell) -> None:
    made = json.loads(offline.kaitoctl("schema", "--kind", "inferenceset", "--json-schema").stdout)
    assert {one["properties"]["kind"]["const"] for one in made["oneOf"]} == {"InferenceSet"}
    write(offline, set_yaml=SET)
    done = offline.kaitoctl("validate", "-f", "set.yaml", "-o", "json", code=2)
    (found,) = json.loads(done.stdout)["documents"]
    assert (found["judgedAs"], found["admission"]) == ("v0.12.0", "refuses")
    assert [(item["code"], item["line"]) for item in found["problems"]] == [("KW305", 6), ("KW142", 14)]
    changed = SET.replace("phi-9", "phi-4").replace("  nodeCountLimit: 3\n", "")
    write(offline, old_yaml=changed, new_yaml=changed.replace("phi-4", "phi-4-mini-instruct"))
    done = offline.kaitoctl("validate", "-f", "new.yaml", "--old", "old.yaml")
    assert "KW310" in done.stdout
    assert offline.kaitoctl("validate", "-f", "old.yaml", "-f", "old.yaml").stdout.count("KW109") == 1


def test_what_is_made_of_a_set_is_its_workspaces_and_what_they_are_made_of(offline: Shell) -> None:
    write(offline, set_yaml=SET.replace("phi-9", "phi-4"))
    done = offline.kaitoctl("render", "-f", "set.yaml", "-o", "json")
    items = json.loads(done.stdout)["items"]
    assert [item["kind"] for item in items].count("Workspace") == 2
    names = {item["metadata"]["name"] for item in items if item["kind"] == "Workspace"}
    assert {item["metadata"]["name"] for item in items if item["kind"] == "StatefulSet"} == names
    there = offline.kaitoctl("convert", "-f", "set.yaml", "--to", "v1alpha1").stdout
    assert there.startswith("apiVersion: kaito.sh/v1alpha1\nkind: InferenceSet\n")


SET = """\
apiVersion: kaito.sh/v1beta1
kind: InferenceSet
metadata: {name: phis}
spec:
  replicas: 2
  nodeCountLimit: 3
  labelSelector:
    matchLabels: {apps: phi}
  template:
    resource:
      instanceType: Standard_NC24ads_A100_v4
    inference:
      preset:
        name: phi-9
"""
