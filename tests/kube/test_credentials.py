"""Credentials that another program gives, or nobody any more; and files that tell too many."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_server import always, serving
from shell import Shell

from kaitoctl.advice import text
from kaitoctl.errors import InputError, KaitoctlError
from kaitoctl.kube import kubeconfig
from kaitoctl.kube.client import connect

CANARY = "s3cret-canary"


def config(user: Any) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
    }


def written(folder: Path, user: Any, mode: int = 0o600) -> Path:
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config(user)))
    file.chmod(mode)
    return file


def plugin(folder: Path, script: str) -> dict[str, Any]:
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "IfAvailable"}}


def credential(**status: str) -> str:
    version = "client.authentication.k8s.io/v1"
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})


async def _authorization(file: Path) -> str:
    async with connect(kubeconfig=file) as client:
        return await client._transport.authorize()


def authorization(file: Path) -> str:
    return asyncio.run(_authorization(file))


def test_a_plugin_gives_a_token_and_is_started_without_a_shell(tmp_path: Path) -> None:
    user = plugin(tmp_path, f"""printf '%s' "$1" > {tmp_path}/argument; echo '{credential(token=CANARY)}'""")
    user["exec"]["args"] = [f"; touch {tmp_path}/pwned; $(touch {tmp_path}/pwned)"]
    assert authorization(written(tmp_path, user)) == f"Bearer {CANARY}"
    assert (tmp_path / "argument").read_text() == user["exec"]["args"][0]
    assert not (tmp_path / "pwned").exists()


TWO_LINES = credential(token=f"{CANARY}\nEvil: 1").replace("\\n", "\\\\n")  # for sh's echo
T = credential(token="t")
FAILING = {
    "fails": "echo no >&2; exit 3",
    "says nothing": "exit 0",
    "says garbage": f"echo '<html>{CANARY}'",
    "says another thing": f"""echo '{{"status": {{"token": "{CANARY}"}}}}'""",
    "says a list": "echo '[]'",
    "says half a certificate": f"echo '{credential(clientCertificateData=CANARY)}'",
    "says two lines": f"echo '{TWO_LINES}'",
    "says no time": f"""echo '{credential(token=CANARY, expirationTimestamp="soon")}'""",
    "says no token": f"echo '{credential()}'",
    "is killed": "kill -9 $$",
    "speaks another version": f"""echo '{credential(token=CANARY).replace("/v1", "/v9")}'""",
}


@pytest.mark.parametrize("how", FAILING)
def test_a_plugin_that_gives_nothing_is_named_and_nothing_is_sent(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path, plugin(tmp_path, FAILING[how]))
    with pytest.raises(InputError, match="gave no credentials") as caught:
        authorization(file)
    assert f"{tmp_path}/plugin" in f"{caught.value} {text(caught.value.hint)}"
    assert CANARY not in f"{caught.value} {caplog.text}"


def test_a_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    user = plugin(tmp_path, "")
    user["exec"]["command"] = "kubectl-no-such-plugin"
    with pytest.raises(InputError, match="kubectl-no-such-plugin"):
        authorization(written(tmp_path, user))


def test_a_plugin_that_never_ends_is_given_up_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaitoctl.kube.exec_plugin.TIMEOUT_S", 0.5)
    user = plugin(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    with pytest.raises(InputError, match="said nothing for"):
        authorization(written(tmp_path, user))
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_a_plugin_has_started_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaitoctl.kube.exec_plugin.TIMEOUT_S", 0.5)
    # Most are scripts around another program, which holds their stdout.
    user = plugin(tmp_path, f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    try:
        with pytest.raises(InputError, match="said nothing for"):
            authorization(written(tmp_path, user))
        os.kill(int((tmp_path / "pid").read_text()), 0)  # it is still there, and we are here
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "words"),
    [("kill -TERM $$", "ended by SIGTERM"), ("head -c 3000000 /dev/zero", "wrote more than 1024 KiB")],
)
def test_how_a_plugin_failed_is_said(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        authorization(written(tmp_path, plugin(tmp_path, script)))


def test_a_plugin_that_asks_does_not_read_what_was_meant_for_us(tmp_path: Path) -> None:
    """Whoever pipes a manifest in must not find it half eaten."""
    shell = Shell(tmp_path)
    user = plugin(tmp_path, f"cat > {tmp_path}/eaten; echo '{credential(token=CANARY)}'")
    with serving(always(404, {"kind": "Status", "reason": "NotFound", "message": "no"}), tmp_path) as ready:
        made = yaml.safe_load(Path(ready).read_text())
        made["users"][0]["user"] = user
        Path(ready).write_text(yaml.safe_dump(made))
        command = f"echo canary-of-stdin | kaitoctl status x --kubeconfig {ready}"
        done = shell.run("/bin/sh", "-c", command)
    assert "no" in done.stderr
    assert (tmp_path / "eaten").read_text() == ""


def test_what_a_plugin_says_to_the_user_is_seen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    user = plugin(tmp_path, f"echo 'log in at https://id.example' >&2; echo '{T}'")
    authorization(written(tmp_path, user))
    assert capfd.readouterr().err == "log in at https://id.example\n"


def test_a_plugin_that_must_ask_somebody_is_not_started_without_a_terminal(tmp_path: Path) -> None:
    user = plugin(tmp_path, f"touch {tmp_path}/started")
    user["exec"]["interactiveMode"] = "Always"
    with pytest.raises(InputError, match="there is no terminal"):
        authorization(written(tmp_path, user))
    assert not (tmp_path / "started").exists()


def test_where_a_plugin_comes_from_is_told_when_it_is_missing(tmp_path: Path) -> None:
    user = plugin(tmp_path, "")
    user["exec"] |= {"command": "./missing", "installHint": "get it at https://plugins.example"}
    with pytest.raises(InputError, match="No such file") as caught:
        authorization(written(tmp_path, user))
    assert text(caught.value.hint) == "get it at https://plugins.example"


@pytest.mark.parametrize("version", ["client.authentication.k8s.io/v1alpha1", "v1"])
def test_a_plugin_of_a_version_that_nobody_speaks_is_named_with_it(tmp_path: Path, version: str) -> None:
    user = plugin(tmp_path, f"touch {tmp_path}/started")
    user["exec"]["apiVersion"] = version
    with pytest.raises(InputError, match=f"apiVersion is {version}, and kubectl takes") as caught:
        authorization(written(tmp_path, user))
    assert "let your cloud's tool write the kubeconfig again" in text(caught.value.hint)
    assert not (tmp_path / "started").exists()


def test_a_plugin_beside_its_kubeconfig_learns_its_environment_and_its_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_US", "1")
    told = f"""printf '%s' "$FROM_US $OWN" > {tmp_path}/env
    printf '%s' "$KUBERNETES_EXEC_INFO" > {tmp_path}/info"""
    user = plugin(tmp_path, f"{told}; echo '{T}'")
    more = {"command": "./plugin", "env": [{"name": "OWN", "value": "2"}], "provideClusterInfo": True}
    user["exec"] |= more
    authorization(written(tmp_path, user))
    assert (tmp_path / "env").read_text() == "1 2"
    assert json.loads((tmp_path / "info").read_text())["spec"] == {
        "interactive": False,
        "cluster": {"server": "https://127.0.0.1:1"},
    }


def test_a_token_that_expires_is_asked_for_again_and_no_other(tmp_path: Path) -> None:
    counting = f"echo x >> {tmp_path}/runs"

    async def asked_thrice(expires: str) -> int:
        (tmp_path / "runs").write_text("")
        given = credential(token="t", **({"expirationTimestamp": expires} if expires else {}))
        async with connect(
            kubeconfig=written(tmp_path, plugin(tmp_path, f"{counting}; echo '{given}'"))
        ) as client:
            for _ in range(3):
                assert await client._transport.authorize() == "Bearer t"
        return len((tmp_path / "runs").read_text().split())

    assert asyncio.run(asked_thrice("")) == 1
    assert asyncio.run(asked_thrice("2999-01-01T00:00:00Z")) == 1
    assert asyncio.run(asked_thrice("2001-01-01T00:00:00Z")) == 4


@pytest.mark.parametrize("name", ["gcp", "azure", "", None])
def test_an_auth_provider_that_kubectl_has_dropped_is_refused_with_a_way_out(
    tmp_path: Path, name: str | None
) -> None:
    provider = {"name": name, "config": {"access-token": CANARY}}
    with pytest.raises(InputError, match="no longer in use") as caught:
        kubeconfig.from_files([str(written(tmp_path, {"auth-provider": provider}))])
    assert "exec" in caught.value.hint
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604, 0o644])
@pytest.mark.parametrize("what", ["token", "password", "client-key-data"])
def test_a_file_with_secrets_that_others_may_read_is_warned_of(
    tmp_path: Path, mode: int, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    more = {"username": "me"} if what == "password" else {"tokenFile": "t"} if what != "token" else {}
    file = written(tmp_path, {what: "czNjcmV0", **more}, mode)
    kubeconfig.from_files([str(file)])
    assert [str(file) in line for line in caplog.messages] == ([True] if mode & 0o044 else [])


def test_a_file_without_secrets_may_be_read_by_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kubeconfig.from_files([str(written(tmp_path, {"tokenFile": "t", "client-key": "k"}, 0o644))])
    assert caplog.messages == []


@pytest.mark.parametrize("is_fast", [True, False], ids=["libyaml", "Python"])
@pytest.mark.parametrize(
    "text",
    [
        f"users: [{{token: {CANARY}}}\n",
        f'token: "{CANARY}\n',
        f"a: {CANARY}: b\n",
        f"{CANARY}: &{CANARY} *x",
        f"\t{CANARY}",
    ],
)
def test_a_broken_file_is_told_by_its_place_and_not_its_content(
    tmp_path: Path, text: str, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_fast:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(KaitoctlError) as caught:
        kubeconfig.from_files([str(file)])
    assert "line" in str(caught.value)
    assert CANARY not in str(caught.value)
