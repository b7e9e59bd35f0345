"""What a request does not name stays as it is in the Workspace, whoever wrote it."""

from __future__ import annotations

from typing import Any

from builders import adapter, workspace
from hypothesis import given
from hypothesis import strategies as st
from world import World

from kaitoctl.errors import ApiError
from kaitoctl.kaito import api, merge_request
from kaitoctl.kaito.manifest import Adapter, WorkspaceRequest
from kaitoctl.kaito.manifest import workspace as rendered
from kaitoctl.kube import request
from kaitoctl.kube.objects import Object

REQUEST = WorkspaceRequest("falcon", "default", "falcon-7b", "Standard_NC12s_v3", labels={"apps": "falcon"})


def upon(live: Object, asked: WorkspaceRequest, *named: str, mute: tuple[str, ...] = ()) -> Object:
    return merge_request.upon(
        live, rendered(merge_request.complete_request(asked, live, named)), without_strength=mute
    )


def test_defaults_do_not_replace_what_is_there() -> None:
    live = workspace(resource={"count": 2, "labelSelector": {"matchLabels": {"apps": "x"}}})
    made = upon(live, REQUEST)
    assert made["resource"]["count"] == 2
    assert made["resource"]["labelSelector"] == {"matchLabels": {"apps": "x"}}
    assert upon(live, REQUEST, "count")["resource"]["count"] == 1


def test_a_selector_keeps_its_expressions() -> None:
    expressions = [{"key": "zone", "operator": "Exists"}]
    live = workspace(
        resource={"labelSelector": {"matchLabels": {"apps": "x"}, "matchExpressions": expressions}}
    )
    made = upon(live, REQUEST, "labels")
    assert made["resource"]["labelSelector"] == {
        "matchLabels": {"apps": "falcon"},
        "matchExpressions": expressions,
    }


def test_adapters_are_merged_by_their_names() -> None:
    source = {"name": "style", "image": "r/style:1", "imagePullSecrets": ["s"]}
    live = workspace(
        inference={"adapters": [{"source": source, "strength": "0.2"}, adapter("tone", "r/tone:1")]}
    )
    asked = WorkspaceRequest(
        "falcon", "default", "falcon-7b", adapters=(Adapter("style", "r/style:2"), Adapter("new", "r/new:1"))
    )
    made = upon(live, asked, mute=("style", "new"))["inference"]["adapters"]
    assert made == [
        {"source": {**source, "image": "r/style:2"}, "strength": "0.2"},
        adapter("tone", "r/tone:1"),
        {"source": {"name": "new", "image": "r/new:1"}, "strength": "1.0"},
    ]


def test_a_runtime_that_was_chosen_stays() -> None:
    live = workspace(metadata={"annotations": {api.ANNOTATION_RUNTIME: "vllm", "mine": "1"}})
    asked = WorkspaceRequest(
        "falcon", "default", "falcon-7b", annotations={api.ANNOTATION_RUNTIME: "transformers"}
    )
    assert upon(live, asked)["metadata"]["annotations"] == {api.ANNOTATION_RUNTIME: "vllm", "mine": "1"}


MAPS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)
NAMES = st.lists(st.sampled_from(["style", "tone", "wit"]), unique=True, max_size=3)


