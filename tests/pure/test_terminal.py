"""The screens at 80 and 120 columns, coloured and plain: no line too long, no name cut, nothing steered."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import pytest
from msgspec.structs import replace
from screen_data import cluster, node_verdict, pod, snapshot
from terminals import Terminal, lines, uncoloured

from kaitoctl import advice
from kaitoctl.commands.why import report as why
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.rollout import Phase, Progress
from kaitoctl.kaito.view import View, view
from kaitoctl.kube.objects import ObjectKey
from kaitoctl.screens import gpu_table, layout, node_table, progress_reporters, status_screen
from kaitoctl.screens.layout import Block, Cell, Column, Command, Difference, Paragraph, Table, plain

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
LONG = "workspace-falcon-7b-with-a-long-name-5d4f8b7c9d-abcde"
HOSTILE = "\x1b[2J[red]gone[/red]\r\u202e:smile:[link=x]"
COMMANDS = ("kubectl", "kaitoctl", "fix: ", "look: ", "More: ")


def tree(
    name: str, message: str = "the image cannot be pulled, as far as one can see from here"
) -> list[Block]:
    seen = snapshot(pod(name, message=message), pod("falcon-1"), message=message)
    return status_screen.report(view(seen, NOW), NOW, drawn=True)


def reasons(name: str) -> list[Block]:
    seen = snapshot(pod(name, message="not found " * 30))
    return why(diagnose(seen, NOW), ObjectKey("default", "falcon"), seen)


SCREENS: dict[str, tuple[Callable[[], list[Block]], list[str]]] = {
    "status": (lambda: tree(LONG), [LONG, "ImagePullBackOff"]),
    "why": (lambda: reasons(LONG), [LONG]),
    "check-nodes": (
        lambda: node_table.report(node_verdict("mixed"), "Workspace w", drawn=True),
        ["ip-10-0-41-7.eu-central-1.compute.internal", "gke-ml-a100-3f2a91c0-x7kd", "taint-of-controller"],
    ),
    "nodes": (lambda: gpu_table.report(cluster()), ["aks-gpua100-24718361-vmss000001"]),
    "list": (
        lambda: [
            layout.table(
                ["NAME", "STATE", "MESSAGE"], [[LONG, Cell("Failed", "✗"), "copying adapters: " * 9]], gap=3
            )
        ],
        [LONG, "Failed"],
    ),
    "narration": (
        lambda: [
            Paragraph("a hint of many words " * 9, lead="hint: ", style="dim"),
            Difference("+" + "word " * 40),
        ],
        ["hint:"],
    ),
}


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("screen", SCREENS)
def test_no_line_is_too_long_and_no_name_is_cut(screen: str, columns: int, colour: bool) -> None:
    blocks, names = SCREENS[screen]
    shown = Terminal(columns, colour).lines(blocks())
    texts = [uncoloured(line) for line in shown]
    long = [line for line in texts if len(line) > columns and not line.lstrip().startswith(COMMANDS)]
    assert long == []
    assert not any("…" in line for line in texts if screen != "why")  # evidence is shortened on purpose
    words = " ".join(texts).replace(",", " ").split()
    assert [name for name in names if name not in words] == []
    assert any("\x1b" in line for line in shown) == colour
    assert all(line == line.rstrip() for line in texts)


@pytest.mark.parametrize("columns", [20, 40])
def test_a_terminal_that_is_very_narrow_still_gets_every_word(columns: int) -> None:
    shown = "".join(Terminal(columns).lines(tree("falcon-0")))
    assert "ImagePullBackOff" in re.sub(r"[\s│]", "", shown)


def test_what_a_cluster_says_neither_steers_the_terminal_nor_is_read_as_markup() -> None:
    table = Table((Column("NAME", whole=True), Column("INFO")), ((Cell(HOSTILE), Cell(HOSTILE, "✗")),))
    blocks: list[Block] = [Paragraph(HOSTILE, mark="!"), Command(HOSTILE), table, Difference(HOSTILE)]
    for shown_on in (None, Terminal(120), Terminal(120, colour=True)):
        text = uncoloured("\n".join(lines(blocks, shown_on)))
        assert not re.search("[\x1b\r\u202e]", text)
        assert text.count("\\x1b[2J[red]gone[/red]\\r\\u202e:smile:[link=x]") == 5


def test_the_terminal_shows_what_the_pipe_gets() -> None:
    """The same words in each column, apart from marks and the order of columns."""
    report = node_table.report(node_verdict("mixed"), "Workspace w", drawn=True)
    piped = sorted(" ".join(plain(report)).replace("rack7-dgx9:", "rack7-dgx9").split())
    drawn = [word for line in Terminal(400).lines(report) for word in line.split()]
    assert set(piped) - {"yes", "no"} - {word for word in piped if word.endswith(":")} <= set(drawn)


def test_an_encoding_without_check_marks_gets_plain_signs() -> None:
    shown = Terminal(80, encoding="ascii").lines([*tree("falcon-ü"), Paragraph("fine", mark="✔")])
    assert all(line.isascii() for line in shown)
    assert "+ fine" in shown
    assert any(line.startswith("|- ") for line in shown)
    assert any("falcon-\\xfc" in line for line in shown)


def test_no_line_is_broken_inside_of_a_command_among_words() -> None:
    command = "kaitoctl why a-workspace -n default --sandbox --sandbox-name other"
    for before in ("", "no controller manages it, so nothing will happen: "):
        words = advice.on_screen(before + advice.Command(command) + " says more of what stands in its way")
        shown = Terminal(80).lines([Paragraph(words, lead="hint: ")])
        assert any(command in line for line in shown) and len(shown) > 1
        assert "".join(" ".join(shown).split()) == "".join(f"hint: {words}".split())


@pytest.mark.parametrize("words", range(1, 9))
def test_a_line_with_a_command_is_as_short_as_others(words: int) -> None:
    text = advice.on_screen(advice.Command("kaitoctl why", *["a"] * words) + " shows the cause of it" * 12)
    drawn = Terminal(80).lines([Paragraph(text, lead="hint: ")])
    assert max(map(len, drawn)) <= 80
    assert len(drawn) > 2


def test_a_command_stays_in_one_line_with_the_file_that_it_writes() -> None:
    command = "kaitoctl scale a-workspace -n default --count 2 -o yaml --sandbox"
    words = advice.on_screen(
        "a new Workspace can: " + advice.Command(command) + " > a-workspace.yaml, then more"
    )
    shown = Terminal(60).lines([Paragraph(words)])
    assert f"{command} > a-workspace.yaml, then more" in shown or f"{command} > a-workspace.yaml," in shown


def test_commands_are_not_broken() -> None:
    command = "kubectl label node " + "n" * 60 + " a=b"
    assert Terminal(40).lines([Command(command, lead="fix: ", indent=6)]) == [f"      fix: {command}"]


_PROBE = """
import sys
from kaitoctl.screens import output
output.warning("words", hint="more")
output.table(["A"], [["b"]])
print("rich" in sys.modules)
"""


@pytest.mark.parametrize(
    ("variables", "is_drawn"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
    ids=json.dumps,
)
def test_pipes_get_plain_lines_without_rich_unless_colours_are_forced(
    variables: dict[str, str], is_drawn: bool
) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, env=env | variables
    )
    assert done.stdout.splitlines()[-1] == str(is_drawn)
    assert uncoloured(done.stderr) == "! words\n  more\n"
    assert ("\x1b" in done.stderr) == is_drawn


@pytest.mark.parametrize("rows", [3, 60])
def test_on_few_lines_conditions_and_then_the_tree_give_way_to_the_cause_and_the_fix(rows: int) -> None:
    seen = snapshot(*(pod(f"falcon-{number}", message="not found") for number in range(rows)))
    shown = view(seen, NOW)
    heights = [len(Terminal(80).lines(blocks)) for blocks in status_screen.smaller(shown, NOW)]
    assert heights == sorted(heights, reverse=True)
    least = Terminal(80).lines(list(status_screen.smaller(shown, NOW))[-1])
    assert len(least) < 24
    assert any("kaitoctl why" in line for line in least)
    assert any("more" in line for line in least if line.startswith("... "))
    for blocks in (status_screen.report(shown, NOW, drawn=True), *status_screen.smaller(shown, NOW)):
        lines = Terminal(80).lines(blocks)
        below = lines[lines.index("failed while pulling image") + 1 :]
        assert "there is no image" in below[0] and "kubectl edit workspace" in below[1]


class _Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_the_last_picture_of_a_failure_is_as_high_as_can_be_seen_with_what_follows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("COLUMNS", "80"), ("LINES", "24"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    seen = snapshot(*(pod(f"falcon-{number}", message="not found") for number in range(30)))
    screen = _Screen()
    live = progress_reporters.Live(screen)
    live.show(view(seen, NOW), NOW)
    screen.truncate(0)
    live.close()
    last = uncoloured(screen.getvalue()).rpartition("Workspace default/falcon, ")[2].splitlines()
    assert len(last) <= 24 - 6
    assert any("there is no image" in line for line in last)


def test_no_line_of_a_rollout_is_written_twice_in_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Phases that are passed while nobody is served have one name."""
    seen, told = snapshot(pod("falcon-0")), progress_reporters.Lines(as_data=True)
    nobody = "none of its pods is ready"
    for phase in (Phase.SCHEDULING, Phase.PULLING, Phase.LOADING):
        told.show(view(seen, NOW, at=Progress(phase, nobody, down=True)), NOW)
    told.show(view(seen, NOW, at=Progress(Phase.LOADING, nobody)), NOW)
    written = capsys.readouterr().out.splitlines()
    assert sum("not serving: none" in line for line in written) == 1
    assert "loading model: none" in written[-1]


