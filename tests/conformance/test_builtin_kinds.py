"""What the built-in kinds fill in and refuse, as far as users and controllers notice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from sandbox_api.serving import CONFIG_MAPS, DEPLOYMENTS, PODS, Client, config_map, deployment, pod

from kaitoctl.kube.objects import Object

SERVICES = "/api/v1/namespaces/default/services"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"


def _service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def _job(name: str, **pod_spec: Any) -> Object:
    spec = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never", **pod_spec}
    return {"metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


def _stateful_set(name: str) -> Object:
    obj = deployment(name)
    obj.update(kind="StatefulSet")
    obj["spec"]["serviceName"] = name
    return obj


def test_a_deployment_gets_its_defaults(server: Client) -> None:
    spec = server.create(DEPLOYMENTS, deployment("d"))["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    template = spec["template"]["spec"]
    assert (template["restartPolicy"], template["dnsPolicy"]) == ("Always", "ClusterFirst")
    assert template["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("host:5000/a", "Always"),
        ("a:1", "IfNotPresent"),
        ("host:5000/a:1", "IfNotPresent"),
        ("a@sha256:0", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(server: Client, image: str, policy: str) -> None:
    obj = pod("p")
    obj["spec"]["containers"][0]["image"] = image
    assert server.create(PODS, obj)["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_pod_gets_its_defaults(server: Client) -> None:
    obj = pod("p")
    obj["spec"]["containers"][0] |= {
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}},
        "resources": {"limits": {"cpu": "1"}},
    }
    created = server.create(PODS, obj)
    container = created["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["resources"]["requests"] == {"cpu": "1"}
    assert created["status"] == {"phase": "Pending", "qosClass": "Burstable"}
    assert [item["effect"] for item in created["spec"]["tolerations"]] == ["NoExecute", "NoExecute"]


def test_a_service_gets_an_address_of_its_own_for_its_life(server: Client) -> None:
    first = server.create(SERVICES, _service("a"))["spec"]
    second = server.create(SERVICES, _service("b"))["spec"]
    assert first["clusterIP"].startswith("10.96.") and first["clusterIP"] != second["clusterIP"]
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert first["type"] == "ClusterIP"
    assert first["sessionAffinity"] == "None"
    assert first["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    replaced = server.put(f"{SERVICES}/a", _service("a", selector={"x": "y"}))
    assert replaced["spec"]["clusterIP"] == first["clusterIP"]
    refused = server.merge(f"{SERVICES}/a", {"spec": {"clusterIP": "10.96.9.9"}})
    assert refused.status == 422
    taken = server.create(SERVICES, _service("c", clusterIP=first["clusterIP"]))
    assert "provided IP is already allocated" in taken["message"]


def test_a_headless_service_has_no_address(server: Client) -> None:
    spec = server.create(SERVICES, {"metadata": {"name": "h"}, "spec": {"clusterIP": "None"}})["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_a_node_port_is_given_once(server: Client) -> None:
    ports = {
        server.create(SERVICES, _service(name, type="NodePort"))["spec"]["ports"][0]["nodePort"]
        for name in "ab"
    }
    assert len(ports) == 2
    assert all(30000 <= port < 32768 for port in ports)


def test_what_came_with_a_services_type_goes_with_it(server: Client) -> None:
    made = server.create(SERVICES, _service("a", type="LoadBalancer"))["spec"]
    assert made["externalTrafficPolicy"] == "Cluster"
    spec = server.merge(f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})["spec"]
    assert not {"externalTrafficPolicy", "allocateLoadBalancerNodePorts"} & spec.keys()
    assert "nodePort" not in spec["ports"][0]


def test_a_job_gets_a_selector_and_keeps_its_template(server: Client) -> None:
    job = server.create(JOBS, _job("j")).body
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "j"
    assert (job["spec"]["backoffLimit"], job["spec"]["completions"], job["spec"]["parallelism"]) == (6, 1, 1)
    changed = copy.deepcopy(job)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    refused = server.put(f"{JOBS}/j", changed)
    assert (refused.status, refused["details"]["causes"][0]["field"]) == (422, "spec.template")
    applied = {"apiVersion": "batch/v1", "kind": "Job", **_job("k")}
    server.apply(f"{JOBS}/k", applied)
    again = server.apply(f"{JOBS}/k", applied)
    assert server.apply(f"{JOBS}/k", applied).body == again.body


def test_a_jobs_pods_must_not_restart_always(server: Client) -> None:
    assert server.create(JOBS, _job("j", restartPolicy="Always")).status == 422


def test_a_stateful_set_can_change_few_things(server: Client) -> None:
    path = f"{STATEFUL_SETS}/s"
    spec = server.create(STATEFUL_SETS, _stateful_set("s"))["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    rolling = {"partition": 0, "maxUnavailable": 1}
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert server.merge(path, {"spec": {"replicas": 3}}).status == 200
    refused = server.merge(path, {"spec": {"serviceName": "other"}})
    assert (refused.status, refused["details"]["causes"][0]["field"]) == (422, "spec.serviceName")


def test_a_namespace_is_labelled_with_its_name(server: Client) -> None:
    labels = server.create("/api/v1/namespaces", {"metadata": {"name": "n"}})["metadata"]["labels"]
    assert labels == {"kubernetes.io/metadata.name": "n"}


def test_a_secret_is_written_in_plain_and_read_encoded(server: Client) -> None:
    path = "/api/v1/namespaces/default/secrets"
    secret = server.create(path, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (secret["data"], secret["type"]) == ({"a": "Yg=="}, "Opaque")
    assert server.create(path, {"metadata": {"name": "t"}, "data": {"a": "not base64"}}).status == 400


def _with_container(**fields: Any) -> Object:
    obj = pod("p")
    obj["spec"]["containers"] = [{"name": "c", "image": "i", **fields}]
    return obj


@pytest.mark.parametrize(
    ("path", "obj", "field", "message"),
    [
        (CONFIG_MAPS, config_map("Upper"), "metadata.name", "a DNS subdomain consists of"),
        (CONFIG_MAPS, config_map("a" * 254), "metadata.name", "must be no more than 253 characters"),
        (SERVICES, _service("a.b"), "metadata.name", "a DNS label has"),
        (
            PODS,
            pod("p", labels={"a": "b c"}),
            "metadata.labels",
            "a label's value has",
        ),
        (PODS, pod("p", labels={"-a": "b"}), "metadata.labels", "a key's name has"),
        (
            PODS,
            pod("p", ownerReferences=[{"name": "x"}]),
            "metadata.ownerReferences[0].uid",
            "Required value",
        ),
        (PODS, {**pod("p"), "spec": {}}, "spec.containers", "Required value"),
        (PODS, _with_container(image=""), "spec.containers[0].image", "Required value"),
        (
            PODS,
            _with_container(name="A"),
            "spec.containers[0].name",
            "a DNS label has",
        ),
        (
            PODS,
            _with_container(imagePullPolicy="x"),
            "spec.containers[0].imagePullPolicy",
            "Unsupported value",
        ),
        (
            PODS,
            _with_container(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
            "spec.containers[0].volumeMounts[0].name",
            'Not found: "v"',
        ),
        (
            PODS,
            _with_container(ports=[{"containerPort": 0}]),
            "spec.containers[0].ports[0].containerPort",
            "must be between",
        ),
        (
            PODS,
            _with_container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
            "spec.containers[0].resources.requests",
            "must be less than or equal to cpu limit of 1",
        ),
        (
            PODS,
            _with_container(resources={"requests": {"nvidia.com/gpu": "1"}}),
            "spec.containers[0].resources.limits",
            "Limit must be set for non overcommitable resources",
        ),
        (
            PODS,
            _with_container(
                resources={"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "1"}}
            ),
            "spec.containers[0].resources.requests",
            "must be equal to nvidia.com/gpu limit of 2",
        ),
        (
            PODS,
            _with_container(resources={"limits": {"nvidia.com/gpu": "500m"}}),
            "spec.containers[0].resources.limits[nvidia.com/gpu]",
            "must be an integer",
        ),
        (DEPLOYMENTS, deployment("d", selector=None), "spec.selector", "Required value"),
        (DEPLOYMENTS, deployment("d", selector={}), "spec.selector", "empty selector is invalid"),
        (
            DEPLOYMENTS,
            deployment("d", selector={"matchLabels": {"a": "b"}}),
            "spec.template.metadata.labels",
            "`selector` does not match template `labels`",
        ),
        (DEPLOYMENTS, deployment("d", replicas=-1), "spec.replicas", "must be greater than or equal to 0"),
        (DEPLOYMENTS, deployment("d", strategy={"type": "x"}), "spec.strategy", "Unsupported value"),
        (SERVICES, {"metadata": {"name": "s"}, "spec": {}}, "spec.ports", "Required value"),
        (SERVICES, _service("s", ports=[{"port": 1}, {"port": 2}]), "spec.ports[0].name", "Required value"),
        (SERVICES, _service("s", clusterIP="1.2.3.4"), "spec.clusterIPs", "is not in the valid range"),
        (CONFIG_MAPS, config_map("c", **{"a/b": "x"}), "data[a/b]", "a key has letters"),
    ],
)
def test_what_breaks_the_rules_is_422_and_says_where(
    server: Client, path: str, obj: Object, field: str, message: str
) -> None:
    answer = server.create(path, obj)
    assert (answer.status, answer["reason"]) == (422, "Invalid"), answer.body
    causes = {cause["field"]: cause["message"] for cause in answer["details"]["causes"]}
    assert field in causes
    assert message in causes[field] or not server.own_words


def test_container_names_are_unique_even_across_init_containers(server: Client) -> None:
    obj = pod("p")
    obj["spec"]["initContainers"] = [{"name": "main", "image": "i"}]
    (cause,) = server.create(PODS, obj)["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldValueDuplicate", "spec.initContainers[0].name")


@pytest.mark.parametrize(
    ("path", "obj"),
    [
        (PODS, {**pod("p"), "spec": {"containers": "none"}}),
        (PODS, {**pod("p"), "spec": 3}),
        (PODS, {**pod("p"), "metadata": {"name": "p", "labels": ["a"]}}),
        (PODS, {**pod("p"), "metadata": {"name": "p", "ownerReferences": "x"}}),
        (PODS, {**pod("p"), "metadata": {"name": 7}}),
        (PODS, {**pod("p"), "metadata": {"name": "p", "finalizers": [{}]}}),
        (DEPLOYMENTS, deployment("d", replicas="three")),
        (DEPLOYMENTS, deployment("d", selector={"matchExpressions": [{"key": "a", "operator": "Like"}]})),
        (DEPLOYMENTS, deployment("d", template=[])),
        (SERVICES, _service("s", ports={"a": 1})),
        (CONFIG_MAPS, {"metadata": {"name": "c"}, "data": ["x"]}),
        (JOBS, {"metadata": {"name": "j"}, "spec": {"template": None}}),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_not_crashed_on(server: Client, path: str, obj: Object) -> None:
    assert server.create(path, obj).status in (400, 422)


def test_a_selector_is_for_ever(server: Client) -> None:
    server.create(DEPLOYMENTS, deployment("d"))
    change = {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}
    answer = server.merge(f"{DEPLOYMENTS}/d", {"spec": change})
    assert answer.status == 422
    assert "spec.selector" in [cause["field"] for cause in answer["details"]["causes"]]


def test_a_pods_spec_is_frozen_but_for_its_images(server: Client) -> None:
    server.create(PODS, pod("p"))
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "other:1"}]
    assert server.send("PATCH", f"{PODS}/p", image, content_type="application/json-patch+json").status == 200
    refused = server.merge(f"{PODS}/p", {"spec": {"hostNetwork": True}})
    assert (refused.status, refused["details"]["causes"][0]["field"]) == (422, "spec")


@pytest.mark.parametrize(
    ("path", "obj", "message"),
    [
        (PODS, pod("p", labels={"a": 1}), "metadata.labels.a: cannot read a number"),
        (PODS, _with_container(env=[{"name": "A", "value": 1}]), "spec.containers[0].env[0].value: cannot"),
        (PODS, _with_container(resources={"limits": {"cpu": "lots"}}), "limits.cpu: cannot read a string"),
        (
            PODS,
            _with_container(stdin="yes"),
            "spec.containers[0].stdin: cannot read a string ('yes') as a bool",
        ),
        (DEPLOYMENTS, deployment("d", replicas="3"), "spec.replicas: cannot read a string ('3')"),
        (DEPLOYMENTS, deployment("d", replicas=1 << 31), "spec.replicas: cannot read a number"),
        (DEPLOYMENTS, deployment("d", template=[]), "spec.template: cannot read a list as an object"),
        (PODS, pod("p", creationTimestamp="yesterday"), "metadata.creationTimestamp: cannot read"),
    ],
)
def test_a_value_of_another_type_is_400_and_says_where(
    server: Client, path: str, obj: Object, message: str
) -> None:
    answer = server.create(path, obj)
    assert (answer.status, answer["reason"]) == (400, "BadRequest")
    assert message in answer["message"] or not server.own_words


def test_unknown_fields_of_built_in_kinds_are_dropped_warned_about_or_refused(server: Client) -> None:
    obj = _with_container(imagePullPolice="Never")
    made = server.create(PODS, obj)
    assert "imagePullPolice" not in made["spec"]["containers"][0]
    assert made.headers["Warning"] == '299 - "unknown field \\"spec.containers[0].imagePullPolice\\""'
    refused = server.create(PODS, obj, fieldValidation="Strict")
    assert refused.status == 400
    assert 'strict decoding error: unknown field "spec.containers[0].imagePullPolice"' in refused["message"]
    applied = server.apply(f"{PODS}/p", {**obj, "apiVersion": "v1", "kind": "Pod"})
    assert "field not declared in schema" in applied["message"]


def test_a_built_in_object_is_kept_as_its_type_writes_it(server: Client) -> None:
    """What says nothing is left out, structs are there, quantities and lists are canonical."""
    container = {"name": "c", "image": "i", "stdin": False, "args": [], "env": [{"name": "A", "value": ""}]}
    limits = {"cpu": "1000m", "memory": "1024Mi", "ephemeral-storage": 1_500_000}
    obj = pod("p", labels={})
    obj["spec"]["containers"] = [{**container, "resources": {"limits": limits}}]
    made = server.create(PODS, obj)["spec"]["containers"][0]
    assert made.keys().isdisjoint({"stdin", "args"})
    assert made["env"] == [{"name": "A"}]
    assert made["resources"]["limits"] == {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1500k"}