@given(
    ours=NAMES,
    theirs=NAMES,
    asked=NAMES,
    labels=MAPS,
    annotations=MAPS,
    count=st.integers(1, 3),
    owner=st.sampled_from(["kaitoctl", "helm"]),
)
def test_nothing_is_lost_and_nothing_is_taken_over_that_nobody_named(
    ours: list[str],
    theirs: list[str],
    asked: list[str],
    labels: dict[str, str],
    annotations: dict[str, str],
    count: int,
    owner: str,
) -> None:
    """On a server that does server-side apply: created by one, changed by another, asked for again."""
    world = World("v1alpha1")

    def applied(body: Object, manager: str, *, force: bool = True) -> Object:
        made = world.do(request.apply(api.WORKSPACE, body, manager=manager, force=force))
        return {"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", **made}

    base = rendered(REQUEST)
    base["resource"]["count"] = count
    first = [adapter(name, f"r/{name}:1") for name in ours]
    applied({**base, "inference": {**base["inference"], "adapters": first}}, owner)
    more = {item["source"]["name"]: item for item in [*first, *(adapter(name, "r/x:2") for name in theirs)]}
    live = applied(
        {
            **{key: base[key] for key in ("apiVersion", "kind")},
            "metadata": {
                "name": "falcon",
                "namespace": "default",
                "labels": labels,
                "annotations": annotations,
            },
            "inference": {"adapters": list(more.values())},
        },
        "somebody",
    )
    wanted = WorkspaceRequest(
        "falcon", "default", "falcon-7b", adapters=tuple(Adapter(name, "r/new:3") for name in asked)
    )
    goal = upon(live, wanted, mute=tuple(asked))
    body = merge_request.intent(live, goal, "kaitoctl")
    after = applied(body, "kaitoctl")
    assert merge_request.asked_of(after) == merge_request.asked_of(goal)
    assert (after["metadata"].get("labels") or {}) == labels
    assert (after["metadata"].get("annotations") or {}) == annotations
    assert after["resource"] == live["resource"]
    entries = {item["source"]["name"]: item for item in after["inference"].get("adapters") or ()}
    assert set(entries) == set(more) | set(asked)
    for name, item in more.items():
        assert entries[name]["strength"] == item["strength"]
        if name not in asked:
            assert entries[name] == item
    again = upon(after, wanted, mute=tuple(asked))
    assert merge_request.asked_of(again) == merge_request.asked_of(after)
    if not asked:  # it names nothing of others, and so there is nothing to conflict with
        assert merge_request.asked_of(
            applied(merge_request.intent(after, again, "kaitoctl"), "kaitoctl", force=False)
        )


def test_it_holds_only_for_the_state_that_was_looked_at() -> None:
    world = World("v1alpha1")
    live: Any = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        **world.apply(api.WORKSPACE, rendered(REQUEST)),
    }
    body = merge_request.intent(live, upon(live, REQUEST), "kaitoctl")
    patch = {"metadata": {"labels": {"by": "another"}}}
    world.do(request.merge_patch(api.WORKSPACE, "default", "falcon", patch, manager="another"))
    try:
        world.do(request.apply(api.WORKSPACE, body, manager="kaitoctl"))
    except ApiError as error:
        assert error.status == 409
    else:
        raise AssertionError("it was applied to another state")


def test_what_goes_is_seen() -> None:
    assert merge_request.takes_away({"a": {"b": 1}}, {"a": {}})
    assert merge_request.takes_away({"adapters": [1, 2]}, {"adapters": [2]})
    assert merge_request.takes_away({"count": 2}, {"count": 1})
    assert not merge_request.takes_away(
        {"a": {"b": 1}, "l": [1]}, {"a": {"b": 1, "c": 2}, "l": [1, 2], "n": 3}
    )


def test_what_a_controller_notes_after_a_change_is_nobodys_change() -> None:
    shown = workspace(metadata={"annotations": {"workspace.kaito.io/hash": "a", "team": "x"}})
    noted = {**shown, "metadata": {**shown["metadata"], "annotations": {"team": "x"}}}
    of_set = {"inferenceset.kaito.io/hash": "b", "inferenceset.kaito.io/revision": "2"}
    for notes in ({}, of_set, {"workspace.kaito.io/revision": "3"}):
        metadata = {**noted["metadata"], "annotations": {"team": "x", **notes}}
        assert merge_request.is_unchanged({**noted, "metadata": metadata}, shown)
    metadata = {**noted["metadata"], "annotations": {"team": "y"}}
    assert not merge_request.is_unchanged({**noted, "metadata": metadata}, shown)
