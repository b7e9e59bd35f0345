"""Logs that no row knows: their last error is the cause, and no frame or warning stands beside it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import workspace
from trouble import NOW

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis import Cause, diagnose
from kaitoctl.kaito.snapshot import Snapshot


def cause(log: str, *, container: str = "falcon", **init: Any) -> Cause:
    """Why, when this is the log of a container that ends again and again."""
    status = {
        "name": container,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1}},
        "restartCount": 4,
    }
    is_main = container == "falcon"
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "nodeName": "gpu-1",
            "initContainers": [] if is_main else [{"name": container, **init}],
            "containers": [{"name": "falcon"}],
        },
        "status": {
            "phase": "Pending",
            "containerStatuses" if is_main else "initContainerStatuses": [status],
        },
    }
    found = diagnose(Snapshot(workspace(), pods=(pod,), logs={("p", container): log}), NOW).cause
    assert found is not None
    return found


FRAMES = (
    'Traceback (most recent call last):\n  File "/app/x.py", line 3, in <module>\n    main()\n    ^^^^^^\n'
)
LEAKS = (
    "/usr/lib/python3.12/multiprocessing/resource_tracker.py:9: UserWarning: resource_tracker: There appear "
    "to be 3 leaked semaphore objects to clean up at shutdown\n  warnings.warn('resource_tracker: %d '\n"
)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (FRAMES + "GizmoError: no shard serves layer 9\n" + LEAKS, "GizmoError: no shard serves layer 9"),
        # What stands on the next lines of an error that ends with a colon.
        (FRAMES + "RuntimeError: Odd parts. Output:\n[1/9] x\nFAILED: a.o\n", "Output: FAILED: a.o"),
        ("RuntimeError: Versions differ: this has:\n    Quux: 2.51.0\n", "this has: Quux: 2.51.0"),
        # Python's groups of exceptions.
        (
            "  + Exception Group Traceback (most recent call last):\n"
            '  |   File "/app/x.py", line 3, in <module>\n'
            "  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n"
            "  +-+---------------- 1 ----------------\n"
            "    | Traceback (most recent call last):\n"
            '    |   File "/app/x.py", line 9, in f\n'
            "    | LookupError: no shard serves layer 9\n"
            "    +------------------------------------\n",
            "1: LookupError: no shard serves layer 9",
        ),
        # Lines for programs: zap, pino, slog, logrus, hclog.
        (
            '{"level":"fatal","msg":"odd map","error":"hole at 7"}\n{"level":"info","msg":"bye"}\n',
            "1: odd map: hole",
        ),
        ('{"ts": 1, "severity": "ERROR", "message": "odd \\"map\\""}\n', '1: odd "map"'),
        (
            'time="2026-11-28T15:47:00Z" level=fatal msg="odd map: hole at 7"\n+ continue\n',
            "1: odd map: hole at 7",
        ),
        ('time=2026-11-28T15:47:00Z level=ERROR msg="odd map" err="hole at 7"\n', "1: odd map: hole at 7"),
        # Shells, Go, Rust, Java.
        ("+ ./serve.sh\n./serve.sh: line 12: MODEL_DIR: unbound variable\n", "MODEL_DIR: unbound variable"),
        ("/run.sh: 3: MODEL_DIR: parameter not set\n", "MODEL_DIR: parameter not set"),
        (
            "panic: odd map\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:12 +0x1d\n",
            "1: panic: odd map",
        ),
        (
            "thread 'main' panicked at src/main.rs:42:10:\ncalled `Result::unwrap()` on an `Err` value: Odd\n"
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            "called `Result::unwrap()`",
        ),
        (
            'Exception in thread "main" x.OddException: no map\n\tat com.x.Main.load(Main.java:10)\n',
            "x.OddException: no map",
        ),
    ],
)
def test_the_last_error_is_the_cause_and_stands_alone(log: str, words: str) -> None:
    found = cause(log)
    assert found.code == "crash-loop"
    assert words in found.message
    told = [said for source, said in found.evidence if source == "log"]
    assert len(told) == 1
    assert told[0] in found.message


def test_without_an_error_the_last_lines_are_shown_and_no_frames() -> None:
    found = cause("loading 1/3\nloading 2/3\n" + FRAMES)
    assert [said for source, said in found.evidence if source == "log"] == ["loading 1/3", "loading 2/3"]


@pytest.mark.parametrize("more", [{}, {"restartPolicy": "Always"}])
def test_the_log_that_is_to_be_read_is_the_one_of_the_container_that_ends(more: dict[str, str]) -> None:
    found = cause("GizmoError: odd\n", container="fetch-weights", **more)
    assert "-c fetch-weights --previous" in text(found.command)
    assert "-c" not in text(cause("GizmoError: odd\n").command)
