"""Manifests are files, folders, URLs, stdin or a kustomization, wherever -f is taken."""

from __future__ import annotations

import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer
from shell import BIN, Shell

from kaitoctl.cli.app import app
from kaitoctl.commands import files, remote_file
from kaitoctl.commands.option_values import Manifests
from kaitoctl.errors import InputError

FALCON = """\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: NAME}
resource: {instanceType: Standard_NC12s_v3, labelSelector: {matchLabels: {apps: falcon}}}
inference: {preset: {name: falcon-7b}}
"""
OTHERS = ("add-adapter", "set-adapter", "remove-adapter", "check-nodes")
"""Commands that are about one file, which they may write."""


def falcon(name: str = "falcon") -> str:
    return FALCON.replace("NAME", name)


class _Web(BaseHTTPRequestHandler):
    """A web server on loopback."""

    pages: ClassVar[dict[str, bytes]] = {}
    moved: ClassVar[dict[str, str]] = {}
    failures: ClassVar[dict[str, int]] = {}
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        if self.failures.get(self.path):
            self.failures[self.path] -= 1
            self.send_error(503)
        elif to := self.moved.get(self.path):
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()
        elif (page := self.pages.get(self.path)) is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a web server that has a manifest."""
    _Web.pages = {"/falcon.yaml": falcon().encode()}
    _Web.moved, _Web.failures, _Web.asked = {}, {}, []
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# --- every command -----------------------------------------------------------------------------------------


def leaves(command: Any, context: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands, by name."""
    if not hasattr(command, "list_commands"):
        yield " ".join(path), command
        return
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), context, (*path, name))


def test_every_command_that_takes_manifests_takes_them_in_every_way() -> None:
    root: Any = typer.main.get_command(app)
    found = []
    for name, command in leaves(root, root.make_context("kaitoctl", [], resilient_parsing=True)):
        options = {flag for param in command.params for flag in param.opts}
        if "--filename" in options and name not in OTHERS:
            found.append(name)
            assert {"-f", "-R", "--recursive", "-k", "--kustomize"} <= options, name
    assert {"validate", "plan", "apply", "delete", "diff", "render", "convert", "upgrade plan"} < {*found}
    assert "mirror list" in found


@pytest.mark.parametrize(
    "command",
    [
        ["validate", "-o", "json"],
        ["render", "-o", "json"],
        ["convert", "--to", "v1beta1", "-o", "json"],
        ["mirror", "list", "-o", "json"],
        ["upgrade", "plan", "--to", "v0.12", "--from", "v0.3", "-o", "json"],
    ],
    ids=lambda command: command[0],
)
def test_a_url_and_a_kustomization_are_manifests_offline(
    offline: Shell, web: str, command: list[str]
) -> None:
    (offline.home / "falcon.yaml").write_text(falcon())
    (offline.home / "kustomization.yaml").write_text("namePrefix: blue-\nresources: [falcon.yaml]\n")
    fetched = offline.run(str(BIN / "kaitoctl"), *command, "-f", f"{web}/falcon.yaml")
    built = offline.run(str(BIN / "kaitoctl"), *command, "-k", ".")
    assert fetched.returncode in (0, 1) and json.loads(fetched.stdout), fetched.stderr
    assert "blue-falcon" in built.stdout and "blue-" not in fetched.stdout, built.stderr


@pytest.mark.parametrize("command", ["render", "mirror list", "convert --to v1beta1", "validate"])
def test_files_may_be_arguments_offline(offline: Shell, command: str) -> None:
    (offline.home / "falcon.yaml").write_text(falcon())
    offline.kaitoctl(*command.split(), "falcon.yaml")
    refused = offline.kaitoctl(*command.split(), "missing.yaml", code=2).stderr
    assert refused == "error: missing.yaml: No such file or directory\n"
    typed = offline.kaitoctl(*command.split(), "-f", "missing.yaml", code=2).stderr
    assert typed == "error: -f missing.yaml: No such file or directory\n"


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"], ["diff"], ["delete", "--yes"]])
def test_files_are_read_before_a_cluster_is_asked(offline: Shell, command: list[str]) -> None:
    (offline.home / "falcon.yaml").write_bytes(b"\x7fELF\x00\xff\xfe")
    done = offline.kaitoctl(*command, "-f", "falcon.yaml", "--kubeconfig", "missing", code=2)
    assert "falcon.yaml" in done.stderr and "UTF-8" in done.stderr
    assert "missing" not in done.stderr


