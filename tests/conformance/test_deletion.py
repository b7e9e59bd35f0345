"""Deletion: finalizers, grace, dependents, namespaces."""

from __future__ import annotations

import pytest
from sandbox_api.serving import (
    CONFIG_MAPS,
    PODS,
    WIDGETS,
    Client,
    config_map,
    pod,
    widget,
    widget_crd,
)

from kaitoctl.kube.objects import Object, owner_reference


def _child(name: str, *owners: Object, blocks: bool = True) -> Object:
    obj = config_map(name)
    references = [
        {**owner_reference(owner), "controller": False, "blockOwnerDeletion": blocks} for owner in owners
    ]
    obj["metadata"]["ownerReferences"] = references
    return obj


def _names(server: Client) -> list[str]:
    return [item["metadata"]["name"] for item in server.get(CONFIG_MAPS)["items"]]


def test_deletion_answers_with_what_is_gone(server: Client) -> None:
    uid = server.create(CONFIG_MAPS, config_map("a"))["metadata"]["uid"]
    answer = server.delete(f"{CONFIG_MAPS}/a")
    assert (answer.status, answer["status"]) == (200, "Success")
    assert answer["details"] == {"name": "a", "kind": "configmaps", "uid": uid}
    assert server.delete(f"{CONFIG_MAPS}/a").status == 404


def test_preconditions_protect_an_object_that_was_not_meant(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    assert server.delete(f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "other"}}).status == 409
    assert server.delete(f"{CONFIG_MAPS}/a", {"preconditions": {"resourceVersion": "1"}}).status == 409
    assert _names(server) == ["a"]


def test_options_are_read_from_the_body_or_else_from_the_query(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    options = {"apiVersion": "v1", "kind": "DeleteOptions"}
    server.delete(f"{CONFIG_MAPS}/a", dryRun="All")
    server.delete(f"{CONFIG_MAPS}/a", {**options, "dryRun": ["All"]})
    assert _names(server) == ["a"]
    server.delete(f"{CONFIG_MAPS}/a", options, dryRun="All")
    assert _names(server) == []


def test_a_finalizer_holds_an_object_until_it_is_removed(server: Client) -> None:
    server.define(widget_crd())
    obj = widget("w")
    obj["metadata"]["finalizers"] = ["example.com/hold"]
    server.create(WIDGETS, obj)
    marked = server.delete(f"{WIDGETS}/w")
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["generation"] == 2
    assert server.delete(f"{WIDGETS}/w").body == marked.body
    stream = server.watch(WIDGETS, resourceVersion=str(marked.version))
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    refused = server.merge(f"{WIDGETS}/w", more)
    assert refused.status == 422
    assert "no new finalizers can be added if the object is being deleted" in refused["message"]
    assert server.merge(f"{WIDGETS}/w", {"metadata": {"finalizers": None}}).status == 200
    assert stream.take(1) == [("DELETED", "w")]
    assert server.get(f"{WIDGETS}/w").status == 404


def test_a_pod_without_a_node_goes_at_once(server: Client) -> None:
    server.create(PODS, pod("p"))
    server.delete(f"{PODS}/p")
    assert server.get(f"{PODS}/p").status == 404


def test_a_pod_on_a_node_waits_for_its_kubelet(server: Client) -> None:
    server.create(PODS, pod("p"))
    server.create(f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "n"}})
    server.delete(f"{PODS}/p", gracePeriodSeconds="20")
    dying = server.get(f"{PODS}/p")["metadata"]
    assert dying["deletionGracePeriodSeconds"] == 20
    server.delete(f"{PODS}/p", gracePeriodSeconds="5")
    assert server.get(f"{PODS}/p")["metadata"]["deletionGracePeriodSeconds"] == 5
    server.delete(f"{PODS}/p")
    assert server.get(f"{PODS}/p")["metadata"]["deletionGracePeriodSeconds"] == 5
    server.merge(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    assert server.get(f"{PODS}/p").status == 200
    server.delete(f"{PODS}/p", gracePeriodSeconds="0")
    assert server.get(f"{PODS}/p").status == 404


def test_a_finished_pod_goes_at_once(server: Client) -> None:
    server.create(PODS, pod("p"))
    server.create(f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "n"}})
    server.merge(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}})
    server.delete(f"{PODS}/p")
    assert server.get(f"{PODS}/p").status == 404


