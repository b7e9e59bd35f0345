"""`kaitoctl validate` on a repository: its many files are judged by several processes, and as a few are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shell import Shell

WORKSPACE = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {{name: {name}}}
resource: {{instanceType: {type}, labelSelector: {{matchLabels: {{apps: {name}}}}}}}
inference: {{preset: {{name: phi-4}}{config}}}
"""
SHAPE = "Standard_NC24ads_A100_v4"
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: long}
data: {inference_config.yaml: "vllm: {max-model-len: 99999}"}
"""


def _contents(number: int) -> str:
    """The file of a number: most are like what people keep in a repository, and some are not."""
    name = f"w-{number:03}"
    good = WORKSPACE.format(name=name, type=SHAPE, config="")
    return {
        0: good.replace("phi-4", "phi4"),
        1: good + "---\n" + WORKSPACE.format(name="twice", type=SHAPE, config=""),
        2: WORKSPACE.format(name=name, type=SHAPE, config=", config: long"),
        3: f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: 1}}\n",
        4: good + "unclosed: [\n",
        5: f"apiVersion: kaito.sh/v1\nkind: Wrokspace\nmetadata: {{name: {name}}}\n",
        6: "# nothing\n",
        7: f"apiVersion: kaito.sh/v1beta1\nkind: InferenceSet\nmetadata: {{name: {name}}}\nspec: {{}}\n",
        8: good.replace(f"name: {name}}}\nr", "name: 7}\nr", 1),
    }.get(number % 20, good)


def _written(folder: Path, numbers: range) -> list[str]:
    folder.mkdir()
    for number in numbers:
        (folder / f"{number:03}.yaml").write_text(_contents(number))
    (folder / "zz-config.yaml").write_text(CONFIG_MAP)
    return ["-f", folder.name]


def _without_twins(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents by file, without what is said of one that stood in another folder."""
    for document in documents:
        document["source"] = Path(document["source"]).name
        document["problems"] = [one for one in document["problems"] if one["code"] != "KW109"]
        document["valid"] = not any(one["severity"] == "error" for one in document["problems"])
    return documents


def test_many_files_are_judged_as_few_are(offline: Shell) -> None:
    few: list[dict[str, Any]] = []
    notes: list[str] = []
    for start in range(0, 400, 100):
        given = _written(offline.home / f"part-{start}", range(start, start + 100))
        done = offline.kaitoctl("validate", *given, "-o", "json", code=2)
        few += json.loads(done.stdout)["documents"]
        notes += [line for line in done.stderr.splitlines() if ".yaml: " in line]
    given = _written(offline.home / "all", range(400))
    done = offline.kaitoctl("validate", *given, "-o", "json", code=2)
    many = json.loads(done.stdout)["documents"]
    twins = {
        document["source"]: one for document in many for one in document["problems"] if one["code"] == "KW109"
    }
    assert len(twins) == 19  # of twenty
    assert twins["all/021.yaml"]["message"].endswith("twice is also in all/001.yaml:9; the last one wins")
    assert (twins["all/021.yaml"]["line"], twins["all/021.yaml"]["column"]) == (9, 12)
    assert _without_twins(many) == _without_twins(few)
    assert len(many) > 300
    assert {one["code"] for document in many for one in document["problems"]} >= {"KW100", "KW195"}
    said = [line for line in done.stderr.splitlines() if ".yaml: " in line]
    assert [line.partition("/")[2] for line in said] == [line.partition("/")[2] for line in notes]


def test_a_file_of_many_that_may_not_be_read_is_named(offline: Shell) -> None:
    given = _written(offline.home / "all", range(300))
    (offline.home / "all" / "250.yaml").unlink()
    (offline.home / "all" / "250.yaml").symlink_to("/proc/self/mem")
    done = offline.kaitoctl("validate", *given, code=2)
    assert "250.yaml" in done.stderr
    assert "Traceback" not in done.stderr
