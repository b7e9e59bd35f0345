"""docs/skill/reference.md: the fields of each command's JSON, read from real answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import Shell

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "skill" / "reference.md"
HEAD = """# JSON of the commands

Made from real answers by tests/cli/test_skill.py (`python3 dev.py docs`): `[]` are a list's items, `*` is any
key. What was null or empty in these answers has no type here; [docs/](../) says more of most.
"""
TYPES = {str: "text", bool: "true or false", int: "number", float: "number"}
OPEN = ("labels", "annotations", "labels_to_set", "matchLabels", "totals")
"""Maps with keys of the user's."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "-n", "{space}"),
    "status NAME": ("status", "{name}", "-n", "{space}"),
    "why NAME": ("why", "{name}", "-n", "{space}"),
    "why NAME, of one that fails": ("why", "broken", "-n", "{space}"),
    "list-adapters NAME": ("list-adapters", "broken", "-n", "{space}"),
    "check-nodes NAME": ("check-nodes", "{name}", "-n", "{space}"),
    "nodes": ("nodes",),
    "rollout history NAME": ("rollout", "history", "{name}", "-n", "{space}"),
    "doctor": ("doctor",),
    "plan -f FILE": ("plan", "-f", "{file}", "-n", "{space}"),
    "validate -f FILE": ("validate", "-f", "{bad}"),
    "fit PRESET": ("fit", "falcon-7b", "--cloud", "azure", "--all"),
    "models describe MODEL": ("models", "describe", "phi-4"),
    "version": ("version",),
}


def fields(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Path and type of everything below; no type where nothing tells."""
    if isinstance(value, dict):
        name = at.rpartition(".")[2]
        for key, item in value.items():
            yield from fields(item, f"{at}.{'*' if name in OPEN else key}".lstrip("."))
    elif isinstance(value, list):
        yield f"{at}[]", ""
        for item in value:
            yield from fields(item, f"{at}[]")
    else:
        yield at, TYPES.get(type(value), "")


def types(answer: Any) -> dict[str, str]:
    """The type of each field; what lies below a child of a tree is as below the tree."""
    found: dict[str, str] = {}
    for path, kind in fields(answer):
        once = re.sub(r"(\.children\[\])+", ".children[]", path)
        if not once.startswith("others[]."):  # causes; whether there are any is a matter of moments
            found[once] = kind or found.get(once, "")
    return found


def section(title: str, answer: Any) -> str:
    found = types(answer)
    below = {f"{path[: path.rindex('[].')]}[]" for path in found if "[]." in path}
    rows = [f"| `{path}` | {kind} |" for path, kind in found.items() if path not in below]
    return "\n".join([f"\n## kaitoctl {title} -o json\n", "| field | type |", "|---|---|", *rows, ""])


def documented(page: str, title: str) -> dict[str, str]:
    (text,) = (one for one in page.split("\n## ") if one.startswith(f"kaitoctl {title} -o json\n"))
    return dict(re.findall(r"^\| `(.+?)` \| (.*?) ?\|$", text, re.MULTILINE))


@pytest.fixture
def served(sandbox_shell: Shell, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Workspace that serves, one whose adapter does not exist, and manifests, one of them invalid."""
    space = "skilled"
    sandbox_shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    made = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "-n", space, "--yes")
    sandbox_shell.kaitoctl("create", "workspace", "falcon", *made, "--label", "apps=skilled-a")
    adapter = ("--adapter", "style=registry.example/does-not-exist:1,strength=0.5", "--timeout", "60s")
    sandbox_shell.kaitoctl(
        "create", "workspace", "broken", *made, "--label", "apps=skilled-b", *adapter, code=1
    )
    obj = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "new", "namespace": space},
        "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": {"apps": "new"}}},
        "inference": {"preset": {"name": "falcon-7b"}},
    }
    (tmp_path / "good.json").write_text(json.dumps(obj))
    (tmp_path / "bad.json").write_text(json.dumps({**obj, "inference": {"preset": {"name": "falcon7b"}}}))
    good, bad = str(tmp_path / "good.json"), str(tmp_path / "bad.json")
    yield {"space": space, "name": "falcon", "file": good, "bad": bad}
    sandbox_shell.end_namespace(space)


def test_the_reference_lists_the_fields_of_real_answers(
    sandbox_shell: Shell, served: dict[str, str], request: pytest.FixtureRequest
) -> None:
    answers = {}
    for title, words in COMMANDS.items():
        done = sandbox_shell.run("kaitoctl", *(word.format(**served) for word in words), "-o", "json")
        assert done.returncode in (0, 1, 2), done.stderr
        answers[title] = json.loads(done.stdout)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(HEAD + "".join(section(*one) for one in answers.items()))
    page = PAGE.read_text()
    for title, answer in answers.items():
        known = documented(page, title)
        for path, kind in types(answer).items():
            is_list = any(one.startswith(f"{path}.") for one in known)
            assert path in known or is_list, f"{title}: {path} is not in the page: python3 dev.py docs"
            assert not kind or not known[path] or kind == known[path], f"{title}: {path} is {kind}"
        gone = {re.split(r"[.\[]", path)[0] for path in known} - {*answer} if isinstance(answer, dict) else ()
        assert not gone, f"{title}: the page has {gone}, and the answer has not"


def test_an_answer_becomes_rows() -> None:
    made = section("x", {"a": [{"b": 1, "c": None}, {"b": 2, "c": "d"}], "labels": {"e/f": "g"}, "h": []})
    assert documented(f"\n{made}", "x")["a[].c"] == "text"
    rows = [row for row in made.splitlines() if row.startswith("| `")]
    assert rows == ["| `a[].b` | number |", "| `a[].c` | text |", "| `labels.*` | text |", "| `h[]` |  |"]
