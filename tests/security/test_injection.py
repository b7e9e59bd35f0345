"""Whatever a user writes into a Workspace is data: it changes no object's shape and no program's text.

Each text of a Workspace of either kind is replaced by one that means something to a shell, to YAML, to
Kubernetes or to a command's options. Refusals are left aside here: even what slips through must do no harm.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import adapter, workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito.desired import Settings, desired
from kaitoctl.kaito.node_claims import node_claim
from kaitoctl.kube.objects import Object
from kaitoctl.workspace_controller import refusal_of

Where = tuple[str | int, ...]

TRICKY = st.one_of(
    st.text(alphabet=st.sampled_from(list("ab;|&$(){}<>`\\\n'\"*?~#-!: =%")), min_size=1, max_size=12),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["$(HOME)", "$$(HOME)", "--help", "x\ny: 1", "{{ 7 * 7 }}", "../../etc", "${PATH}"]),
)


def serving() -> Object:
    preset = {
        "name": "llama-2-13b",
        "accessMode": "private",
        "presetOptions": {"image": "registry.example/llama:1", "imagePullSecrets": ["pull"]},
    }
    entry = adapter("style", "registry.example/style:1", "0.5")
    entry["source"]["imagePullSecrets"] = ["pull-adapter"]
    expression = {"key": "zone", "operator": "In", "values": ["a"]}
    return workspace(
        metadata={"annotations": {"kaito.sh/runtime": "transformers", "kaito.sh/enablelb": "True"}},
        resource={
            "count": 2,
            "labelSelector": {"matchLabels": {"apps": "llama"}, "matchExpressions": [expression]},
            "preferredNodes": ["gpu-a"],
        },
        inference={"preset": preset, "adapters": [entry, adapter("tone", "registry.example/tone:1", "0.2")]},
    )


def single() -> Object:
    made = serving()
    made["inference"]["preset"] = {"name": "falcon-7b", "accessMode": "public"}
    return made


def tuning(source: Object) -> Object:
    options = {"image": "registry.example/phi:1", "imagePullSecrets": ["pull"]}
    made = workspace(
        "tune",
        resource={"instanceType": "Standard_NC24ads_A100_v4"},
        tuning={
            "preset": {"name": "phi-3-mini-4k-instruct", "accessMode": "private", "presetOptions": options},
            "method": "lora",
            "config": "mine",
            "input": source,
            "output": {"image": "registry.example/adapter:1", "imagePushSecret": "push"},
        },
    )
    del made["inference"]
    return made


WORKSPACES = {
    "distributed": serving(),
    "single": single(),
    "tuning from URLs": tuning({"urls": ["https://data.example/a.json", "https://data.example/b.json"]}),
    "tuning from an image": tuning({"image": "registry.example/data:1", "imagePullSecrets": ["pull-data"]}),
}
NAMES = {
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "uid"),
    ("metadata", "resourceVersion"),
    ("resource", "labelSelector", "matchExpressions", 0, "key"),  # becomes the key of a label
}
"""What the API server insists to be a name."""
CHOICES = {
    ("apiVersion",),
    ("kind",),
    ("inference", "preset", "name"),
    ("inference", "preset", "accessMode"),
    ("tuning", "preset", "name"),
    ("tuning", "preset", "accessMode"),
    ("tuning", "method"),
    ("metadata", "annotations", "kaito.sh/runtime"),
    ("metadata", "annotations", "kaito.sh/enablelb"),
    ("resource", "labelSelector", "matchExpressions", 0, "operator"),  # only `In` gives a node its label
}
"""What chooses between things to build."""
ANYTHING_ELSE_IS_NO = {
    ("apiVersion",),
    ("kind",),
    ("inference", "preset", "accessMode"),
    ("tuning", "preset", "accessMode"),
    ("metadata", "annotations", "kaito.sh/enablelb"),
}


def leaves(value: Any, where: Where = ()) -> Iterator[tuple[Where, str]]:
    """Each text of an object, and where it is."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*where, index))


def replaced(obj: Object, where: Where, text: str) -> Object:
    made = copy.deepcopy(obj)
    inner: Any = made
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = text
    return made


FIELDS = [
    (name, where)
    for name, obj in WORKSPACES.items()
    for where, _ in leaves(obj)
    if where not in NAMES | CHOICES
]


def test_no_field_is_forgotten() -> None:
    tried = {where for _, where in FIELDS}
    for obj in WORKSPACES.values():
        assert {where for where, _ in leaves(obj)} <= tried | NAMES | CHOICES
    assert {("tuning", "input", "urls", 1), ("tuning", "config"), ("resource", "preferredNodes", 0)} <= tried


def built(obj: Object) -> list[Object]:
    made = [child for _, child in desired(obj, gpus=2, settings=Settings(), output_dir="/mnt/results")]
    return [*made, node_claim(obj, "claim", Settings())]


