"""Server-side apply over HTTP: ownership, conflicts, removal, no-ops."""

from __future__ import annotations

from typing import Any

from sandbox_api.serving import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    WIDGETS,
    Client,
    config_map,
    deployment,
    widget,
    widget_crd,
)

from kaitoctl.kube import request
from kaitoctl.kube.managed_fields import extract
from kaitoctl.kube.objects import CONFIG_MAP, Object

DEPLOYMENT = f"{DEPLOYMENTS}/d"
WIDGET = f"{WIDGETS}/w"


def _owners(obj: Any) -> list[tuple[str, str, str]]:
    entries = obj["metadata"]["managedFields"]
    return [(entry["manager"], entry["operation"], entry.get("subresource", "")) for entry in entries]


def _partial(**spec: Any) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def test_apply_creates_then_updates(server: Client) -> None:
    assert server.apply(DEPLOYMENT, deployment("d")).status == 201
    second = server.apply(DEPLOYMENT, deployment("d", image="web:2"))
    assert second.status == 200
    assert second["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert _owners(second.body) == [("me", "Apply", "")]


def test_an_apply_of_what_must_be_new_creates_it_or_nothing(server: Client) -> None:
    asked = request.apply(CONFIG_MAP, config_map("c"), manager="me", only_new=True)
    assert server.apply(f"{CONFIG_MAPS}/c", asked.body).status == 201
    for more in ({}, {"force": "true"}):
        answer = server.apply(f"{CONFIG_MAPS}/c", asked.body, "me", **more)
        assert (answer.status, answer["reason"]) == (409, "Conflict")


def test_an_apply_without_changes_writes_nothing(server: Client) -> None:
    first = server.apply(DEPLOYMENT, deployment("d"))
    assert server.apply(DEPLOYMENT, deployment("d")).body == first.body
    server.define(widget_crd())
    first = server.apply(WIDGET, widget("w", parts=[{"name": "a"}]))
    assert server.apply(WIDGET, widget("w", parts=[{"name": "a"}])).body == first.body


def test_apply_needs_a_manager(server: Client) -> None:
    answer = server.send("PATCH", DEPLOYMENT, deployment("d"), content_type="application/apply-patch+yaml")
    assert answer.status == 422
    assert "fieldManager: Required value: is required for apply patch" in answer["message"]


def test_a_field_of_another_manager_is_a_conflict(server: Client) -> None:
    server.apply(DEPLOYMENT, deployment("d", replicas=2), "one")
    answer = server.apply(DEPLOYMENT, _partial(replicas=3), "two")
    assert (answer.status, answer["reason"]) == (409, "Conflict")
    assert answer["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    assert answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}
    ]
    assert server.get(DEPLOYMENT)["spec"]["replicas"] == 2


def test_several_conflicts_are_listed_by_manager(server: Client) -> None:
    server.apply(DEPLOYMENT, deployment("d", replicas=2, minReadySeconds=1), "one")
    server.merge(DEPLOYMENT, {"spec": {"revisionHistoryLimit": 3}}, fieldManager="kubectl-edit")
    answer = server.apply(DEPLOYMENT, _partial(replicas=3, minReadySeconds=2, revisionHistoryLimit=4), "two")
    assert answer["message"] == (
        'Apply failed with 3 conflicts: conflicts with "kubectl-edit" using apps/v1:\n'
        "- .spec.revisionHistoryLimit\n"
        'conflicts with "one":\n'
        "- .spec.replicas\n"
        "- .spec.minReadySeconds"
    ) or answer["message"] == (
        'Apply failed with 3 conflicts: conflicts with "kubectl-edit" using apps/v1:\n'
        "- .spec.revisionHistoryLimit\n"
        'conflicts with "one":\n'
        "- .spec.minReadySeconds\n"
        "- .spec.replicas"
    )


def test_a_conflict_inside_a_keyed_list_is_named_by_its_key(server: Client) -> None:
    server.apply(DEPLOYMENT, deployment("d"), "one")
    answer = server.apply(DEPLOYMENT, deployment("d", image="web:2"), "two")
    paths = [cause["field"] for cause in answer["details"]["causes"]]
    assert paths == ['.spec.template.spec.containers[name="main"].image']


def test_force_takes_the_field_over(server: Client) -> None:
    server.apply(DEPLOYMENT, deployment("d", replicas=2), "one")
    forced = server.apply(DEPLOYMENT, _partial(replicas=3), "two", force="true")
    assert forced["spec"]["replicas"] == 3
    assert extract(forced.body, "two") == _partial(replicas=3) | {
        "metadata": {"name": "d", "namespace": "default"}
    }
    # The first manager no longer owns it, so leaving it out now removes nothing.
    assert server.apply(DEPLOYMENT, deployment("d"), "one")["spec"]["replicas"] == 3


def test_fields_left_out_are_removed(server: Client) -> None:
    server.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1", y="2"))
    assert server.apply(f"{CONFIG_MAPS}/a", config_map("a", y="2"))["data"] == {"y": "2"}


def test_a_removed_field_with_a_default_gets_it_back(server: Client) -> None:
    server.apply(DEPLOYMENT, deployment("d", replicas=5))
    assert server.apply(DEPLOYMENT, deployment("d"))["spec"]["replicas"] == 1


def test_a_shared_field_stays_until_its_last_owner_leaves_it_out(server: Client) -> None:
    path = f"{CONFIG_MAPS}/a"
    server.apply(path, config_map("a", x="1"), "one")
    assert server.apply(path, config_map("a", x="1"), "two").status == 200
    assert server.apply(path, config_map("a"), "one")["data"] == {"x": "1"}
    assert "x" not in (server.apply(path, config_map("a"), "two").body.get("data") or {})


def test_an_entry_left_out_of_a_keyed_list_is_removed_others_stay(server: Client) -> None:
    server.define(widget_crd())
    server.apply(WIDGET, widget("w", parts=[{"name": "a"}, {"name": "b", "count": 2}]), "one")
    other = {**widget("w"), "spec": {"parts": [{"name": "c"}]}}
    both = server.apply(WIDGET, other, "two")
    assert [part["name"] for part in both["spec"]["parts"]] == ["a", "b", "c"]
    after = server.apply(WIDGET, widget("w", parts=[{"name": "b", "count": 2}]), "one")
    assert [part["name"] for part in after["spec"]["parts"]] == ["b", "c"]


def test_members_of_a_set_have_owners_of_their_own(server: Client) -> None:
    server.define(widget_crd())
    server.apply(WIDGET, widget("w", tags=["x", "y"]), "one")
    server.apply(WIDGET, {**widget("w"), "spec": {"tags": ["z"]}}, "two")
    assert server.apply(WIDGET, widget("w", tags=["y"]), "one")["spec"]["tags"] == ["y", "z"]


def test_the_status_has_owners_of_its_own(server: Client) -> None:
    server.define(widget_crd())
    server.apply(WIDGET, {**widget("w"), "status": {"ready": True}}, "one")
    assert "status" not in server.get(WIDGET).body
    status = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "status": {"ready": True},
    }
    first = server.apply(f"{WIDGET}/status", status, "controller", force="true")
    assert first["status"] == {"ready": True}
    assert first["metadata"]["generation"] == 1
    assert _owners(first.body) == [("controller", "Apply", "status"), ("one", "Apply", "")]
    assert server.apply(f"{WIDGET}/status", status, "controller", force="true").body == first.body
    assert extract(first.body, "controller", subresource="status")["status"] == {"ready": True}


