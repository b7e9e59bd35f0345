"""Lists, pages, selectors and watches: what informers live on."""

from __future__ import annotations

import json

import pytest
from sandbox_api.serving import (
    CONFIG_MAPS,
    CRDS,
    PODS,
    WIDGETS,
    Server,
    config_map,
    pod,
    widget,
    widget_crd,
)

from kaitoctl.sandbox.api import Api, Call, Response
from kaitoctl.sandbox.store import Store, to_json


def _names(answer: object) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]  # type: ignore[index]


def _labelled(server: Server) -> None:
    for name, labels in (("a", {"app": "x", "n": "1"}), ("b", {"app": "y"}), ("c", {})):
        obj = config_map(name)
        obj["metadata"]["labels"] = labels
        server.create(CONFIG_MAPS, obj)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=x", "a"),
        ("app==x", "a"),
        ("app!=x", "bc"),
        ("app", "ab"),
        ("!app", "c"),
        ("app in (x, y)", "ab"),
        ("app notin (x)", "bc"),
        ("app in (x,y),n", "a"),
        ("n>0", "a"),
        ("n<1", ""),
        ("", "abc"),
    ],
)
def test_label_selectors_select(server: Server, selector: str, names: str) -> None:
    _labelled(server)
    assert _names(server.get(CONFIG_MAPS, labelSelector=selector)) == list(names)


@pytest.mark.parametrize("selector", ["a b", "in (x)", "a in x", "=x", "a=b c"])
def test_an_unreadable_label_selector_is_400(server: Server, selector: str) -> None:
    assert server.get(CONFIG_MAPS, labelSelector=selector).status == 400


def test_field_selectors_select(server: Server) -> None:
    for name in ("a", "b"):
        server.create(PODS, pod(name))
    server.create(f"{PODS}/a/binding", {"target": {"name": "n1"}})
    assert _names(server.get(PODS, fieldSelector="metadata.name=a")) == ["a"]
    assert _names(server.get(PODS, fieldSelector="spec.nodeName=n1")) == ["a"]
    assert _names(server.get(PODS, fieldSelector="spec.nodeName=")) == ["b"]
    assert _names(server.get("/api/v1/pods", fieldSelector="status.phase!=Running,metadata.name!=a")) == ["b"]
    refused = server.get(PODS, fieldSelector="spec.color=red")
    assert (refused.status, refused["message"]) == (400, "field label not supported: spec.color")


def test_a_list_is_of_one_namespace_or_of_all(server: Server) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    server.create("/api/v1/namespaces/kube-system/configmaps", config_map("b"))
    assert _names(server.get(CONFIG_MAPS)) == ["a"]
    everything = server.get("/api/v1/configmaps")
    assert (everything["kind"], everything["apiVersion"]) == ("ConfigMapList", "v1")
    assert _names(everything) == ["a", "b"]


