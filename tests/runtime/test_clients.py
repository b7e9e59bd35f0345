"""The examples of docs/runtime.md for OpenAI's SDK and curl, run as they stand there against a server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runtime import tiny
from runtime.test_server import serving

from kaitoctl.runtime import hugging_face

PAGE = (Path(__file__).parent.parent.parent / "docs" / "runtime.md").read_text("utf-8")
DOCUMENTED = "http://127.0.0.1:5000"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    return hugging_face.convert(tiny.model(folder / "hf"), folder / "tiny.gguf")


def said(command: list[str] | str) -> str:
    done = subprocess.run(
        command, shell=isinstance(command, str), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_with_openais_sdk(model: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert DOCUMENTED in example
    with serving("--model", model, "--context", "128") as (address, _, _):
        command = [sys.executable, "-c", example.replace(DOCUMENTED, address)]
        # What a model of random weights draws may be its end at once, or white space.
        assert any(said(command).strip() for _ in range(8))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_example_with_curl(model: Path) -> None:
    (example,) = re.findall(r"^\$ (curl .*/v1/chat/completions.*)$", PAGE, re.MULTILINE)
    with serving("--model", model, "--context", "128") as (address, _, _):
        answer = said(example.replace(DOCUMENTED, address).replace("curl ", "curl -sSf ", 1))
    assert '"content":' in answer