LOADING = "\n".join(
    (
        "INFO: engine starts",
        "\rLoading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]\r"
        "Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:02<00:07,  2.6s/it]",
    )
)


def test_the_shards_that_are_loaded_fill_the_bar_and_the_last_line_of_the_log_is_dim() -> None:
    at_work = Progress(Phase.LOADING, "on gpu-a")
    for log, bar in ((LOADING, "██░░░░░░░░ 25% "), ("compiling the graph", "░░░░░░░░░░ ")):
        shown = view(snapshot(pod()), NOW, at=at_work, log=log)
        picture = Terminal(80, colour=True).lines(status_screen.report(shown, NOW, drawn=True))
        at = next(at for at, line in enumerate(picture) if uncoloured(line).startswith(bar))
        assert "loading model on gpu-a, for 1m00s of 30m" in picture[at]
        assert uncoloured(picture[at + 1]).strip().startswith(shown.log[:30])
        assert "\x1b[2m" in picture[at + 1]


def test_what_is_waited_for_has_no_cross_and_a_bar_of_the_time_that_has_gone() -> None:
    starting = pod()
    starting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    shown = view(snapshot(starting, message="waiting for nodes"), NOW)
    assert shown.outcome is None and (shown.cause is None or shown.cause.weight != "fault")
    picture = "\n".join(Terminal(80).lines(status_screen.report(shown, NOW, drawn=True)))
    assert "◌ ResourceReady" in picture and "✗" not in picture
    assert re.search("█*░+ ", picture)
    assert "░" not in "\n".join(plain(status_screen.report(shown, NOW)))


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
def test_a_list_of_all_namespaces_keeps_every_column_and_every_name(columns: int) -> None:
    """Long names of both go on a line of their own before anything is left out."""
    name = "workspace-falcon-7b-for-the-second-team"
    row = ["a-namespace-with-a-long-name-of-a-team", name, "Progressing", "0/12", "24", "3", "12m", "waits"]
    headers = ["NAMESPACE", "NAME", "STATE", "NODES", "GPUS", "ADAPTERS", "AGE", "MESSAGE"]
    shown = Terminal(columns).lines([replace(layout.table(headers, [row], gap=3, names=2), below=True)])
    words = set(re.split(r"[\s/,:]+", "\n".join(shown)))
    assert set(row) - words == {"0/12"} and "0" in words
    if columns >= 60:
        assert {"NODES", "GPUS", "ADAPTERS", "AGE"} <= words
    assert max(map(len, shown)) <= columns


