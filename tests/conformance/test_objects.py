"""Create, read, update, delete: what every kind has in common."""

from __future__ import annotations

import pytest
from sandbox_api.serving import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JSON_PATCH,
    PODS,
    STRATEGIC,
    Client,
    config_map,
    deployment,
    pod,
)

from kaitoctl.kube.objects import Object


def test_a_created_object_has_an_identity_and_can_be_read(server: Client) -> None:
    created = server.create(CONFIG_MAPS, config_map("a", x="1"))
    assert created.status == 201
    metadata = created["metadata"]
    assert metadata["namespace"] == "default"
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert server.get(f"{CONFIG_MAPS}/a").body == created.body


def test_a_name_is_generated_from_a_prefix(server: Client) -> None:
    obj = {"metadata": {"generateName": "job-"}}
    names = {server.create(CONFIG_MAPS, obj)["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


def test_creating_twice_is_409_already_exists(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    again = server.create(CONFIG_MAPS, config_map("a"))
    assert (again.status, again["reason"]) == (409, "AlreadyExists")
    assert again["message"] == 'configmaps "a" already exists'
    assert again["details"] == {"name": "a", "kind": "configmaps"}


def test_what_is_missing_is_404_with_the_resource_and_name(server: Client) -> None:
    answer = server.get(f"{DEPLOYMENTS}/x")
    assert (answer.status, answer["reason"]) == (404, "NotFound")
    assert answer["message"] == 'deployments.apps "x" not found'
    assert answer["details"] == {"name": "x", "group": "apps", "kind": "deployments"}


@pytest.mark.parametrize("path", ["/apis/no.such/v1/things", "/x"])
def test_what_is_no_part_of_the_api_is_a_plain_404(server: Client, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 404
    assert answer.body == "404 page not found\n"


@pytest.mark.parametrize("path", ["/api/v1/nonsense", "/api/v1/namespaces/a/nodes"])
def test_an_unknown_resource_of_a_known_version_is_404_with_a_status(server: Client, path: str) -> None:
    answer = server.get(path)
    assert (answer.status, answer["reason"]) == (404, "NotFound")
    assert answer["message"] == "the server could not find the requested resource"


def test_a_namespaced_object_needs_its_namespace(server: Client) -> None:
    answer = server.create("/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert (answer.status, answer["message"]) == (404, 'namespaces "nowhere" not found')


def test_a_dry_run_answers_and_writes_nothing(server: Client) -> None:
    before = server.get(CONFIG_MAPS).version
    assert server.create(CONFIG_MAPS, config_map("a"), dryRun="All").status == 201
    assert server.get(f"{CONFIG_MAPS}/a").status == 404
    server.create(CONFIG_MAPS, config_map("b"))
    assert server.merge(f"{CONFIG_MAPS}/b", {"data": {"x": "1"}}, dryRun="All")["data"] == {"x": "1"}
    assert server.delete(f"{CONFIG_MAPS}/b", dryRun="All").status == 200
    assert "data" not in server.get(f"{CONFIG_MAPS}/b").body
    assert server.get(CONFIG_MAPS).version == before + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "Secret"}, "must be of type ConfigMap"),
        (
            {"metadata": {"name": "other"}},
            "the name of the object (other) does not match the name on the URL (a)",
        ),
        ({"metadata": {"name": "a", "namespace": "kube-system"}}, "does not match the namespace sent"),
    ],
)
def test_a_body_that_contradicts_its_url_is_400(server: Client, change: Object, words: str) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    answer = server.put(f"{CONFIG_MAPS}/a", {**config_map("a"), **change})
    assert (answer.status, answer["reason"]) == (400, "BadRequest")
    assert words in answer["message"] or not server.own_words


@pytest.mark.parametrize("body", [b"{", b"[1", b'{"a": NaN}', b"[]", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_object_is_400(server: Client, body: bytes) -> None:
    assert server.send("POST", CONFIG_MAPS, body).status == 400


def test_a_body_may_be_yaml(server: Client) -> None:
    body = b"metadata: {name: a}\ndata:\n  when: '2020-01-01'\n"
    assert server.send("POST", CONFIG_MAPS, body, content_type="application/yaml")["data"] == {
        "when": "2020-01-01"
    }


def test_an_update_of_a_version_that_is_gone_is_409_conflict(server: Client) -> None:
    first = server.create(CONFIG_MAPS, config_map("a", x="1")).body
    second = server.put(f"{CONFIG_MAPS}/a", {**first, "data": {"x": "2"}})
    assert second.status == 200
    late = server.put(f"{CONFIG_MAPS}/a", {**first, "data": {"x": "3"}})
    assert (late.status, late["reason"]) == (409, "Conflict")
    assert late["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert server.get(f"{CONFIG_MAPS}/a")["data"] == {"x": "2"}


def test_an_update_that_changes_nothing_writes_nothing(server: Client) -> None:
    first = server.create(CONFIG_MAPS, config_map("a", x="1"))
    assert server.put(f"{CONFIG_MAPS}/a", first.body).body == first.body
    assert server.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}}).body == first.body


def test_identity_cannot_be_changed(server: Client) -> None:
    first = server.create(CONFIG_MAPS, config_map("a")).body
    metadata = {"name": "a", "uid": first["metadata"]["uid"], "creationTimestamp": "2001-01-01T00:00:00Z"}
    second = server.put(f"{CONFIG_MAPS}/a", {"metadata": metadata, "data": {"x": "1"}})
    assert second["metadata"]["creationTimestamp"] == first["metadata"]["creationTimestamp"]
    other = server.put(f"{CONFIG_MAPS}/a", {"metadata": {"name": "a", "uid": "other"}})
    assert (other.status, other["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: other" in other["message"]


def test_a_merge_patch_merges_and_null_removes(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a", x="1", y="2"))
    patched = server.merge(
        f"{CONFIG_MAPS}/a", {"data": {"x": None, "z": "3"}, "metadata": {"labels": {"l": "v"}}}
    )
    assert patched["data"] == {"y": "2", "z": "3"}
    assert patched["metadata"]["labels"] == {"l": "v"}


def test_a_json_patch_is_all_or_nothing(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a", x="1"))
    operations = [
        {"op": "add", "path": "/data/y", "value": "2"},
        {"op": "test", "path": "/data/x", "value": "no"},
    ]
    answer = server.send("PATCH", f"{CONFIG_MAPS}/a", operations, content_type=JSON_PATCH)
    assert (answer.status, answer["reason"]) == (422, "Invalid")
    assert server.get(f"{CONFIG_MAPS}/a")["data"] == {"x": "1"}
    answer = server.send("PATCH", f"{CONFIG_MAPS}/a", operations[:1], content_type=JSON_PATCH)
    assert answer["data"] == {"x": "1", "y": "2"}


def test_a_strategic_patch_merges_containers_by_name(server: Client) -> None:
    server.create(DEPLOYMENTS, deployment("d"))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}
    answer = server.send("PATCH", f"{DEPLOYMENTS}/d", patch, content_type=STRATEGIC)
    containers = answer["spec"]["template"]["spec"]["containers"]
    assert [item["name"] for item in containers] == ["side", "main"]


def test_a_patch_of_an_unknown_kind_is_415(server: Client) -> None:
    server.create(CONFIG_MAPS, config_map("a"))
    answer = server.send("PATCH", f"{CONFIG_MAPS}/a", {}, content_type="application/json")
    assert (answer.status, answer["reason"]) == (415, "UnsupportedMediaType")


def test_a_patch_may_carry_the_version_that_it_was_made_for(server: Client) -> None:
    version = server.create(CONFIG_MAPS, config_map("a")).body["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"x": "1"}}
    assert server.merge(f"{CONFIG_MAPS}/a", patch).status == 200
    assert server.merge(f"{CONFIG_MAPS}/a", patch | {"data": {"x": "2"}}).status == 409


def test_generation_counts_what_is_wanted_only(server: Client) -> None:
    path = f"{DEPLOYMENTS}/d"
    assert server.create(DEPLOYMENTS, deployment("d"))["metadata"]["generation"] == 1
    assert server.merge(path, {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert server.merge(f"{path}/status", {"status": {"replicas": 3}})["metadata"]["generation"] == 1
    assert server.merge(path, {"spec": {"replicas": 3}})["metadata"]["generation"] == 2


def test_status_is_written_through_its_subresource_alone(server: Client) -> None:
    path = f"{DEPLOYMENTS}/d"
    server.create(DEPLOYMENTS, {**deployment("d"), "status": {"replicas": 9}})
    assert server.get(path)["status"] == {}
    server.merge(path, {"status": {"replicas": 9}})
    assert server.get(path)["status"] == {}
    change = {"status": {"replicas": 2}, "spec": {"replicas": 7}, "metadata": {"labels": {"a": "b"}}}
    server.merge(f"{path}/status", change)
    after = server.get(f"{path}/status").body
    assert (after["status"], after["spec"]["replicas"]) == ({"replicas": 2}, 1)
    assert "labels" not in after["metadata"]
    server.put(path, {**deployment("d"), "status": {}})
    assert server.get(path)["status"] == {"replicas": 2}


def test_a_pod_is_bound_to_a_node_once(server: Client) -> None:
    server.create(PODS, pod("p"))
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n1"}}
    assert server.create(f"{PODS}/p/binding", binding).status == 201
    bound = server.get(f"{PODS}/p").body
    assert bound["spec"]["nodeName"] == "n1"
    assert [(item["type"], item["status"]) for item in bound["status"]["conditions"]] == [
        ("PodScheduled", "True")
    ]
    again = server.create(f"{PODS}/p/binding", binding)
    assert (again.status, again["reason"]) == (409, "Conflict")


def test_a_workload_is_scaled_through_its_subresource(server: Client) -> None:
    server.create(DEPLOYMENTS, deployment("d"))
    scale = server.get(f"{DEPLOYMENTS}/d/scale").body
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "app=d"},
    )
    assert server.merge(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 4}})["spec"] == {"replicas": 4}
    after = server.get(f"{DEPLOYMENTS}/d").body
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (4, 2)
    assert "scale" in [entry.get("subresource") for entry in after["metadata"]["managedFields"]]
    scale["spec"]["replicas"] = 5
    assert server.put(f"{DEPLOYMENTS}/d/scale", scale).status == 409


def test_a_method_that_a_resource_lacks_is_405(server: Client) -> None:
    assert server.put(CONFIG_MAPS, config_map("a"))["reason"] == "MethodNotAllowed"


def test_a_collection_is_deleted_by_label(server: Client) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        obj = config_map(name)
        obj["metadata"]["labels"] = {"l": label}
        server.create(CONFIG_MAPS, obj)
    server.delete(CONFIG_MAPS, labelSelector="l=x")
    assert [item["metadata"]["name"] for item in server.get(CONFIG_MAPS)["items"]] == ["c"]
