"""What a custom pod template (`inference.template`) becomes."""

from __future__ import annotations

from kaitoctl.kaito.desired.children import child_object, one_pod_a_node, replicas, serving_labels
from kaitoctl.kaito.desired.placement import node_affinity, tolerations, with_node_affinity
from kaitoctl.kaito.desired.services import service
from kaitoctl.kaito.image_generations import ImageGeneration
from kaitoctl.kaito.node_check import TOLERATIONS
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import DEPLOYMENT, SERVICE, STATEFUL_SET, Kind, Object, copy_of


def refusal(template: Object, settings: Settings) -> str:
    """The API does not look into a template, so the parts that are used here are checked here."""
    from kaitoctl.kaito import custom_pod
    from kaitoctl.kube import schema

    wrapped = {"type": "object", "properties": {"template": _TEMPLATE_SCHEMA}}
    for problem in schema.problems({"template": template}, wrapped):
        return f"inference.{problem.path}: {problem.message}"
    return custom_pod.refusal(template, settings)


def _map(*required: str, **properties: Object) -> Object:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _list(items: Object, least: int = 0) -> Object:
    return {"type": "array", "items": items, "minItems": least}


_PORT: Object = _map(
    "containerPort",
    containerPort={"type": "integer", "minimum": 1, "maximum": 65535},
    protocol={"type": "string", "enum": ["TCP", "UDP", "SCTP"]},
)

_NODE_TERM: Object = _map(matchExpressions=_list(_map()), matchFields=_list(_map()))

_TEXT_MAP: Object = {"type": "object", "additionalProperties": {"type": "string"}}

_TEMPLATE_SCHEMA: Object = _map(
    "spec",
    metadata=_map(labels=_TEXT_MAP, annotations=_TEXT_MAP),
    spec=_map(
        "containers",
        containers=_list(_map("name", name={"type": "string"}, ports=_list(_PORT)), least=1),
        tolerations=_list(_map()),
        affinity=_map(
            nodeAffinity=_map(
                requiredDuringSchedulingIgnoredDuringExecution=_map(nodeSelectorTerms=_list(_NODE_TERM))
            )
        ),
    ),
)


def objects(workspace: Object, generation: ImageGeneration, settings: Settings) -> list[tuple[Kind, Object]]:
    """The workload of a custom pod, and a Service for its ports."""
    template = workspace["inference"]["template"]
    ports = _template_ports(template)
    if generation.workload is STATEFUL_SET:
        made = (STATEFUL_SET, template_stateful_set(workspace, template, settings))
    else:
        made = (DEPLOYMENT, template_deployment(workspace, template, settings))
    return ([(SERVICE, service(workspace, ports=ports))] if ports else []) + [made]


def template_deployment(workspace: Object, template: Object, settings: Settings) -> Object:
    """The Deployment of a custom pod: the user's template, placed on the Workspace's nodes.

    The user's own labels, tolerations and affinity stay (KAITO overwrites the affinity); a token of the API
    is mounted only where the operator allows the ServiceAccount.
    """
    affinity = node_affinity(workspace, provisioner=settings.provisioner)
    pod = _place(template, settings, list(map(dict, TOLERATIONS)), affinity)
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **serving_labels(workspace)}
    return one_pod_a_node(workspace, pod)


def template_stateful_set(workspace: Object, template: Object, settings: Settings) -> Object:
    """The StatefulSet that KAITO v0.12 makes of a custom pod: without Service, one pod after another.

    Source: KAITO v0.12.0 `pkg/workspace/manifests/manifests.go`, GenerateManifestWithPodTemplate.
    """
    labels = serving_labels(workspace)
    pod = _place(template, settings, tolerations(workspace, settings), node_affinity(workspace, settings))
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
    spec = {"replicas": replicas(workspace), "selector": {"matchLabels": labels}, "template": pod}
    return child_object(STATEFUL_SET, workspace, spec)


def _place(template: Object, settings: Settings, tolerated: list[Object], affinity: Object) -> Object:
    from kaitoctl.kaito import custom_pod

    pod = copy_of(template)
    metadata = pod.get("metadata") or {}
    spec = pod["spec"]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *tolerated]
    if affinity:
        spec["affinity"] = with_node_affinity(spec.get("affinity") or {}, affinity)
    if not custom_pod.may_have_token(spec, settings):
        spec["automountServiceAccountToken"] = False
    kept = {key: value for key, value in metadata.items() if key in ("annotations", "labels") and value}
    return {"metadata": kept, "spec": spec}


def _template_ports(template: Object) -> list[Object]:
    """Service ports for the container ports of a custom pod; the first one answers on port 80.

    KAITO v0.3.2 gives a custom pod no Service at all.
    """
    found: dict[tuple[int, str], Object] = {}
    for container in template["spec"]["containers"]:
        for port in container.get("ports") or ():
            number, protocol = port["containerPort"], port.get("protocol") or "TCP"
            name, outside = (f"{protocol.lower()}-{number}", number) if found else ("http", 80)
            found.setdefault(
                (outside, protocol),
                {"name": name, "protocol": protocol, "port": outside, "targetPort": number},
            )
    return list(found.values())