def shape(value: Any) -> Any:
    """The object without its texts: keys, lists and types."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def expanded(text: str, variables: Callable[[str], str]) -> str:
    """What Kubernetes makes of a command, an argument or the value of an environment variable.

    Source: https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
    """
    return re.sub(
        r"\$\$|\$\(([^()]*)\)",
        lambda found: "$" if found[0] == "$$" else variables(found[1]),
        text,
        flags=re.DOTALL,
    )


SCRIPT = 2
"""Where a command has its shell line: after `sh -c`."""


@pytest.mark.parametrize(("name", "where"), FIELDS, ids=lambda value: str(value))
@given(text=TRICKY)
def test_a_value_stays_one_value_wherever_it_goes(name: str, where: Where, text: str) -> None:
    usual, tricky = built(WORKSPACES[name]), built(replaced(WORKSPACES[name], where, text))
    assert shape(tricky) == shape(usual)
    for plain, made in zip(usual, tricky, strict=True):
        before = dict(leaves(plain))
        for place, value in leaves(made):
            if value == before[place] or place[-1] == "kaitoctl.dev/tuned-from":  # a hash
                continue
            if "command" in place or "args" in place or ("env" in place and place[-1] == "value"):
                assert place[-1] != SCRIPT, "it became the text of a program"
                value = expanded(value, lambda name: f"the secret {name}")
            assert value in (text, f"/mnt/adapter/{text}", f"{text}.json"), f"{place}: {value!r}"


@pytest.mark.parametrize("choice", sorted(CHOICES - ANYTHING_ELSE_IS_NO), ids=str)
@given(text=TRICKY)
def test_a_choice_that_there_is_not_is_refused(choice: Where, text: str) -> None:
    for obj in WORKSPACES.values():
        if choice in {where for where, _ in leaves(obj)}:
            assert refusal_of(replaced(obj, choice, text), Settings())


# --- under a real shell ------------------------------------------------------------------------------------

HOSTILE = [
    "$(touch CANARY)",
    "`touch CANARY`",
    ";touch CANARY;",
    '";touch CANARY;"',
    "';touch CANARY;'",
    "\ntouch CANARY\n",
    "|touch CANARY",
    "&touch CANARY&",
    "x || touch CANARY",
    "${IFS}$(touch${IFS}CANARY)",
    "--output=CANARY",
    "-o CANARY",
    "$(CANARY)",
    "\\$(touch CANARY)",
    ">CANARY",
    "#'\"`",
    "*",
    "~",
]
FIXED = ("/mnt", "/data", "/busybox", "/workspace")
NOTE = """#!/bin/sh
for argument in "$0" "$@"; do printf '%s\\0' "$argument" >> NOTES; done
"""


def commands(obj: Object) -> Iterator[Object]:
    for made in built(obj):
        spec = made["spec"].get("template", {}).get("spec", {})
        yield from spec.get("initContainers", [])
        yield from spec.get("containers", [])


def prepared(folder: Path) -> dict[str, str]:
    """A place where each command finds what it looks for, and programs that note what they are given."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("curl", "crane", "python", "python3", "torchrun", "accelerate", "sleep"):
        (programs / name).write_text(NOTE.replace("NOTES", str(folder / "notes")))
        (programs / name).chmod(0o700)
    data, results = folder / "data", folder / "mnt" / "results"
    data.mkdir()
    results.mkdir(parents=True)
    (folder / "workspace" / "llama" / "llama-2").mkdir(parents=True)
    (data / "adapter_config.json").write_text("{}")
    for name in ("adapter_config.json", "adapter_model.safetensors", "fine_tuning_completed.txt"):
        (results / name).write_text("")
    return {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "HOSTNAME": "falcon-0"}


def run_as_a_container(container: Object, folder: Path, env: dict[str, str]) -> None:
    where = re.compile(rf"(?<![\w./$])({'|'.join(FIXED)})(?![\w])")
    command = [expanded(part, lambda name: f"$({name})") for part in container["command"]]
    command = [where.sub(lambda found: f"{folder}{found[1]}", part) for part in command]
    command[0] = "/bin/sh"
    given = {
        item["name"]: expanded(item["value"], lambda name: name)
        for item in container.get("env", [])
        if "=" not in item["name"]  # no name of a variable anywhere
    }
    subprocess.run(command, env={**given, **env}, cwd=folder, check=False, timeout=30, capture_output=True)


@pytest.mark.parametrize("name", WORKSPACES)
def test_no_text_of_a_users_is_run_by_a_shell(name: str, tmp_path: Path) -> None:
    """All of a Workspace's fields at once, each text in turn, each container's command under the real sh."""
    for number, hostile in enumerate(HOSTILE):
        folder = tmp_path / str(number)
        folder.mkdir()
        env = prepared(folder)
        obj, text = WORKSPACES[name], hostile.replace("CANARY", str(folder / "canary"))
        for field, where in FIELDS:
            if field == name:
                url = f"https://data.example/{text}" if "urls" in where else text
                obj = replaced(obj, where, url)
        for container in commands(obj):
            run_as_a_container(container, folder, env)
        assert not (folder / "canary").exists(), f"{hostile!r} was run"
        assert (folder / "notes").exists(), "nothing was run at all"
        if name == "tuning from URLs":
            notes = (folder / "notes").read_text().split("\0")
            assert f"https://data.example/{text}" in notes, "a URL is one argument"


def test_the_canary_sings_when_a_value_is_put_into_a_script(tmp_path: Path) -> None:
    """What the test above would see if an adapter's name were part of the line, as in KAITO v0.3.2."""
    env = prepared(tmp_path)
    line = f"mkdir -p /mnt/adapter/{HOSTILE[2].replace('CANARY', str(tmp_path / 'canary'))}"
    run_as_a_container({"command": ["/bin/sh", "-c", line]}, tmp_path, env)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", WORKSPACES)
@given(data=st.data())
def test_what_is_written_is_read_back_as_it_was(name: str, data: st.DataObject) -> None:
    """YAML has no way from a value to a key."""
    from kaitoctl.kube.documents import load_yaml
    from kaitoctl.kube.yaml_writer import to_yaml

    obj = WORKSPACES[name]
    for field, where in FIELDS:
        if field == name:
            obj = replaced(obj, where, data.draw(TRICKY))
    for made in built(obj):
        assert load_yaml(to_yaml(made), "x") == [json.loads(json.dumps(made))]
