"""The server around the API: who may come in, restarts, large and broken requests, discovery."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox_api.serving import (
    CONFIG_MAPS,
    CRDS,
    DEPLOYMENTS,
    PODS,
    WIDGETS,
    Server,
    config_map,
    deployment,
    pod,
    process_on,
    running,
    widget,
    widget_crd,
)

from kaitoctl.errors import InputError
from kaitoctl.sandbox.server import ApiServer


def _raw(server: Server, path: str, **headers: str) -> tuple[int, str]:
    connection = server.connection()
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_it_listens_on_loopback_only(server: Server) -> None:
    assert server.api_server.address.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic abc", "Bearer", "Bearer \xe9"])
def test_without_the_token_it_is_401(server: Server, authorization: str) -> None:
    status, body = _raw(server, CONFIG_MAPS, **({"Authorization": authorization} if authorization else {}))
    assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")


def test_health_is_everybodys_business(server: Server) -> None:
    assert _raw(server, "/healthz") == (200, "ok")
    assert server.get("/readyz?verbose").body == "ok"


def test_the_kubeconfigs_address_carries_the_token_for_who_sends_none_without_tls(server: Server) -> None:
    kubeconfig = server.api_server.kubeconfig()
    address = kubeconfig["clusters"][0]["cluster"]["server"]
    prefix = address.removeprefix(server.api_server.address)
    status, body = _raw(server, f"{prefix}{CONFIG_MAPS}")
    assert (status, json.loads(body)["kind"]) == (200, "ConfigMapList")
    assert _raw(server, f"/wrong{CONFIG_MAPS}")[0] == 401


def test_browsers_and_foreign_hosts_are_refused_even_with_the_token(server: Server) -> None:
    token = {"Authorization": f"Bearer {server.api_server.token}"}
    assert _raw(server, "/version", **token, Origin="http://evil.example")[0] == 403
    assert _raw(server, "/version", **token, Host="evil.example:80")[0] == 403
    assert _raw(server, "/healthz", Host="evil.example:80")[0] == 403
    assert _raw(server, f"/{server.api_server.token}/version", Origin="http://evil.example")[0] == 403
    assert _raw(server, "/version", **token, Host=f"localhost:{server.port}")[0] == 200


def test_a_body_that_is_too_large_is_413(server: Server) -> None:
    answer = server.send("POST", CONFIG_MAPS, b'{"a":"' + b"x" * (3 * 1024 * 1024) + b'"}')
    assert (answer.status, answer["reason"]) == (413, "RequestEntityTooLarge")


def test_a_path_of_the_wrong_kind_is_404_and_the_server_lives(server: Server) -> None:
    for path in (
        "/api/v1/namespaces/a%2Fb/pods",
        "//",
        "/apis/apps/v1/namespaces//deployments",
        "/api//v1",
        "/%00",
    ):
        assert server.get(path).status in (200, 400, 404)
    assert server.get("/version")["major"] == "1"


def test_discovery_comes_in_both_forms(server: Server) -> None:
    server.create(CRDS, widget_crd())
    assert server.get("/api")["versions"] == ["v1"]
    groups = {group["name"] for group in server.get("/apis")["groups"]}
    assert {"apps", "batch", "coordination.k8s.io", "example.com"} <= groups
    names = {item["name"]: item for item in server.get("/apis/example.com/v1")["resources"]}
    assert set(names) == {"widgets", "widgets/status"}
    assert names["widgets"]["shortNames"] == ["wd"]
    assert {"pods/log", "pods/binding", "pods/status"} <= {
        item["name"] for item in server.get("/api/v1")["resources"]
    }
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = server.send("GET", "/apis", headers={"Accept": accept})
    assert aggregated.headers["Content-Type"] == accept
    (custom,) = [item for item in aggregated["items"] if item["metadata"]["name"] == "example.com"]
    (resource,) = custom["versions"][0]["resources"]
    assert (resource["resource"], resource["scope"]) == ("widgets", "Namespaced")
    assert resource["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Widget"}


def test_lists_come_as_tables_for_who_prints_them(server: Server) -> None:
    server.create(PODS, pod("p"))
    server.create(DEPLOYMENTS, deployment("d"))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    listed = server.send("GET", PODS, headers=accept)
    assert [column["name"] for column in listed["columnDefinitions"]][:4] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
    ]
    assert listed["rows"][0]["cells"][:4] == ["p", "0/1", "Pending", "0"]
    assert server.send("GET", f"{DEPLOYMENTS}/d", headers=accept)["rows"][0]["cells"][:2] == ["d", "0/1"]
    crd = widget_crd()
    crd["spec"]["versions"][0]["additionalPrinterColumns"] = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "First", "type": "string", "jsonPath": ".spec.tags[0]"},
    ]
    server.create(CRDS, crd)
    server.create(WIDGETS, widget("w", tags=["x"]))
    assert server.send("GET", WIDGETS, headers=accept)["rows"][0]["cells"] == ["w", 1, "", "x"]


def test_everybody_may_do_everything(server: Server) -> None:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"x": 1}}
    answer = server.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert (answer.status, answer["status"]) == (201, {"allowed": True})


# --- restarts ---


def test_everything_survives_a_restart(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    state = tmp_path / "deep" / "state.db"
    with running(state) as server:
        server.create(CRDS, widget_crd())
        w = server.create(WIDGETS, widget("w")).body
        server.create(CONFIG_MAPS, config_map("gone"))
        server.delete(f"{CONFIG_MAPS}/gone")
        service = server.create(
            "/api/v1/namespaces/default/services",
            {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}},
        )
        last = server.get(CONFIG_MAPS).version
    server = start(state)
    assert server.get(CONFIG_MAPS).version == last
    assert server.get(f"{WIDGETS}/w").body == w
    assert server.get(f"{CONFIG_MAPS}/gone").status == 404
    assert server.create(CONFIG_MAPS, config_map("new")).version == last + 1
    other = server.create(
        "/api/v1/namespaces/default/services", {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 1}]}}
    )
    assert other["spec"]["clusterIP"] != service["spec"]["clusterIP"]


def test_a_watch_goes_on_after_a_restart_or_is_told_to_list(
    tmp_path: Path, start: Callable[[Path], Server]
) -> None:
    state = tmp_path / "state.db"
    with running(state) as server:
        old = server.create(CONFIG_MAPS, config_map("a")).version
        last = server.create(CONFIG_MAPS, config_map("b")).version
    server = start(state)
    on = server.watch(CONFIG_MAPS, resourceVersion=str(last))
    server.create(CONFIG_MAPS, config_map("c"))
    assert on.take(1) == [("ADDED", "c")]
    event = server.watch(CONFIG_MAPS, resourceVersion=str(old)).next()
    assert event is not None
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_garbage_is_collected_across_a_restart(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    state = tmp_path / "state.db"
    with running(state) as server:
        uid = server.create(CONFIG_MAPS, config_map("owner"))["metadata"]["uid"]
        child = config_map("child")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
        child["metadata"]["ownerReferences"] = [reference]
        server.create(CONFIG_MAPS, child)
    server = start(state)
    server.delete(f"{CONFIG_MAPS}/owner")
    assert server.get(CONFIG_MAPS)["items"] == []


def test_what_was_answered_survives_kill_9(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    state = tmp_path / "state.db"
    versions = []
    with process_on(state) as (process, client):
        for number in range(20):
            versions.append(client.create(CONFIG_MAPS, config_map(f"m{number}")).version)
        os.kill(process.pid, signal.SIGKILL)
    server = start(state)
    listed = server.get(CONFIG_MAPS)
    assert len(listed["items"]) == 20
    assert listed.version == versions[-1]


def test_two_servers_cannot_share_a_state(tmp_path: Path) -> None:
    with running(tmp_path / "state.db"), pytest.raises(InputError, match="cannot be used"):
        ApiServer(state=tmp_path / "state.db")


def test_a_state_of_another_kind_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="damaged: file is not a database"):
        ApiServer(state=tmp_path / "text")
    with sqlite3.connect(tmp_path / "newer") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(InputError, match="newer"):
        ApiServer(state=tmp_path / "newer")
