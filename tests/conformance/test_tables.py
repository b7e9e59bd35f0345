"""What `kubectl get` prints, with `-o wide` and without: the sandbox's Tables are a real server's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conformance.inprocess import InProcess
from conformance.real import viewed
from controlplane.plane import ControlPlane
from sandbox_api.serving import Client, widget, widget_crd

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.builtin import BUILTIN

_TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def _of(group: str, plural: str) -> str:
    root = f"/apis/{group}/v1" if group else "/api/v1"
    return f"{root}/namespaces/default/{plural}"


_LONG_AGO = "2020-01-01T00:00:00Z"
_CONTAINER = {"name": "c", "image": "i:1"}
_TEMPLATE: Object = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [_CONTAINER, {"name": "d", "image": "j"}]},
}
_APPS = {"selector": {"matchLabels": {"app": "x"}}, "template": _TEMPLATE}
_NODE_INFO = {
    "kubeletVersion": "v1",
    "osImage": "Linux",
    "kernelVersion": "6",
    "containerRuntimeVersion": "c",
}
_RBAC = "rbac.authorization.k8s.io"
_ROLE = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "r"}
_USER, _GROUP = ({"kind": kind, "apiGroup": _RBAC, "name": "u"} for kind in ("User", "Group"))
_RESTARTED = {
    "name": "c",
    "image": "i",
    "imageID": "x",
    "ready": True,
    "restartCount": 2,
    "state": {"running": {}},
    "lastState": {"terminated": {"exitCode": 1, "finishedAt": _LONG_AGO}},
}


def _job(**spec: Any) -> Object:
    return {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [_CONTAINER]}}, **spec}}


def _service(**spec: Any) -> Object:
    return {"spec": {"ports": [{"port": 80}], **spec}}


# What is created, and the status that it gets.
SAMPLES: dict[str, tuple[str, Object, Object | None]] = {
    "a pod that has restarted": (
        _of("", "pods"),
        {"spec": {"containers": [_CONTAINER]}},
        {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [_RESTARTED]},
    ),
    "a pod that waits for a gate": (
        _of("", "pods"),
        {"spec": {"containers": [_CONTAINER], "readinessGates": [{"conditionType": "x.y/z"}]}},
        None,
    ),
    "a Service": (
        _of("", "services"),
        _service(
            ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b", "protocol": "UDP"}],
            selector={"a": "b"},
        ),
        None,
    ),
    "a load balancer with an address": (
        _of("", "services"), _service(type="LoadBalancer", externalIPs=["1.2.3.4"]), None
    ),
    "a load balancer without": (_of("", "services"), _service(type="LoadBalancer"), None),
    "an external name": (
        _of("", "services"),
        {"spec": {"type": "ExternalName", "externalName": "a.b"}},
        None,
    ),
    "a headless Service": (
        _of("", "services"),
        _service(clusterIP="None", selector={"c": "d", "a": "b"}),
        None,
    ),
    "a Deployment": (
        _of("apps", "deployments"),
        {"spec": {**_APPS, "replicas": 3}},
        {"replicas": 3, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1},
    ),
    "a ReplicaSet": (_of("apps", "replicasets"), {"spec": _APPS}, None),
    "a StatefulSet": (_of("apps", "statefulsets"), {"spec": {**_APPS, "serviceName": "x"}}, None),
    "a DaemonSet": (_of("apps", "daemonsets"), {"spec": _APPS}, None),
    "a ControllerRevision": (_of("apps", "controllerrevisions"), {"revision": 3, "data": {"a": 1}}, None),
    "a Job that runs": (_of("batch", "jobs"), _job(), {"startTime": _LONG_AGO, "active": 1}),
    "a Job of three": (_of("batch", "jobs"), _job(parallelism=3), None),
    "a ConfigMap": (_of("", "configmaps"), {"data": {"a": "b"}, "binaryData": {"x": "AAE="}}, None),
    "a Secret": (_of("", "secrets"), {"data": {"a": "AAE="}}, None),
    "a ServiceAccount": (_of("", "serviceaccounts"), {}, None),
    "Endpoints": (
        _of("", "endpoints"),
        {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}]},
        None,
    ),
    "no Endpoints": (_of("", "endpoints"), {}, None),
    "an EndpointSlice": (
        _of("discovery.k8s.io", "endpointslices"),
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
            "ports": [{"port": 80, "name": "a"}],
        },
        None,
    ),
    "a claim": (
        _of("", "persistentvolumeclaims"),
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "resources": {"requests": {"storage": "1Gi"}},
            }
        },
        None,
    ),
    "a volume": (
        "/api/v1/persistentvolumes",
        {
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
                "hostPath": {"path": "/x"},
                "storageClassName": "fast",
            }
        },
        None,
    ),
    "a StorageClass": ("/apis/storage.k8s.io/v1/storageclasses", {"provisioner": "x.y/z"}, None),
    "a budget by number": (
        _of("policy", "poddisruptionbudgets"), {"spec": {"minAvailable": 1, "selector": {}}}, None
    ),
    "a budget by share": (
        _of("policy", "poddisruptionbudgets"), {"spec": {"maxUnavailable": "20%", "selector": {}}}, None
    ),
    "a PriorityClass": ("/apis/scheduling.k8s.io/v1/priorityclasses", {"value": 7}, None),
    "a Role": (_of(_RBAC, "roles"), {}, None),
    "a RoleBinding": (
        _of(_RBAC, "rolebindings"),
        {
            "roleRef": _ROLE,
            "subjects": [_USER, _GROUP, {"kind": "ServiceAccount", "name": "a", "namespace": "n"}],
        },
        None,
    ),
    "a ClusterRole": (f"/apis/{_RBAC}/v1/clusterroles", {}, None),
    "a ClusterRoleBinding": (f"/apis/{_RBAC}/v1/clusterrolebindings", {"roleRef": _ROLE}, None),
    "a Lease": (_of("coordination.k8s.io", "leases"), {"spec": {"holderIdentity": "me"}}, None),
    "a Node": (
        "/api/v1/nodes",
        {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}, "spec": {"unschedulable": True}},
        {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
            "nodeInfo": _NODE_INFO,
        },
    ),
    "a Namespace": ("/api/v1/namespaces", {}, None),
    "an Event": (
        _of("", "events"),
        {
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "fieldPath": "spec"},
            "type": "Normal",
            "reason": "R",
            "message": "M\n",
            "count": 3,
            "source": {"component": "k", "host": "h"},
            "firstTimestamp": _LONG_AGO,
            "lastTimestamp": _LONG_AGO,
        },
        None,
    ),
    "a custom resource": ("/apis/example.com/v1/namespaces/default/widgets", widget("sample"), None),
}  # fmt: skip


def _table(client: Client, path: str, obj: Object, status: Object | None) -> tuple[Any, Any]:
    """The columns, and the cells without what is each server's own."""
    if path.startswith("/apis/example.com"):
        client.define(widget_crd())
    created = client.create(path, {**obj, "metadata": {"name": "sample", **(obj.get("metadata") or {})}})
    assert created.status == 201, created.body
    if status:
        assert client.merge(f"{path}/sample/status", {"status": status}).status == 200
    table = client.send("GET", f"{path}/sample", headers=_TABLE)
    assert table["kind"] == "Table"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    fields = ("name", "type", "format", "priority")
    columns = [tuple(column[field] for field in fields) for column in table["columnDefinitions"]]
    own = r"10\.96\.\d+\.\d+|(?<=:)3\d{4}(?=/)|[0-9a-f-]{36}|^\d+s$|\b20[^0]\d-\d\d-\d\dT[\d:]+Z"
    cells = [re.sub(own, "*", cell) if isinstance(cell, str) else cell for cell in table["rows"][0]["cells"]]
    return columns, cells


@pytest.mark.parametrize("name", SAMPLES)
def test_a_table_is_a_real_servers(bare_control_plane: ControlPlane, name: str) -> None:
    with viewed(bare_control_plane) as view:
        real = _table(view, *SAMPLES[name])
    assert _table(InProcess(), *SAMPLES[name]) == real


def test_there_is_a_sample_of_every_kind() -> None:
    sampled = {path.rpartition("/")[2] for path, _, _ in SAMPLES.values()}
    assert {resource.kind.plural for resource in BUILTIN} - sampled == {"customresourcedefinitions"}