def test_a_cluster_is_sent_what_a_url_and_a_kustomization_say(sandbox_shell: Shell, web: str) -> None:
    folder = sandbox_shell.home / "models"
    (folder / "old").mkdir(parents=True)
    (folder / "falcon.yaml").write_text(falcon())
    (folder / "old" / "other.yaml").write_text(falcon("other"))
    (folder / "kustomization.yaml").write_text("namePrefix: blue-\nresources: [falcon.yaml]\n")
    planned = sandbox_shell.kaitoctl("plan", "-f", f"{web}/falcon.yaml", "-o", "json", code=1)
    assert [one["name"] for one in json.loads(planned.stdout)["changes"]] == ["falcon"]
    sandbox_shell.kaitoctl("apply", "-k", "models", "--yes", "--no-wait")
    (folder / "kustomization.yaml").unlink()
    there = sandbox_shell.kaitoctl("delete", "-f", "models", "--dry-run", "client", "--ignore-not-found")
    assert "other.yaml" not in there.stdout and "-R reads them, too" in there.stderr
    found = json.loads(sandbox_shell.kubectl("get", "workspaces", "-o", "json"))["items"]
    assert [one["metadata"]["name"] for one in found] == ["blue-falcon"]
    sandbox_shell.kaitoctl("delete", "blue-falcon", "--yes")


# --- folders -----------------------------------------------------------------------------------------------


def paths(given: Manifests) -> list[str]:
    return [Path(source.path).name for source in files.sources(given)]


def test_a_folder_that_is_a_kustomization_is_built_by_another_option(offline: Shell, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\nresources: [a.yaml]\n")
    (tmp_path / "a.yaml").write_text("kind: ConfigMap\nmetadata: {name: a}\n")
    done = offline.kaitoctl("validate", "-f", str(tmp_path), code=2)
    assert "the folder is a kustomization, and its files are read as they are: -k builds it" in done.stderr


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_the_folder_that_is_a_kustomization_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / name).write_text("{}")
    for file in (tmp_path / "b.yaml", tmp_path / "base" / "a.yaml"):
        file.write_text("{}")
    assert "b.yaml" in paths(Manifests(filename=[str(tmp_path)], recursive=True))
    told = "".join(capsys.readouterr().err.split())
    assert f"{tmp_path}/baseisakustomization" in told.replace("warning:", "")
    assert paths(Manifests(filename=[str(tmp_path)])) == ["b.yaml"]
    assert "kustomization" not in capsys.readouterr().err


def test_folders_below_a_folder_are_read_when_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.yaml", "a.yml", "below/c.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    given = [str(tmp_path)]
    assert paths(Manifests(filename=given, recursive=True)) == ["a.yml", "b.yaml", "c.json"]
    assert capsys.readouterr().err == ""
    assert paths(Manifests(filename=given)) == ["a.yml", "b.yaml"]
    assert "1 manifest in the folders below it left out; -R reads them, too" in capsys.readouterr().err
    (tmp_path / "a.yml").unlink()
    (tmp_path / "b.yaml").unlink()
    with pytest.raises(InputError, match="-R reads them"):
        paths(Manifests(filename=given))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Manifests(), "no manifest is named"),
        (Manifests(filename=["-"], files=["-"]), "only once"),
        (Manifests(filename=["a.yaml"], kustomize="."), "name either"),
        (Manifests(filename=[" "]), "names no file"),
        (Manifests(kustomize=""), "names no file"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Manifests, why: str) -> None:
    with pytest.raises(InputError, match=why):
        list(files.sources(given))


def test_other_commands_are_pointed_at_the_same(tmp_path: Path) -> None:
    assert Manifests(files=["a.yaml"], filename=["b.yaml", "a.yaml"], recursive=True).words == (
        "-f", "a.yaml", "-f", "b.yaml",
    )  # fmt: skip
    assert Manifests(filename=[str(tmp_path)], recursive=True).words == ("-f", str(tmp_path), "-R")
    assert Manifests(kustomize="overlay").words == ("-k", "overlay")