def test_applying_to_the_status_of_nothing_is_404(server: Client) -> None:
    assert server.apply(f"{DEPLOYMENT}/status", _partial()).status == 404


def test_updates_are_recorded_with_what_they_changed(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a", x="1"), fieldManager="creator")
    after = server.merge(f"{CONFIG_MAPS}/a", {"data": {"y": "2"}}, fieldManager="editor").body
    fields = {entry["manager"]: entry["fieldsV1"] for entry in after["metadata"]["managedFields"]}
    assert fields == {
        "creator": {"f:data": {".": {}, "f:x": {}}},
        "editor": {"f:data": {"f:y": {}}},
    }


def test_a_manager_is_named_by_the_user_agent_when_by_nothing_else(server: Client) -> None:
    answer = server.send(
        "POST", CONFIG_MAPS, config_map("a", x="1"), headers={"User-Agent": "tool/1.2 (linux)"}
    )
    assert _owners(answer.body) == [("tool", "Update", "")]


def test_an_update_without_managed_fields_keeps_the_owners(server: Client) -> None:
    server.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "one")
    after = server.put(f"{CONFIG_MAPS}/a", config_map("a", x="1", y="2"), fieldManager="two")
    assert _owners(after.body) == [("one", "Apply", ""), ("two", "Update", "")]


def test_one_empty_entry_resets_the_owners(server: Client) -> None:
    server.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "one")
    after = server.merge(f"{CONFIG_MAPS}/a", {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in after["metadata"]


def test_preconditions_hold_for_applies(server: Client) -> None:
    created = server.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1")).body["metadata"]
    server.merge(f"{CONFIG_MAPS}/a", {"data": {"z": "1"}})
    for given, status in (({"uid": "other"}, 422), ({"resourceVersion": created["resourceVersion"]}, 409)):
        obj = config_map("a", x="2")
        obj["metadata"].update(given)
        assert server.apply(f"{CONFIG_MAPS}/a", obj).status == status
    ghost = config_map("b")
    ghost["metadata"]["uid"] = "gone"
    assert server.apply(f"{CONFIG_MAPS}/b", ghost).status == 409


def test_an_undeclared_field_of_a_custom_resource_is_refused(server: Client) -> None:
    server.define(widget_crd())
    answer = server.apply(WIDGET, widget("w", colour="red"))
    assert answer.status == 500
    assert answer["message"] == (
        "failed to create typed patch object (/w; example.com/v1, Kind=Widget): "
        ".spec.colour: field not declared in schema"
    )


def test_entries_that_cannot_be_told_apart_are_refused(server: Client) -> None:
    server.define(widget_crd())
    for parts in ([{"count": 1}], [{"name": "a"}, {"name": "a"}]):
        assert (
            "failed to create typed patch object" in server.apply(WIDGET, widget("w", parts=parts))["message"]
        )


def test_an_apply_may_be_yaml(server: Client) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n"
    assert server.apply(f"{CONFIG_MAPS}/a", body)["data"] == {"x": "1"}  # type: ignore[arg-type]
