"""Lists, pages, selectors and watches: what informers live on."""

from __future__ import annotations

import pytest
from sandbox_api.serving import (
    CONFIG_MAPS,
    CRDS,
    PODS,
    WIDGETS,
    Client,
    config_map,
    pod,
    widget,
    widget_crd,
)


def _names(answer: object) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]  # type: ignore[index]


def _labelled(server: Client) -> None:
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
def test_label_selectors_select(server: Client, selector: str, names: str) -> None:
    _labelled(server)
    assert _names(server.get(CONFIG_MAPS, labelSelector=selector)) == list(names)


@pytest.mark.parametrize("selector", ["a b", "in (x)", "a in x", "=x", "a=b c"])
def test_an_unreadable_label_selector_is_400(server: Client, selector: str) -> None:
    assert server.get(CONFIG_MAPS, labelSelector=selector).status == 400


def test_field_selectors_select(server: Client) -> None:
    for name in ("a", "b"):
        server.create(PODS, pod(name))
    server.create(f"{PODS}/a/binding", {"metadata": {"name": "a"}, "target": {"name": "n1"}})
    assert _names(server.get(PODS, fieldSelector="metadata.name=a")) == ["a"]
    assert _names(server.get(PODS, fieldSelector="spec.nodeName=n1")) == ["a"]
    assert _names(server.get(PODS, fieldSelector="spec.nodeName=")) == ["b"]
    assert _names(
        server.get("/api/v1/pods", fieldSelector="metadata.namespace=default,metadata.name!=a")
    ) == ["b"]
    refused = server.get(PODS, fieldSelector="spec.color=red")
    assert (refused.status, refused["message"]) == (400, "field label not supported: spec.color")


def test_a_list_is_of_one_namespace_or_of_all(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    server.create("/api/v1/namespaces/kube-system/configmaps", config_map("b"))
    assert _names(server.get(CONFIG_MAPS)) == ["a"]
    everything = server.get("/api/v1/configmaps")
    assert (everything["kind"], everything["apiVersion"]) == ("ConfigMapList", "v1")
    places = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in everything["items"]}
    assert {("default", "a"), ("kube-system", "b")} <= places


def test_pages_show_one_moment(server: Client) -> None:
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


def test_an_exact_version_is_shown_as_it_was(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    then = server.get(CONFIG_MAPS).version
    server.delete(f"{CONFIG_MAPS}/a")
    past = server.get(CONFIG_MAPS, resourceVersion=str(then), resourceVersionMatch="Exact")
    assert (_names(past), past.version) == (["a"], then)
    assert _names(server.get(CONFIG_MAPS, resourceVersion=str(then))) == []
    assert server.get(CONFIG_MAPS, resourceVersion="99999").status == 504
    assert server.get(CONFIG_MAPS, **{"continue": "rubbish"}).status == 400


def test_a_watch_goes_on_from_a_version_without_gap_or_repetition(server: Client) -> None:
    then = server.create(CONFIG_MAPS, config_map("a")).version
    server.create(CONFIG_MAPS, config_map("b"))
    stream = server.watch(CONFIG_MAPS, resourceVersion=str(then))
    server.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    server.delete(f"{CONFIG_MAPS}/b")
    assert stream.take(3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_a_deletion_event_carries_the_version_of_the_deletion(server: Client) -> None:
    created = server.create(CONFIG_MAPS, config_map("a", x="1"))
    stream = server.watch(CONFIG_MAPS, resourceVersion=str(created.version))
    server.delete(f"{CONFIG_MAPS}/a")
    event = stream.next()
    assert event is not None
    assert int(event["object"]["metadata"]["resourceVersion"]) == created.version + 1
    assert event["object"]["data"] == created["data"] == {"x": "1"}


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_from_nowhere_starts_with_what_exists(server: Client, version: str) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    stream = server.watch(CONFIG_MAPS, resourceVersion=version)
    server.create(CONFIG_MAPS, config_map("b"))
    assert stream.take(2) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_streaming_list_ends_with_a_marked_bookmark(server: Client) -> None:
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
    assert server.get(CONFIG_MAPS, watch="1", sendInitialEvents="true").status == 422


def test_a_watch_sees_objects_come_and_go_through_its_selector(server: Client) -> None:
    version = server.create(CONFIG_MAPS, config_map("a")).version
    stream = server.watch(CONFIG_MAPS, resourceVersion=str(version), labelSelector="in=yes")
    for label in ("yes", "yes", None):
        server.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"in": label}}, "data": {"l": str(label)}})
    server.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"in": "yes"}}})
    server.merge(f"{CONFIG_MAPS}/a", {"data": {"l": "again"}})
    server.delete(f"{CONFIG_MAPS}/a")
    seen = stream.take(5)
    assert [kind for kind, _ in seen] == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]


def test_a_watch_of_a_namespace_sees_no_other(server: Client) -> None:
    stream = server.watch(CONFIG_MAPS)
    server.create("/api/v1/namespaces/kube-system/configmaps", config_map("other"))
    server.create(CONFIG_MAPS, config_map("mine"))
    assert stream.take(1) == [("ADDED", "mine")]


def test_a_watch_ends_after_its_timeout(server: Client) -> None:
    stream = server.watch(CONFIG_MAPS, timeoutSeconds="1", allowWatchBookmarks="true")
    bookmark = stream.next()
    assert bookmark is not None
    assert bookmark["type"] == "BOOKMARK"
    assert stream.next() is None


def test_a_watch_of_a_custom_resource_ends_with_its_definition_gone(server: Client) -> None:
    server.define(widget_crd())
    server.create(WIDGETS, widget("w"))
    stream = server.watch(WIDGETS)
    assert stream.take(1) == [("ADDED", "w")]
    server.delete(f"{CRDS}/widgets.example.com")
    assert stream.take(1) == [("DELETED", "w")]
    server.gone(WIDGETS)


def test_a_watch_from_a_forgotten_past_is_told_to_list_again_in_its_stream(server: Client) -> None:
    stream = server.watch(CONFIG_MAPS, resourceVersion=server.forgotten_version())
    event = stream.next()
    assert event is not None
    assert (stream.response.status, event["type"]) == (200, "ERROR")
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert stream.next() is None