def test_dependents_go_with_their_last_owner(server: Client) -> None:
    one = server.create(CONFIG_MAPS, config_map("one")).body
    two = server.create(CONFIG_MAPS, config_map("two")).body
    child = server.create(CONFIG_MAPS, _child("child", one, two)).body
    server.create(CONFIG_MAPS, _child("grandchild", child))
    server.delete(f"{CONFIG_MAPS}/one")

    def owners() -> list[str]:
        references = server.get(f"{CONFIG_MAPS}/child")["metadata"]["ownerReferences"]
        return [item["name"] for item in references]

    server.until(lambda: owners() == ["two"])
    assert _names(server) == ["child", "grandchild", "two"]
    server.delete(f"{CONFIG_MAPS}/two")
    server.until(lambda: _names(server) == [])


def test_orphaned_dependents_stay(server: Client) -> None:
    owner = server.create(CONFIG_MAPS, config_map("owner")).body
    server.create(CONFIG_MAPS, _child("child", owner))
    server.delete(f"{CONFIG_MAPS}/owner", propagationPolicy="Orphan")
    server.until(lambda: _names(server) == ["child"])
    assert "ownerReferences" not in server.get(f"{CONFIG_MAPS}/child")["metadata"]


def test_in_the_foreground_dependents_go_first(server: Client) -> None:
    owner = server.create(CONFIG_MAPS, config_map("owner")).body
    child = _child("child", owner)
    child["metadata"]["finalizers"] = ["example.com/hold"]
    server.create(CONFIG_MAPS, child)
    waiting = server.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Foreground"})
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert server.get(f"{CONFIG_MAPS}/owner").status == 200
    server.until(lambda: server.get(f"{CONFIG_MAPS}/child")["metadata"].get("deletionTimestamp"))
    server.merge(f"{CONFIG_MAPS}/child", {"metadata": {"finalizers": None}})
    server.until(lambda: _names(server) == [])


def test_a_child_of_a_dead_owner_is_collected(server: Client) -> None:
    owner = server.create(CONFIG_MAPS, config_map("owner")).body
    server.delete(f"{CONFIG_MAPS}/owner")
    assert server.create(CONFIG_MAPS, _child("late", owner)).status == 201
    server.gone(f"{CONFIG_MAPS}/late")


def test_a_namespace_takes_its_content_along(server: Client) -> None:
    server.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    path = "/api/v1/namespaces/n/configmaps"
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    server.create(path, held)
    server.create(path, config_map("free"))
    server.delete("/api/v1/namespaces/n")
    namespace = server.get("/api/v1/namespaces/n").body
    assert namespace["status"]["phase"] == "Terminating"
    server.until(lambda: [item["metadata"]["name"] for item in server.get(path)["items"]] == ["held"])
    refused = server.create(path, config_map("new"))
    assert (refused.status, refused["reason"]) == (403, "Forbidden")
    assert refused["message"] == (
        'configmaps "new" is forbidden: unable to create new content in namespace n '
        "because it is being terminated"
    )
    assert refused["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    server.merge(f"{path}/held", {"metadata": {"finalizers": None}})
    server.gone("/api/v1/namespaces/n")


@pytest.mark.parametrize("name", ["kube-system", "kube-public"])
def test_a_systems_namespace_stays(server: Client, name: str) -> None:
    assert server.delete(f"/api/v1/namespaces/{name}")["reason"] == "Forbidden"
