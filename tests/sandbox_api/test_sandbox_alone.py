"""What only the sandbox's server does, or only there can be brought about; `conformance` has the rest."""

from __future__ import annotations

import json

from sandbox_api.serving import CONFIG_MAPS, PODS, Server, config_map, pod

from kaitoctl.kube import fast_json
from kaitoctl.sandbox.api import Api, Call, Response
from kaitoctl.sandbox.store import Store


def _names(answer: object) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]  # type: ignore[index]


def test_the_namespaces_of_a_new_cluster_exist(server: Server) -> None:
    names = [item["metadata"]["name"] for item in server.get("/api/v1/namespaces")["items"]]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]


def test_a_pods_log_comes_from_who_runs_pods(server: Server) -> None:
    server.create(PODS, pod("p"))
    server.api_server.api.pod_logs = lambda namespace, name, container: f"{namespace}/{name}\nlast\n"
    assert server.get(f"{PODS}/p/log").body == "default/p\nlast\n"
    assert server.get(f"{PODS}/p/log", tailLines="1").body == "last\n"


def test_what_is_not_a_number_is_the_clients_fault(server: Server) -> None:
    """Answered 500, it would be tried again, and the log would show an error of the sandbox."""
    bound = pod("p")
    bound["spec"]["nodeName"] = "n"
    server.create(PODS, bound)
    refused = server.get(f"{PODS}/p/log", tailLines="many")
    assert (refused.status, "tailLines" in refused["message"]) == (400, True)
    for wrong in ("soon", 1.5, True, [1]):
        assert server.delete(f"{PODS}/p", {"gracePeriodSeconds": wrong}).status == 400, wrong
    assert server.get(f"{PODS}/p").status == 200


def test_what_is_in_no_namespace_does_not_go_with_an_owner_that_is_in_one() -> None:
    api = Api()

    def send(method: str, path: str, body: object = None) -> Response:
        answer = api.answer(Call(method, path, body=b"" if body is None else fast_json.encode(body)))
        assert isinstance(answer, Response)
        return answer

    owner = json.loads(send("POST", CONFIG_MAPS, config_map("owner")).body)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "n", "ownerReferences": [reference]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
    assert send("POST", "/api/v1/nodes", node).status == 201
    assert send("DELETE", f"{CONFIG_MAPS}/owner").status == 200
    while api.garbage.collect(100):
        pass
    assert send("GET", "/api/v1/nodes/n").status == 200


def test_watches_end_when_the_server_stops(server: Server) -> None:
    stream = server.watch(CONFIG_MAPS)
    server._run(server.api_server.stop())
    assert stream.next() is None


def _forgetful() -> Api:
    api = Api(Store(history=5))
    for number in range(40):
        body = fast_json.encode(config_map(f"m{number:02}"))
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


def test_a_large_namespace_is_emptied_between_requests(server: Server) -> None:
    server.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    for number in range(300):
        server.create("/api/v1/namespaces/n/configmaps", config_map(f"m{number}"))
    stream = server.watch("/api/v1/namespaces", fieldSelector="metadata.name=n")
    server.delete("/api/v1/namespaces/n")
    assert [kind for kind, _ in stream.take(3)] == ["ADDED", "MODIFIED", "DELETED"]
    assert server.get("/api/v1/namespaces/n/configmaps")["items"] == []
