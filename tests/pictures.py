"""The pictures of README: real runs of the program, drawn as SVG (`python3 dev.py pictures`).

A sandbox whose pods are real is started for it, with a model that this machine's CPU serves. What differs
from run to run (names, times, ports) is left out where `test_pictures` compares a picture with a run.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pictures"
FIRST = FOLDER / "first-five-minutes.svg"
MODEL = "smollm2-135m-instruct"
_WIDTH = 80


class Scene(NamedTuple):
    """A command, the exit code that it must have, and the lines that are shown of it.

    Args:
        command: as it is typed.
        code: its exit code.
        last: only so many lines at the end; 0 for all.
    """

    command: str
    code: int = 0
    last: int = 0


SCENES = (
    Scene(f"kaitoctl create workspace demo --preset {MODEL} --yes", last=2),
    Scene("kaitoctl status demo"),
    Scene('kaitoctl chat demo "What is the capital of Germany?" --temperature 0'),
    Scene("kaitoctl add-adapter demo --name style --image registry.example/style:2 --yes", code=1, last=3),
    Scene("kaitoctl why demo", code=1),
)
# What is drawn anew in each run, and what stands for it.
_VOLATILE = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\bws[0-9a-f]{9}\b", "CLAIM"),
    (r"\bdemo-[a-z0-9]{8,10}(-[a-z0-9]{5})?\b", "POD"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b10\.96\.\d+\.\d+", "ADDRESS"),
    (r"(?<![\w-])\d+(?:\.\d+)? ?(?:m\d+s|s|m|tokens/s)(?![\w-])", "N"),
    (r" \(x\d+\)", ""),
    # A kubelet says so in turns: that it failed, and that it waits before it tries again.
    (r"container style: \w+: .*?(?= event Failed)", "WAITING"),
    (r"\s+", " "),
)


def taken(home: Path) -> list[str]:
    """The lines of all scenes, with their colours.

    Args:
        home: an empty folder, for the sandbox; models are those of the user's own cache.

    Raises:
        AssertionError: a command ended otherwise than it must.
    """
    env = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "KAITOCTL_SANDBOX": "1",
        "KAITOCTL_STATE_DIR": str(home / "state"),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "COLUMNS": str(_WIDTH),
    }
    lines: list[str] = []
    try:
        for scene in SCENES:
            done = subprocess.run(
                shlex.split(scene.command),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=env,
                check=False,
                timeout=180,
            )
            assert done.returncode == scene.code, f"$ {scene.command}\n{done.stdout}"
            shown = done.stdout.rstrip("\n").split("\n")
            if 0 < scene.last < len(shown):
                shown = ["\x1b[2m...\x1b[0m", *shown[-scene.last :]]
            lines += [f"\x1b[1m$ {scene.command}\x1b[0m", *shown, ""]
    finally:
        subprocess.run(["kaitoctl", "sandbox", "down", "--delete"], env=env, capture_output=True, check=False)
    return lines[:-1]


def drawn(lines: list[str]) -> str:
    """The lines as an SVG that asks no other site for fonts."""
    console = Console(
        record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ignore", crop=False)
    svg = console.export_svg(title="kaitoctl", unique_id="kaitoctl")
    return re.sub(r"\s*@font-face \{.*?\}\s*(?=@font-face|\.kaitoctl)", "\n    ", svg, flags=re.DOTALL)


def words_of(svg: str) -> str:
    """What can be read in a picture, without what differs from run to run."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text[^>]*? x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        rows.setdefault(float(y), []).append((float(x), text))
    lines = ["".join(text for _, text in sorted(cells)) for _, cells in sorted(rows.items())]
    text = " ".join(lines).replace("&#160;", " ")
    for entity, char in (("&quot;", '"'), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, char)
    for pattern, instead in _VOLATILE:
        text = re.sub(pattern, instead, text)
    return text


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as home:
        FIRST.write_text(drawn(taken(Path(home))), encoding="utf-8")
    sys.stdout.write(f"{FIRST.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
