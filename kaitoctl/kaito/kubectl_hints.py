"""Commands of kubectl that show more and change nothing, where several rules advise them."""

from __future__ import annotations

from kaitoctl.advice import Command
from kaitoctl.kube.objects import Object


def describe(obj: Object) -> Command:
    """What the cluster says about an object."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    words = ("-n", str(namespace)) if namespace else ()
    return Command("kubectl describe", str(obj["kind"]).lower(), str(metadata["name"]), *words)


def pods_on(node: str) -> Command:
    """The pods of a node, of every namespace."""
    return Command("kubectl get pods -A --field-selector", f"spec.nodeName={node}")


def labels_of(node: str) -> Command:
    """The labels of a node."""
    return Command("kubectl get node", node, "--show-labels")
