"""Completion of live names in three shells, and kaitoctl as a plugin of kubectl."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
import yaml
from shell import BIN, Shell

from kaitoctl.cli import global_options


@pytest.fixture(scope="module")
def shell(sandbox_shell: Shell) -> Shell:
    """Completion is the same everywhere; one cluster will do."""
    return sandbox_shell


@pytest.fixture(scope="module")
def living(shell: Shell) -> str:
    """A namespace with two Workspaces."""
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "living"}})
    for name in ("falcon", "phi"):
        shell.apply(
            {
                "apiVersion": "kaito.sh/v1alpha1",
                "kind": "Workspace",
                "metadata": {"name": name, "namespace": "living"},
                "resource": {"labelSelector": {"matchLabels": {"sandbox.kaitoctl.dev/fault": "quota"}}},
                "inference": {"preset": {"name": "falcon-7b"}},
            }
        )
    return "living"


def asked(line: str) -> dict[str, str]:
    """What a shell puts into the environment."""
    words = str(len(line.split(" ")) - 1)
    return {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": words}


def completed(shell: Shell, line: str, **env: str) -> list[str]:
    done = shell.run(str(BIN / "kaitoctl"), **asked(line), **env)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


_PATIENT = "import kaitoctl.cli.complete as it\nit._BUDGET_S, it._KEPT_S = 60, 600\n"


def in_time(shell: Shell, line: str, **env: str) -> list[str]:
    """What is completed when the machine is not too busy for it: it has as long as it needs."""
    variables = {**shell.env, **asked(line), **env}
    done = forked.run([str(BIN / "kaitoctl")], variables, shell.home, 120, before=_PATIENT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize("command", ["why", "status", "logs", "events", "endpoint", "chat", "check-nodes"])
def test_workspaces_of_the_namespace_that_the_line_names(shell: Shell, living: str, command: str) -> None:
    assert in_time(shell, f"kaitoctl {command} -n {living} ") == ["falcon", "phi"]
    assert in_time(shell, f"kaitoctl {command} -n {living} p") == ["phi"]


def test_nodes_namespaces_and_what_the_catalog_has(shell: Shell, living: str) -> None:
    shell.run("kaitoctl", "sandbox", "node", "add", "node-to-complete", "--instance-type", "Standard_NC6s_v3")
    line = "kaitoctl create workspace w --preferred-node node-to"
    assert in_time(shell, line) == ["node-to-complete"]
    assert in_time(shell, "kaitoctl status -n liv") == [living]
    assert completed(shell, "kaitoctl create workspace w --preset falcon-7b-") == ["falcon-7b-instruct"]
    assert completed(shell, "kaitoctl explain image-un") == ["image-unauthorized"]
    assert "Standard_NC12s_v3" in completed(shell, "kaitoctl check-nodes --instance-type Standard_NC12")


@pytest.mark.parametrize(
    ("shell_name", "line", "found"),
    [
        ("zsh", "kaitoctl explain image-un", '"image-unauthorized"'),
        ("fish", "kaitoctl explain image-un", "image-unauthorized"),
    ],
)
def test_zsh_and_fish(offline: Shell, shell_name: str, line: str, found: str) -> None:
    variables = {
        "_KAITOCTL_COMPLETE": f"complete_{shell_name}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": line.split()[-1],
    }
    assert found in offline.run(str(BIN / "kaitoctl"), **variables).stdout


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """A kubeconfig for a server that takes connections and never says a word."""
    listening = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                taken.append(listening.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=take)
    thread.start()
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{listening.getsockname()[1]}"}}],
        "users": [{"name": "u", "user": {}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    yield str(file)
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for connection in taken:
        connection.close()
    thread.join()


def test_a_cluster_that_says_nothing_is_not_waited_for(offline: Shell, silent: str) -> None:
    """The door itself would wait for a minute."""
    words = {"_KAITOCTL_COMPLETE": "complete_bash", "COMP_WORDS": "kaitoctl why ", "COMP_CWORD": "2"}
    env = {**offline.env, "KUBECONFIG": silent, **words}
    done = subprocess.run(
        [str(BIN / "kaitoctl")], env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_names_are_of_the_namespace_of_the_users_own_defaults(shell: Shell, living: str) -> None:
    file = shell.home / "defaults.yaml"
    file.write_text(f"defaults: {{namespace: {living}}}")
    assert in_time(shell, "kaitoctl why ", KAITOCTL_CONFIG=str(file)) == ["falcon", "phi"]
    file.write_text("defaults: {no-such-option: 1}")
    assert in_time(shell, f"kaitoctl why -n {living} ", KAITOCTL_CONFIG=str(file)) == ["falcon", "phi"]


OTHERS = [
    "-n other", "--context other", "--kubeconfig other", "--sandbox", "--server http://127.0.0.1:9",
    *("--token x", "--as other", "--as-group other", "--as-uid other", "--user other", "--cluster other"),
    *("--client-certificate other", "--client-key other", "--certificate-authority other"),
    *("--tls-server-name other", "--insecure-skip-tls-verify"),
]  # fmt: skip


def test_names_that_are_kept_answer_for_the_same_cluster_and_person_alone(
    shell: Shell, living: str, tmp_path: Path
) -> None:
    """By all options of the connection, before the verb and after it."""
    of_connection = {name for names, *_ in global_options._CONNECTION for name in names if name != "-s"}
    assert of_connection <= {other.split()[0] for other in OTHERS}
    config = yaml.safe_load(Path(shell.kubeconfig).read_text())
    config["contexts"][0]["context"]["namespace"] = living
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    env = {"KUBECONFIG": str(file), "KAITOCTL_SANDBOX": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert in_time(shell, "kaitoctl why ", **env) == ["falcon", "phi"]
    (kept,) = (tmp_path / "cache").rglob("names-*.json")
    text = kept.read_text().replace("falcon", "kept")
    for line in (
        "kaitoctl why ",
        *(f"kaitoctl why {other} " for other in OTHERS),
        "kaitoctl --as other why ",
    ):
        kept.write_text(text)
        assert ("kept" in in_time(shell, line, **env)) == (line == "kaitoctl why "), line


def test_no_cluster_and_no_sandbox_complete_to_nothing_and_start_nothing(offline: Shell) -> None:
    assert completed(offline, "kaitoctl why ") == []
    assert completed(offline, "kaitoctl why --sandbox ") == []
    assert not (offline.home / "state").exists()


def test_kubectl_runs_and_completes_it_as_a_plugin(shell: Shell, living: str) -> None:
    listed = shell.run(str(BIN / "kubectl"), "kaitoctl", "status", "-n", living, "-o", "name")
    assert listed.stdout.split() == ["workspace.kaito.sh/falcon", "workspace.kaito.sh/phi"]
    wrong = shell.run(str(BIN / "kubectl"), "kaitoctl", "status", "--nonsense")
    assert wrong.returncode == 2
    assert "kubectl kaitoctl status" in wrong.stderr
    offered = shell.run(str(BIN / "kubectl"), "__complete", "kaitoctl", "explain", "image-un")
    assert offered.stdout.split()[0] == "image-unauthorized"
