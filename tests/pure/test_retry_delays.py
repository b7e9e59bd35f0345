"""What a command tries again: what may pass, and where asking twice is the same as asking once."""

from __future__ import annotations

import pytest

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube import request, retry_delays
from kaitoctl.kube.objects import CONFIG_MAP, Object
from kaitoctl.kube.request import JSON_PATCH, Request

OBJECT: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}
VERSIONED: Object = {**OBJECT, "metadata": {**OBJECT["metadata"], "resourceVersion": "7"}}
PATH = "/api/v1/namespaces/n/configmaps"

READ = Request("GET", PATH)
APPLY = request.apply(CONFIG_MAP, OBJECT, manager="m")
MERGE = request.merge_patch(CONFIG_MAP, "n", "a", {"data": {"x": "y"}}, manager="m")
TRIAL = Request("POST", PATH, query={"dryRun": "All"}, body=OBJECT)
REPEATABLE = [READ, APPLY, MERGE, TRIAL]
ONCE = [
    request.create(CONFIG_MAP, OBJECT),
    request.apply(CONFIG_MAP, OBJECT, manager="m", only_new=True),
    request.merge_patch(CONFIG_MAP, "n", "a", VERSIONED, manager="m"),
    request.replace(CONFIG_MAP, VERSIONED),
    request.delete(CONFIG_MAP, "n", "a"),
    Request("PATCH", f"{PATH}/a", body=[{"op": "add", "path": "/x", "value": 1}], content_type=JSON_PATCH),
]
LOST = Unreachable("lost", cause="lost", is_broken=True)
ASKED = ApiError(429, "TooManyRequests", "later", retry_after_s=3)
ETCD = ApiError(500, "InternalError", "etcdserver: leader changed")
STALE = ApiError(409, "Conflict", "Operation cannot be fulfilled: the object has been modified; please apply")


@pytest.mark.parametrize("error", [LOST, ETCD, STALE], ids=["lost", "etcd", "stale"])
def test_what_may_have_been_done_is_repeated_only_where_that_changes_nothing(error: KaitoctlError) -> None:
    assert [retry_delays.wait_s(asked, error, 1) is not None for asked in REPEATABLE] == [True] * len(
        REPEATABLE
    )
    assert [retry_delays.wait_s(asked, error, 1) for asked in ONCE] == [None] * len(ONCE)


@pytest.mark.parametrize("asked", [*REPEATABLE, *ONCE], ids=lambda asked: f"{asked.method} {asked.query}")
def test_what_the_server_has_not_carried_out_is_repeated_when_it_says_when(asked: Request) -> None:
    assert retry_delays.wait_s(asked, ASKED, 1) == (
        3 if retry_delays.is_repeatable(asked) or asked in ONCE else None
    )


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_in_trouble_is_asked_again_but_not_to_write(status: int) -> None:
    error = ApiError(status, "", "bad gateway")
    assert retry_delays.wait_s(READ, error, 1) is not None
    assert retry_delays.wait_s(APPLY, error, 1) is None


@pytest.mark.parametrize(
    "error",
    [
        ApiError(400, "BadRequest", "no"),
        ApiError(401, "Unauthorized", "no"),
        ApiError(403, "Forbidden", "no"),
        ApiError(404, "NotFound", "no"),
        ApiError(409, "Conflict", 'Apply failed with 1 conflict: conflict with "kubectl"'),
        ApiError(409, "AlreadyExists", "no"),
        ApiError(422, "Invalid", "no"),
        ApiError(500, "InternalError", "failed calling webhook"),
        ApiError(302, "", "elsewhere"),
        ApiError(407, "", "proxy"),
        Unreachable("refused", cause="Connection refused"),
        Unreachable("a page"),
    ],
    ids=str,
)
def test_what_does_not_pass_by_itself_is_told_at_once(error: KaitoctlError) -> None:
    assert [retry_delays.wait_s(asked, error, 1) for asked in [*REPEATABLE, *ONCE]] == [None] * 10


def test_waits_grow_to_a_limit_and_are_never_shorter_than_what_was_asked() -> None:
    waits = [retry_delays.wait_s(READ, LOST, attempt) or 0 for attempt in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert waits[-1] <= 2
    assert sum(waits[:5]) < retry_delays.PATIENCE_S
    assert retry_delays.wait_s(READ, ApiError(503, "", "", retry_after_s=0), 9) == waits[8]


@pytest.mark.parametrize("dry_run", [True, False])
def test_who_means_one_version_alone_hears_at_once_that_it_is_gone(dry_run: bool) -> None:
    new = request.apply(CONFIG_MAP, OBJECT, manager="m", dry_run=dry_run, only_new=True)
    assert retry_delays.wait_s(new, STALE, 1) is None
    assert (
        retry_delays.wait_s(request.apply(CONFIG_MAP, OBJECT, manager="m", dry_run=dry_run), STALE, 1)
        is not None
    )
