"""Kubeconfigs of all shapes, given to kubectl and to us: the same request reaches the server, or none.

What differs is in `DIFFERENCES`, with the reason; docs/kubeconfig.md says the same to users.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from kube.echo_server import Place, place
from kube.kubeconfig_cases import CASES
from shell import BIN

from kaitoctl.advice import text
from kaitoctl.errors import KaitoctlError
from kaitoctl.kube.client import connect

REFUSED = "refused"

# By case: what becomes of it here (None: it is sent, and tells the server something else), and why.
DIFFERENCES: dict[str, tuple[str | None, str]] = {
    "user: a token with a line break at its end": (
        None,
        "`token: |` puts one there; it is stripped, as kubectl itself strips what is in a token file",
    ),
    "user: a token with a zero-width character": (
        REFUSED,
        "no server accepts it, and the 401 would not say why",
    ),
    "cluster: plain HTTP": (
        None,
        "to this machine itself a token is sent in the clear, too; kubectl sends none over HTTP",
    ),
    "cluster: plain HTTP, another user": (None, "likewise"),
}

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("place")) as found:
        yield found


@pytest.fixture(scope="module")
def files(here: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By case: the value of `$KUBECONFIG`."""
    found = {}
    for number, (name, case) in enumerate(CASES.items()):
        folder = tmp_path_factory.mktemp(f"case-{number}")
        made = case(here)
        names = []
        for place_in_list, content in enumerate(made if isinstance(made, list) else [made]):
            file = folder / f"config-{place_in_list}"
            names.append(str(file))
            if callable(content):
                content(file)
            elif content is not None:
                file.touch(mode=0o600)
                file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        found[name] = os.pathsep.join(names)
    return found


@pytest.fixture(scope="module")
def theirs(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen | str]:
    """By case: what kubectl's request told the server."""
    home = tmp_path_factory.mktemp("home")

    def asked(kubeconfig: str) -> Seen | str:
        done = subprocess.run(
            [BIN / "kubectl", "get", "--raw", "/echo"],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": kubeconfig},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return json.loads(done.stdout) if done.returncode == 0 else REFUSED

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(files, pool.map(asked, files.values()), strict=True))


async def _asked() -> Seen | str:
    try:
        async with connect() as client:
            said: Seen = json.loads(await client.text("/echo"))
            return said
    except KaitoctlError as error:
        assert "s3cret" not in f"{error} {text(error.hint)}"
        return REFUSED


@pytest.mark.parametrize("case", CASES)
def test_the_server_is_told_what_kubectl_tells_it(
    case: str, files: dict[str, str], theirs: dict[str, Seen | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", files[case])
    for name in ("KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    ours = asyncio.run(_asked())
    if case not in DIFFERENCES:
        assert ours == theirs[case]
        return
    expected, why = DIFFERENCES[case]
    assert why
    assert ours != theirs[case], "it is a difference no more"
    assert (ours == REFUSED) == (expected == REFUSED)


def test_there_are_many_cases_and_each_difference_is_one_of_them() -> None:
    assert len(CASES) > 100
    assert DIFFERENCES.keys() <= CASES.keys()


def test_most_cases_reach_the_server(theirs: dict[str, Seen | str]) -> None:
    """Else the comparison would be one of refusals."""
    reached = [seen for seen in theirs.values() if seen != REFUSED]
    assert len(reached) > 50