def test_pages_show_one_moment(server: Server) -> None:
    for name in "abcde":
        server.create(CONFIG_MAPS, config_map(name))
    first = server.get(CONFIG_MAPS, limit="2")
    assert (_names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    server.delete(f"{CONFIG_MAPS}/c")
    server.merge(f"{CONFIG_MAPS}/d", {"data": {"new": "1"}})
    server.create(CONFIG_MAPS, config_map("f"))
    second = server.get(CONFIG_MAPS, limit="2", **{"continue": first["metadata"]["continue"]})
    assert _names(second) == ["c", "d"]
    assert "data" not in second["items"][1]
    assert second.version == first.version
    third = server.get(CONFIG_MAPS, limit="2", **{"continue": second["metadata"]["continue"]})
    assert _names(third) == ["e"]
    assert "continue" not in third["metadata"]


def test_an_exact_version_is_shown_as_it_was(server: Server) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    then = server.get(CONFIG_MAPS).version
    server.delete(f"{CONFIG_MAPS}/a")
    past = server.get(CONFIG_MAPS, resourceVersion=str(then), resourceVersionMatch="Exact")
    assert (_names(past), past.version) == (["a"], then)
    assert _names(server.get(CONFIG_MAPS, resourceVersion=str(then))) == []
    assert server.get(CONFIG_MAPS, resourceVersion="99999").status == 504
    assert server.get(CONFIG_MAPS, **{"continue": "rubbish"}).status == 400


def _forgetful() -> Api:
    api = Api(Store(history=5))
    for number in range(40):
        body = to_json(config_map(f"m{number:02}"))
        answer = api.answer(Call("POST", CONFIG_MAPS, body=body))
        assert isinstance(answer, Response)
    return api


def test_a_forgotten_past_is_410_with_a_token_for_the_rest() -> None:
    api = _forgetful()
    past = {"resourceVersion": "7", "resourceVersionMatch": "Exact"}
    listed = api.answer(Call("GET", CONFIG_MAPS, past))
    assert isinstance(listed, Response)
    assert (listed.status, json.loads(listed.body)["reason"]) == (410, "Expired")
    page = api.answer(Call("GET", CONFIG_MAPS, {"limit": "38"}))
    assert isinstance(page, Response)
    token = json.loads(page.body)["metadata"]["continue"]
    for number in range(40):
        api.answer(Call("DELETE", f"{CONFIG_MAPS}/m{number:02}" if number < 38 else f"{CONFIG_MAPS}/x"))
    late = api.answer(Call("GET", CONFIG_MAPS, {"continue": token}))
    assert isinstance(late, Response)
    assert late.status == 410
    inconsistent = json.loads(late.body)["metadata"]["continue"]
    rest = api.answer(Call("GET", CONFIG_MAPS, {"continue": inconsistent}))
    assert isinstance(rest, Response)
    assert _names(json.loads(rest.body)) == ["m38", "m39"]


def test_a_watch_from_a_forgotten_past_gets_410_in_its_stream() -> None:
    from kaitoctl.sandbox.api import Watch

    watch = _forgetful().answer(Call("GET", CONFIG_MAPS, {"watch": "true", "resourceVersion": "7"}))
    assert isinstance(watch, Watch)
    event = json.loads(watch.take())
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert watch.ended


def test_a_watch_goes_on_from_a_version_without_gap_or_repetition(server: Server) -> None:
    then = server.create(CONFIG_MAPS, config_map("a")).version
    server.create(CONFIG_MAPS, config_map("b"))
    stream = server.watch(CONFIG_MAPS, resourceVersion=str(then))
    server.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    server.delete(f"{CONFIG_MAPS}/b")
    assert stream.take(3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_a_deletion_event_carries_the_version_of_the_deletion(server: Server) -> None:
    created = server.create(CONFIG_MAPS, config_map("a", x="1"))
    stream = server.watch(CONFIG_MAPS, resourceVersion=str(created.version))
    server.delete(f"{CONFIG_MAPS}/a")
    event = stream.next()
    assert event is not None
    assert int(event["object"]["metadata"]["resourceVersion"]) == created.version + 1
    assert event["object"]["data"] == created["data"] == {"x": "1"}


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_from_nowhere_starts_with_what_exists(server: Server, version: str) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    stream = server.watch(CONFIG_MAPS, resourceVersion=version)
    server.create(CONFIG_MAPS, config_map("b"))
    assert stream.take(2) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_streaming_list_ends_with_a_marked_bookmark(server: Server) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    stream = server.watch(
        CONFIG_MAPS, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    assert stream.take(1) == [("ADDED", "a")]
    bookmark = stream.next()
    assert bookmark is not None
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["kind"] == "ConfigMap"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert server.get(CONFIG_MAPS, watch="1", sendInitialEvents="true").status == 400


def test_a_watch_sees_objects_come_and_go_through_its_selector(server: Server) -> None:
    version = server.create(CONFIG_MAPS, config_map("a")).version
    stream = server.watch(CONFIG_MAPS, resourceVersion=str(version), labelSelector="in=yes")
    for label in ("yes", "yes", None):
        server.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"in": label}}, "data": {"l": str(label)}})
    server.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"in": "yes"}}})
    server.merge(f"{CONFIG_MAPS}/a", {"data": {"l": "again"}})
    server.delete(f"{CONFIG_MAPS}/a")
    seen = stream.take(5)
    assert [kind for kind, _ in seen] == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]


def test_a_watch_of_a_namespace_sees_no_other(server: Server) -> None:
    stream = server.watch(CONFIG_MAPS)
    server.create("/api/v1/namespaces/kube-system/configmaps", config_map("other"))
    server.create(CONFIG_MAPS, config_map("mine"))
    assert stream.take(1) == [("ADDED", "mine")]


def test_a_watch_ends_after_its_timeout(server: Server) -> None:
    stream = server.watch(CONFIG_MAPS, timeoutSeconds="1", allowWatchBookmarks="true")
    bookmark = stream.next()
    assert bookmark is not None
    assert bookmark["type"] == "BOOKMARK"
    assert stream.next() is None


def test_watches_end_when_the_server_stops(server: Server) -> None:
    stream = server.watch(CONFIG_MAPS)
    server._run(server.api_server.stop())
    assert stream.next() is None


def test_a_watch_of_a_custom_resource_ends_with_its_definition_gone(server: Server) -> None:
    server.create(CRDS, widget_crd())
    server.create(WIDGETS, widget("w"))
    stream = server.watch(WIDGETS)
    assert stream.take(1) == [("ADDED", "w")]
    server.delete(f"{CRDS}/widgets.example.com")
    assert stream.take(1) == [("DELETED", "w")]
    assert server.get(WIDGETS).status == 404