# --- the Web -----------------------------------------------------------------------------------------------


def test_a_server_in_trouble_is_asked_again(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "_PAUSE_S", 0.0)
    _Web.failures["/falcon.yaml"] = 2
    assert files.Source("-f", f"{web}/falcon.yaml").text() == falcon()
    _Web.failures["/falcon.yaml"] = 3
    with pytest.raises(InputError, match="the server answers 503"):
        files.Source("-f", f"{web}/falcon.yaml").raw()


def test_what_is_not_there_is_said_at_once(web: str) -> None:
    with pytest.raises(InputError, match=f"^-f {web}/none.yaml: the server answers 404"):
        files.Source("-f", f"{web}/none.yaml").raw()
    assert len(_Web.asked) == 1


def test_a_password_goes_to_its_own_host_alone_and_into_no_message(web: str) -> None:
    elsewhere = web.replace("127.0.0.1", "localhost")
    _Web.moved["/moved.yaml"] = f"{elsewhere}/falcon.yaml"
    with_password = web.replace("http://", "http://anna:secret@")
    assert files.Source("-f", f"{with_password}/moved.yaml").text() == falcon()
    assert [bool(login) for _, login in _Web.asked] == [True, False]
    source = files.Source("-f", f"{with_password}/none.yaml")
    with pytest.raises(InputError) as refused:
        source.raw()
    assert "secret" not in refused.value.message + source.name + source.where
    assert "anna:xxxxx@" in refused.value.message


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_server_leads_to_no_other_kind_of_url(web: str, to: str) -> None:
    _Web.moved["/moved.yaml"] = to
    with pytest.raises(InputError, match=r"it leads from http to|is not allowed"):
        files.Source("-f", f"{web}/moved.yaml").raw()


def test_what_is_encrypted_stays_so() -> None:
    asked = urllib.request.Request("https://models.example/falcon.yaml")
    follow = partial(remote_file._Redirects().redirect_request, asked, io.BytesIO(), 302, "Found", {})
    with pytest.raises(urllib.error.URLError, match="from https to http"):
        follow("http://models.example/falcon.yaml")
    assert follow("https://elsewhere.example/falcon.yaml") is not None


def test_an_answer_without_end_is_read_no_further_than_a_file(
    web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    assert len(files.Source("-f", f"{web}/falcon.yaml").raw()) == 11
    with pytest.raises(InputError, match="larger than 10 bytes"):
        files.Source("-f", f"{web}/falcon.yaml").text()


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="Connection refused"):
        files.Source("-f", "http://127.0.0.1:1/x.yaml").raw()


def test_what_is_no_file_is_not_changed_in_place(offline: Shell, web: str) -> None:
    done = offline.kaitoctl("convert", "-f", f"{web}/falcon.yaml", "--to", "v1beta1", "--in-place", code=2)
    assert "--in-place changes files" in done.stderr


# --- kustomize ---------------------------------------------------------------------------------------------


def test_kustomize_says_what_is_wrong_in_its_own_words(offline: Shell) -> None:
    done = offline.kaitoctl("render", "-k", ".", code=2)
    assert done.stderr.startswith(
        "error: -k .: kubectl kustomize: unable to find one of 'kustomization.yaml'"
    )


def test_without_kubectl_and_kustomize_that_is_said(offline: Shell) -> None:
    done = offline.kaitoctl("render", "-k", ".", code=2, PATH=str(offline.home))
    assert "needs kubectl, or kustomize, and neither is on the PATH" in done.stderr


def test_kustomize_alone_is_enough(offline: Shell) -> None:
    program = offline.home / "kustomize"
    program.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "build -- here" ] && cat "{offline.home}/falcon.yaml"\n')
    program.chmod(0o755)
    (offline.home / "falcon.yaml").write_text(falcon())
    path = f"{offline.home}:/bin" if not Path("/bin/kubectl").exists() else str(offline.home)
    program.write_text(program.read_text().replace("cat", "/bin/cat"))
    assert offline.kaitoctl("validate", "-k", "here", PATH=path).returncode == 0
