"""Commands of kubectl that several rules advise: they show more, or create what a Workspace names."""

from __future__ import annotations

from collections.abc import Sequence

from kaitoctl.advice import Command
from kaitoctl.kaito import api
from kaitoctl.kube.objects import Object


def resource_of(kind: str) -> str:
    """What kubectl calls a kind; with its group where others have a kind of that name, which it may take."""
    known = next((one for one in _SHARED_NAMES if one.kind == kind), None)
    return f"{known.plural}.{known.group}" if known else kind.lower()


# Cluster API and OpenShift have `machines`, HyperShift and OpenYurt `nodepools`. Kubernetes' own kinds, such
# as Knative's namesake `services`, are what kubectl takes first.
_SHARED_NAMES = (api.MACHINE, api.NODE_POOL)


def describe(obj: Object) -> Command:
    """What the cluster says about an object."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    words = ("-n", str(namespace)) if namespace else ()
    return Command("kubectl describe", resource_of(str(obj["kind"])), str(metadata["name"]), *words)


HUB_KEY = "HF_TOKEN"
_FROM = {
    "presetOptions.modelAccessSecret": f"--from-literal={HUB_KEY}=VALUE",
    "inference.config": "--from-file=inference_config.yaml=FILE",
    "tuning.config": "--from-file=training_config.yaml=FILE",
}
"""Under which key KAITO reads a ConfigMap or Secret, by the path that names it.

Source: KAITO v0.12.0 `pkg/workspace/inference/preset_inferences.go`, `api/v1beta1/*_config_validation.go`.
"""


def create(kind: str, name: str, namespace: str, *, path: str = "") -> Command:
    """How to create a `ConfigMap` or `Secret` that a path of the Workspace names; else of any keys."""
    if kind == "Secret":
        how = _FROM.get(path, "--from-literal=KEY=VALUE")
        return Command("kubectl create secret generic", name, "-n", namespace, how)
    return Command("kubectl create configmap", name, "-n", namespace, _FROM.get(path, "--from-file=FILE"))


def put_into_secret(name: str, namespace: str, key: str) -> Command:
    """How to give a Secret that exists a further key: what creates one refuses."""
    patch = f'{{"stringData":{{"{key}":"VALUE"}}}}'
    return Command("kubectl patch secret", name, "-n", namespace, "-p", patch)


def pods_on(node: str) -> Command:
    """The pods of a node, of every namespace."""
    return Command("kubectl get pods -A --field-selector", f"spec.nodeName={node}")


def endpoints_of(service: str, in_namespace: Sequence[str]) -> Command:
    """The EndpointSlices of a Service, with who writes them."""
    which = f"kubernetes.io/service-name={service}"
    return Command("kubectl get endpointslices", *in_namespace, "-l", which, "-o", "yaml")


def labels_of(node: str) -> Command:
    """The labels of a node."""
    return Command("kubectl get node", node, "--show-labels")