def test_a_wide_table_is_the_same_on_every_terminal() -> None:
    row = ["ScalingReplicaSet", LONG, "a message of many words " * 9]
    made = replace(layout.table(["REASON", "OBJECT", "MESSAGE"], [row], gap=2), wide=True)
    assert Terminal(40).lines([made]) == Terminal(400).lines([made]) == plain([made])


def test_names_that_have_room_stand_in_two_columns() -> None:
    row = ["default", "phi", "Ready", "1/1"]
    lines = Terminal(80).lines([layout.table(["NAMESPACE", "NAME", "STATE", "NODES"], [row], names=2)])
    assert [line.split() for line in lines] == [["NAMESPACE", "NAME", "STATE", "NODES"], row]


def _views(*outcomes: Literal["ready", "failed"] | None) -> list[View]:
    found = view(snapshot(pod("falcon-0", message="pulling")), NOW)
    return [
        dataclasses.replace(
            found, workspace=f"models/w{number}", outcome=outcome, cause=None, log="shards: 43%", loaded=0.43
        )
        for number, outcome in enumerate(outcomes)
    ]


def test_several_rollouts_say_less_of_each_before_one_is_left_out() -> None:
    shown = [
        "\n".join(Terminal(80).lines(blocks))
        for blocks in status_screen.briefly(_views("ready", None, None, None, "failed"), NOW)
    ]
    assert shown[0].count("████░░░░░░ 43%") == shown[0].count("shards") == 3
    assert [shown[1].count("shards"), shown[1].count("models/w")] == [0, 5]
    assert "models/w0" not in shown[2] and "... 1 ready" in shown[2]
    assert shown[-1].count("models/w") == 1 and "... 1 ready, 3 more under way" in shown[-1]
    heights = [text.count("\n") for text in shown]
    assert heights == sorted(heights, reverse=True)
