"""What the end of a model server's log says of how far it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kaitoctl.kaito.load_progress import last_line, loaded_share
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads.container_logs import log_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("log", "share"),
    [
        ("Loading checkpoint shards:  43%|████▎     | 3/7 [00:12<00:16,  4.10s/it]", 0.43),
        ("x\nLoading checkpoint shards:   0%|  | 0/7 [00:00<?]\rLoading checkpoint shards:  14%|█ |", 0.14),
        (
            "(VllmWorker rank=0 pid=123) Loading safetensors checkpoint shards:  25% Completed | 1/4 "
            "[00:00<00:02,  1.38it/s]\n",
            0.25,
        ),
        ("Loading pt checkpoint shards:  50% Completed | 1/2 [00:03<00:03,  3.0s/it]", 0.5),
        ("Fetching 8 files:  38%|███▊      | 3/8 [00:41<01:08, 13.7s/it]", 0.38),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  12%|█▏        | 8/67", 0.12),
        ("Loading checkpoint shards:  43%|████\nINFO loaded in 3 s", None),
        ("Loading checkpoint shards: 100%|██████████| 7/7 [00:28<00:00,  4.10s/it]", None),
        ("INFO GPU KV cache usage: 43%", None),
        ("", None),
    ],
)
def test_the_share_that_is_loaded_is_that_of_the_last_line(log: str, share: float | None) -> None:
    assert loaded_share(log) == share


def test_the_last_line_is_one_that_says_something_and_is_not_too_long() -> None:
    assert last_line("a\n b   c \n\n") == "b c"
    assert last_line("word " * 80).endswith("word ...") and len(last_line("word " * 80)) <= 160


def _pod(*command: str, image: str = "r.example/falcon:1") -> Object:
    container = {
        "name": "falcon",
        "image": image,
        "command": list(command),
        "ports": [{"containerPort": 5000}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    running = {"running": {"startedAt": BEGAN.isoformat()}}
    status = {"name": "falcon", "containerID": "sandbox://1", "ready": False, "state": running}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container]}} | {
        "status": {"containerStatuses": [status]}
    }


@pytest.mark.parametrize("command", [("accelerate",), ("python3", "-m", "vllm")])
def test_a_simulated_server_logs_how_far_it_is_at_the_pace_at_which_it_loads(
    command: tuple[str, ...],
) -> None:
    """Twenty simulated seconds, at a speed of twenty."""
    shares = []
    for wall_s in (0.0, 0.25, 0.5, 0.8, 1.1):
        clock = Clock(lambda passed=wall_s: BEGAN + timedelta(seconds=passed), 20.0)  # type: ignore[misc]
        shares.append(loaded_share(log_of(_pod(*command), "falcon", clock)))
    assert shares == [0.0, 0.25, 0.5, 0.75, None]
    assert "Serving on port 5000." in log_of(_pod(*command), "falcon", clock)
