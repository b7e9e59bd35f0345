"""Every command in README and docs runs: the blocks marked `test:`.

`offline` is without any cluster, `sandbox` starts one, `cluster` has one that the kubeconfig names. What
cannot run in a test is in `NOT_RUN` with the reason, and its kaitoctl commands must at least exist.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from shell import BIN, Shell

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"(?:<!-- test: (?P<where>\w+) -->\n)?```console\n(?P<text>.*?)```", re.DOTALL)

NOT_RUN = {
    'docs/status.md: kaitoctl chat falcon "What is Kubernetes?"': "no model runs in a sandbox",
    "README.md: python3 dev.py demo": "makes a virtual environment and installs into it; CI runs it",
    "README.md: python3 dev.py test": "it is this test, and all others",
    "README.md: python3 -m venv .venv && .venv/bin/pip install .": "installs from the network",
    "CONTRIBUTING.md: python3 dev.py demo": "as in README",
    "README.md: kubectl apply --server-side -f schemas/kaito.sh_workspaces.yaml": "the controller never ends",
    "docs/development.md: python3 dev.py controlplane": "builds for minutes; CI's tests begin with it",
    "docs/development.md: .venv/bin/python -m pytest -m control_plane": "it is many of these tests",
    "docs/development.md: PYTHONPATH=.:tests .venv/bin/python -m controlplane.plane": "it never ends",
    "docs/admission.md: kubectl apply -f workspace.yaml": "tests/controlplane shows the like",
    "docs/development.md: python3 dev.py release 0.2.0 --downloads https://dl.example/kaitoctl": "it tags",
    "docs/run-controller.md: kaitoctl run-controller --sandbox --dry-run": "the controller never ends",
    "docs/run-controller.md: kubectl scale deployment KAITO -n kaito-workspace --replicas=0": "wants KAITO",
    "docs/run-controller.md: kubectl apply --server-side -f schemas/kaito.sh_workspaces.yaml": "wants helm; "
    "tests/controlplane/test_chart.py",
    "docs/run-controller.md: docker build -f deploy/Dockerfile -t registry.example/kaitoctl:0.1.0 . "
    "&& docker push registry.example/kaitoctl:0.1.0": "needs docker and a registry",
    "docs/sandbox.md: pip install 'kaitoctl[runtime]'": "installs, downloads a model, and talks to it",
    "docs/sandbox.md: kaitoctl chat w --compare pirate=0,0.5,0.8,1 "
    '"What is the capital of Germany?" --sandbox': "tests/runtime/test_compare.py, on a tiny model",
    "docs/runtime.md: curl http://127.0.0.1:5000/v1/chat/completions "
    """-d '{"messages": [{"role": "user", "content": "Who are you?"}]}'""": "tests/runtime/test_clients.py",
    "docs/runtime.md: pip install 'kaitoctl[runtime]'": "installs from the network; the server never ends",
    "docs/runtime.md: kaitoctl adapter check examples/pirate": "tests/cli/test_every_screen.py",
}
"""The blocks that no test runs, by page and first command, and why."""


@dataclass(frozen=True)
class Block:
    """One console block: commands and the lines that follow each."""

    page: str
    number: int
    where: str
    text: str

    @property
    def commands(self) -> list[tuple[str, str]]:
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [(line, "\n".join(rest)) for line, *rest in (part.rstrip("\n").split("\n") for part in parts)]

    @property
    def first(self) -> str:
        """What the block is called in `NOT_RUN`: its page and its first command."""
        return f"{self.page}: {self.commands[0][0] if self.commands else ''}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for number, found in enumerate(_BLOCK.finditer(page.read_text())):
            yield Block(str(page.relative_to(ROOT)), number, found["where"] or "", found["text"])


BLOCKS = list(blocks())


@pytest.mark.parametrize("where", ["offline", "sandbox"])
def test_the_commands_of_the_docs_run(tmp_path: Path, where: str) -> None:
    """In the order of the pages, in one home, as a reader would."""
    shell = Shell(tmp_path, "default")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    try:
        run(shell, where)
    finally:
        shell.run(str(BIN / "kaitoctl"), "sandbox", "down", "--delete")


@pytest.fixture(params=["sandbox", pytest.param("control-plane", marks=pytest.mark.control_plane)])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    """Whose kubeconfig leads to a cluster that manages Workspaces."""
    with ExitStack() as stack:
        if request.param == "control-plane":
            from controlplane.controller import ACCOUNT, NAMESPACE, deployed_controller

            plane = request.getfixturevalue("control_plane")
            stack.enter_context(deployed_controller(plane, tmp_path))
            shell = Shell(tmp_path, "..", {"KUBECONFIG": str(plane.kubeconfig)})
            # The process does the work; for `doctor` its Deployment has pods, too.
            shell.add_node("reader-system", "Standard_NC6s_v3")
            stack.callback(shell.kubectl, "delete", "node", "reader-system")
            pods = ("deployment", ACCOUNT, "-n", NAMESPACE)
            shell.kubectl("scale", *pods, "--replicas=2")
            stack.callback(shell.kubectl, "scale", *pods, "--replicas=0")
            shell.kubectl("rollout", "status", *pods, "--timeout=60s")
        else:
            shell = Shell(tmp_path, "default")
            stack.callback(shell.run, str(BIN / "kaitoctl"), "sandbox", "down", "--delete")
            shell.kaitoctl("sandbox", "up", "--speed", "200")
        # The namespace of the reader's context: on the real one, others have been in `default`.
        for name in ("reader", "models"):
            shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        config = yaml.safe_load(Path(shell.kubeconfig).read_text())
        config["contexts"][0]["context"]["namespace"] = "reader"
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        yield replace(shell, cluster={"KUBECONFIG": str(file)})
        for name in ("reader", "models"):
            shell.end_namespace(name)


def test_the_commands_of_the_docs_run_on_a_cluster_of_the_kubeconfig(reader: Shell) -> None:
    """The cluster and the files of a reader who has served falcon-7b already."""

    def written(name: str, label: str, file: str) -> str:
        options = f"--preset falcon-7b --instance-type Standard_NC12s_v3 --label apps={label}"
        made = reader.kaitoctl(
            "create", "workspace", name, *options.split(), "--dry-run=client", "-o", "yaml"
        )
        (reader.home / file).write_text(made.stdout)
        return str(reader.home / file)

    reader.add_node("gpu-a", "Standard_NC12s_v3", apps="falcon-7b", agentpool="gpu")
    served = written("workspace-falcon-7b", "served", "served.yaml")
    try:
        reader.kubectl("apply", "--server-side", "-n", "models", "-f", served)
        reader.kubectl("apply", "--server-side", "-f", written("falcon", "falcon", "falcon.yaml"))
        reader.kaitoctl("rollout", "status", "falcon", "--timeout", "60s")
        written("workspace-falcon-7b", "falcon-7b", "workspace.yaml")
        for kind in ("nodes", "pods"):
            (reader.home / f"{kind}.json").write_text(reader.kubectl("get", kind, "-A", "-o", "json"))
        # KWOK's containers write no logs and answer nobody.
        run(reader, "cluster", but=("logs", "chat") if reader.sandbox == ".." else ())
    finally:
        reader.delete_node("gpu-a")


def run(shell: Shell, where: str, but: tuple[str, ...] = ()) -> None:
    """All blocks of one kind, each command of kaitoctl's but those, as a reader would type it."""
    for block in BLOCKS:
        for command, expected in block.commands if block.where == where else []:
            if command.startswith(tuple(f"kaitoctl {name} " for name in but)):
                continue
            done = shell.run("/bin/sh", "-c", f"set -e; {command}")
            assert done.returncode == 0, f"{block.page}: $ {command}\n{done.stdout}{done.stderr}"
            if expected:
                said = done.stdout.replace(f"{shell.home}/state", "/home/me/.local/state/kaitoctl")
                assert said.strip() == expected.strip(), f"{block.page}: $ {command}"


GROUPS_OF_GROUPS = {("sandbox", "model"), ("sandbox", "image"), ("sandbox", "node"), ("runtime", "models")}


def test_every_block_is_run_or_has_a_reason_not_to() -> None:
    assert {block.where for block in BLOCKS} <= {"", "offline", "sandbox", "cluster"}
    assert {block.first for block in BLOCKS if not block.where} == set(NOT_RUN)


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.where], ids=lambda b: f"{b.page}-{b.number}")
def test_the_other_commands_of_the_docs_exist(block: Block, tmp_path: Path) -> None:
    for command, _ in block.commands:
        words = shlex.split(command)
        if words[0] == "kaitoctl":
            plain = [word for word in words[1:] if not word.startswith("-")]
            options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
            depth = 3 if tuple(plain[:2]) in GROUPS_OF_GROUPS else 2
            done = Shell(tmp_path, "none").run(str(BIN / "kaitoctl"), *plain[:depth], "--help")
            assert done.returncode == 0, command
            assert all(option in done.stdout for option in options), command
        elif words[0].startswith("python3") and words[1] == "dev.py":
            assert f"def {words[2]}(" in (ROOT / "dev.py").read_text()
