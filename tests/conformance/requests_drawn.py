"""Hypothesis strategies for sequences of requests: mostly sensible ones, some wrong as people are."""

from __future__ import annotations

import copy
from typing import Any

from conformance.differential import API_VERSIONS
from hypothesis import strategies as st

from kaitoctl.kube.objects import Object

_CONTAINER = {"name": "main", "image": "web:1"}
_INIT = {"name": "init", "image": "i"}
_NODE_NAME = {"fieldRef": {"fieldPath": "spec.nodeName"}}
_METADATA: dict[str, list[Any]] = {
    "metadata.labels": [{"l": "v"}, {"l": "w", "m": "v"}, {}, None, {"l": "bad value!"}, {"l": 1}],
    "metadata.annotations": [{"a": "b"}, {"a": "c", "d": ""}, None],
    "metadata.finalizers": [["example.com/hold"], None, ["example.com/hold", "example.com/more"]],
    "metadata.unknown": ["x"],
    "metadata.generation": [7],
}
# For each kind, what may be said of a field.
VALUES: dict[str, dict[str, list[Any]]] = {
    "ConfigMap": {
        **_METADATA,
        "data": [{"a": "1"}, {"a": "2", "b": ""}, {}, None, {"a": 1}, {"no/key": "x"}, ["x"], {"a": None}],
        "data.a": ["1", "3", None],
        "binaryData": [{"x": "AAE="}, {"x": "no base64"}, None, {"a": "AAE="}],
        "immutable": [True, False, None, "yes"],
        "spec": [{"x": 1}],
    },
    "Deployment": {
        **_METADATA,
        "spec.replicas": [0, 1, 3, -1, "3", None, 1.5],
        "spec.paused": [True, False, None],
        "spec.minReadySeconds": [0, 5, -1],
        "spec.revisionHistoryLimit": [0, 3, None],
        "spec.progressDeadlineSeconds": [0, 30, None],
        "spec.strategy": [
            {"type": "Recreate"}, {"type": "RollingUpdate"}, {"type": "Other"}, {}, None,
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
            {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
        ],
        "spec.selector": [{"matchLabels": {"app": "x"}}, {"matchLabels": {"app": "y"}}, {}, None],
        "spec.template.metadata.labels": [{"app": "x"}, {"app": "x", "v": "2"}, {"app": "y"}, None],
        "spec.template.metadata.annotations": [{"a": "b"}, None],
        "spec.template.spec.containers": [
            [_CONTAINER], [{**_CONTAINER, "image": "web:2"}], [{"name": "side", "image": "side"}],
            [_CONTAINER, {"name": "side", "image": "side"}], [_CONTAINER, _CONTAINER], [], None,
            [{"name": "main"}], [{"image": "web:1"}], [{"name": "UPPER", "image": "web"}],
            [{**_CONTAINER, "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]}],
            [{**_CONTAINER, "ports": [{"containerPort": 80, "name": "http", "hostPort": 0}]}],
            [{**_CONTAINER, "env": [{"name": "A", "value": ""}, {"name": "B", "value": "$(A)"}]}],
            [{**_CONTAINER, "env": [{"name": "B", "valueFrom": _NODE_NAME}]}],
            [{**_CONTAINER, "resources": {"limits": {"cpu": "1000m", "nvidia.com/gpu": 1}}}],
            [{**_CONTAINER, "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}],
            [{**_CONTAINER, "resources": {"requests": {"memory": "0.5Gi"}}}],
            [{**_CONTAINER, "readinessProbe": {"httpGet": {"port": 80}}}],
            [{**_CONTAINER, "livenessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 0}}],
            [{**_CONTAINER, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            [{**_CONTAINER, "imagePullPolicy": "Sometimes"}], [{**_CONTAINER, "imagePullPolice": "Never"}],
            [{**_CONTAINER, "command": [], "args": ["a"], "securityContext": {}}],
        ],
        "spec.template.spec.initContainers": [[_INIT], [{"name": "main", "image": "i"}]],
        "spec.template.spec.volumes": [
            [{"name": "v", "emptyDir": {}}], [{"name": "v"}], [{"name": "v", "secret": {"secretName": "s"}}],
            [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}}],
            [{"name": "v"}, {"name": "v"}],
            [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}], None,
        ],
        "spec.template.spec.nodeSelector": [{"a": "b"}, {"c": "d"}, {}, None, {"a": "b c"}],
        "spec.template.spec.tolerations": [
            [{"key": "k", "operator": "Exists"}], [{"key": "k", "effect": "NoSchedule"}], [],
            [{"key": "k", "operator": "Exists", "value": "x"}],
        ],
        "spec.template.spec.restartPolicy": ["Always", "Never", None],
        "spec.template.spec.terminationGracePeriodSeconds": [0, 10, -1],
        "spec.template.spec.serviceAccountName": ["me", ""],
        "spec.template.spec.imagePullSecrets": [[{"name": "s"}], [{"name": "t"}]],
        "spec.template.spec.hostNetwork": [True, False],
        "spec.unknown": [1],
        "status.replicas": [1],
    },
    "Service": {
        **_METADATA,
        "spec.ports": [
            [{"port": 80}], [{"port": 80}, {"port": 81}],
            [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}],
            [{"port": 80, "targetPort": "http"}], [{"port": 0}], [], None, [{"port": 80, "protocol": "ICMP"}],
            [{"port": 80, "nodePort": 30123}], [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}],
            [{"port": "80"}], [{"port": 80, "targetPort": 0}], [{"port": 80, "appProtocol": "x"}],
        ],
        "spec.selector": [{"app": "x"}, {}, None, {"app": "y", "b": "c"}, {"app": "no value!"}],
        "spec.type": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Other", None],
        "spec.clusterIP": ["None", "", "10.96.0.300", None],
        "spec.externalName": ["example.org", None],
        "spec.sessionAffinity": ["ClientIP", "None", "Sometimes"],
        "spec.publishNotReadyAddresses": [True, False],
        "spec.externalIPs": [["1.2.3.4"], ["x"]],
        "spec.externalTrafficPolicy": ["Local", "Cluster"],
    },
    "Workspace": {
        **_METADATA,
        "resource": [{"labelSelector": {"matchLabels": {"a": "b"}}}, {}, None, {"count": 2}, "x"],
        "resource.instanceType": ["Standard_NC12s_v3", "", 7, None],
        "resource.count": [1, 2, -1, "2", None],
        "resource.preferredNodes": [["n1"], ["n1", "n1"], None],
        "resource.labelSelector": [{"matchLabels": {"a": "b"}}, {"matchLabels": {"c": "d"}}, None, {}],
        "inference": [{"preset": {"name": "phi-4"}}, None, {}, {"template": {"spec": {"x": 1}}}],
        "inference.preset": [{"name": "phi-4"}, {"name": "falcon-7b"}, {}, {"name": 3}, None],
        "inference.adapters": [
            [{"source": {"name": "a", "image": "i"}, "strength": "0.5"}], [{"source": {"name": "a"}}], [],
            None,
        ],
        "inference.unknown": [1],
        "status": [{"conditions": []}],
        "unknown": [{"a": "b"}],
    },
}  # fmt: skip
_OF_PODS = "spec.template.spec."
VALUES["Pod"] = {
    **_METADATA,
    **{
        f"spec.{path.removeprefix(_OF_PODS)}": values
        for path, values in VALUES["Deployment"].items()
        if path.startswith(_OF_PODS)
    },
    "spec.activeDeadlineSeconds": [1, 0, None],
    "spec.nodeName": ["n", None],
}
_BASES: dict[str, Object] = {
    "ConfigMap": {"data": {"a": "1"}},
    "Deployment": {
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [_CONTAINER]}},
        }
    },
    "Pod": {"spec": {"containers": [_CONTAINER]}},
    "Service": {"spec": {"ports": [{"port": 80}], "selector": {"app": "x"}}},
    "Workspace": {
        "resource": {"instanceType": "Standard_NC12s_v3", "labelSelector": {"matchLabels": {"a": "b"}}},
        "inference": {"preset": {"name": "phi-4"}},
    },
}


def _put(obj: Object, path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        below = obj.get(step)
        if not isinstance(below, dict):
            below = obj[step] = {}
        obj = below
    obj[last] = copy.deepcopy(value)


@st.composite
def _change(draw: st.DrawFn, kind: str, most: int = 2) -> Object:
    """Some fields of an object, said anew."""
    change: Object = {}
    for path in draw(st.lists(st.sampled_from(sorted(VALUES[kind])), min_size=1, max_size=most, unique=True)):
        _put(change, path, draw(st.sampled_from(VALUES[kind][path])))
    return change


@st.composite
def _object(draw: st.DrawFn, kind: str, name: str) -> Object:
    """A whole object."""
    obj = copy.deepcopy(_BASES[kind])
    obj.update(apiVersion=API_VERSIONS[kind], kind=kind)
    obj.setdefault("metadata", {})["name"] = name
    for path in draw(st.lists(st.sampled_from(sorted(VALUES[kind])), max_size=2, unique=True)):
        _put(obj, path, draw(st.sampled_from(VALUES[kind][path])))
    obj["metadata"]["name"] = name
    return obj


def _said(value: Any) -> Any:
    """Without nulls and empty maps: what an apply means by those, the sandbox does not try to know."""
    if isinstance(value, dict):
        return {key: said for key, item in value.items() if (said := _said(item)) not in (None, {})}
    return [_said(item) for item in value] if isinstance(value, list) else value


_VALIDATION = st.sampled_from([{}, {}, {"fieldValidation": "Strict"}, {"fieldValidation": "Ignore"}])
_DRY = st.sampled_from([{}, {}, {}, {}, {"dryRun": "All"}])
_NAMES = st.sampled_from(["a", "a", "a", "b"])
_VERBS = [
    "create", "create", "put", "put", "merge", "merge", "strategic", "strategic", "json", "apply", "apply",
    "apply", "delete", "get", "list", "status",
]  # fmt: skip


@st.composite
def step(draw: st.DrawFn, kind: str, verbs: list[str] | None = None) -> Object:
    """One request."""
    verb, name = draw(st.sampled_from(verbs or _VERBS)), draw(_NAMES)
    made: Object = {"kind": kind, "name": name, "verb": verb}
    query = {**draw(_DRY), **draw(_VALIDATION)}
    if verb == "create":
        made["body"] = draw(_object(kind, name))
        query["fieldManager"] = "creator"
    elif verb == "put":
        made["fresh"] = draw(st.booleans())
        made["body"] = draw(_change(kind)) if made["fresh"] else draw(_object(kind, name))
        query["fieldManager"] = draw(st.sampled_from(["creator", "editor"]))
    elif verb in ("merge", "strategic"):
        made["body"] = draw(_change(kind))
        query["fieldManager"] = draw(st.sampled_from(["creator", "editor"]))
    elif verb == "status":
        status = {"replicas": 2, "conditions": [{"type": "Ready", "status": "True"}]}
        made |= {"verb": "merge", "below": "/status", "body": {"status": draw(st.sampled_from([status, {}]))}}
        query["fieldManager"] = "controller"
    elif verb == "json":
        path = draw(st.sampled_from(sorted(VALUES[kind])))
        value = draw(st.sampled_from(VALUES[kind][path]))
        operation = draw(st.sampled_from(["add", "replace", "remove", "test"]))
        made["body"] = [{"op": operation, "path": "/" + path.replace(".", "/"), "value": value}]
        query["fieldManager"] = "editor"
    elif verb == "apply":
        made["body"] = draw(_object(kind, name)) if draw(st.booleans()) else {
            "apiVersion": API_VERSIONS[kind], "kind": kind, **draw(_change(kind, 3))
        }  # fmt: skip
        made["body"] = _said(made["body"])
        made["body"].setdefault("metadata", {})["name"] = name
        query["fieldManager"] = draw(st.sampled_from(["one", "two"]))
        if draw(st.booleans()):
            query["force"] = "true"
    elif verb == "delete":
        policy = draw(st.sampled_from(["", "Background", "Foreground", "Orphan"]))
        query = {"propagationPolicy": policy} if policy else {}
    elif verb == "list":
        query = draw(st.sampled_from([{}, {"labelSelector": "l=v"}, {"labelSelector": "l"}, {"limit": "1"}]))
    else:
        query = {}
    if query:
        made["query"] = query
    return made


@st.composite
def sequences(draw: st.DrawFn, most: int = 6) -> list[Object]:
    """Requests about objects of one kind; the first mostly creates one."""
    kind = draw(st.sampled_from(sorted(VALUES)))
    first = draw(step(kind, ["create", "apply"]))
    return [first, *draw(st.lists(step(kind), max_size=most - 1))]
