"""Who else writes a Workspace: what made it, and would undo what is changed by hand. Pure.

Owners of Kubernetes' own kind stand in `metadata.ownerReferences`; tools that apply manifests leave labels or
annotations. Neither stops a write: the change holds until its owner writes the Workspace again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kube.objects import Object, annotations_of, controller_of, key_of, labels_of


class Owner(Struct, frozen=True):
    """Somebody who writes the Workspace, too.

    Args:
        what: `InferenceSet falcons`, `Helm release models in namespace ai`.
        instead: what to change so that the change stays.
    """

    what: str
    instead: Advice


class _Mark(Struct, frozen=True):
    """What a tool leaves on the objects that it applies.

    Args:
        key: of the label or annotation.
        what: the owner in words; `{}` is the mark's value, `{in_namespace}` where the owner is.
        instead: what to change; `{}` as above.
        namespace_key: of the label or annotation with the owner's namespace.
        name: how the owner's name is read from the value.
        only: the values that count; empty for any.
    """

    key: str
    what: str
    instead: str
    namespace_key: str = ""
    name: Callable[[str], str] = str
    only: tuple[str, ...] = ()


_MARKS = (
    # KAITO v0.12, pkg/utils/consts: WorkspaceCreatedByInferenceSetLabel.
    _Mark("inferenceset.kaito.sh/created-by", "InferenceSet {}", "change InferenceSet {}"),
    # Flux, kustomize-controller and helm-controller: the labels of what they apply.
    _Mark(
        "kustomize.toolkit.fluxcd.io/name",
        "Flux Kustomization {}{in_namespace}",
        "change the manifest in its git repository",
        "kustomize.toolkit.fluxcd.io/namespace",
    ),
    _Mark(
        "helm.toolkit.fluxcd.io/name",
        "Flux HelmRelease {}{in_namespace}",
        "change its values",
        "helm.toolkit.fluxcd.io/namespace",
    ),
    # Argo CD, docs/user-guide/resource_tracking.md: APPLICATION:GROUP/KIND:NAMESPACE/NAME, or the label.
    _Mark(
        "argocd.argoproj.io/tracking-id",
        "Argo CD Application {}",
        "change the manifest in its git repository",
        name=lambda value: value.partition(":")[0].rpartition("_")[2],
    ),
    _Mark(
        "argocd.argoproj.io/instance", "Argo CD Application {}", "change the manifest in its git repository"
    ),
    # Helm, pkg/action/validate.go: the annotations by which a release knows its own.
    _Mark(
        "meta.helm.sh/release-name",
        "Helm release {}{in_namespace}",
        "change its values and upgrade it",
        "meta.helm.sh/release-namespace",
    ),
    # Rancher Fleet and others on wrangler, pkg/apply: the owner of the set that an object is in.
    _Mark("objectset.rio.cattle.io/owner-name", "{} (Rancher)", "change what it is made from"),
    # Carvel kapp: the app's id; Config Sync: `enabled` on what it manages.
    _Mark("kapp.k14s.io/app", "kapp app {}", "change the manifests that the app is deployed from"),
    _Mark(
        "configmanagement.gke.io/managed",
        "Config Sync",
        "change the manifest in its repository",
        only=("enabled",),
    ),
    # kubectl apply --prune --applyset, and cli-utils' inventories (kpt).
    _Mark("applyset.kubernetes.io/part-of", "the apply set {}", "change the manifest that is applied"),
    _Mark("config.k8s.io/owning-inventory", "the inventory {}", "change the package that is applied"),
    # Kubernetes addon manager: Reconcile, not EnsureExists.
    _Mark(
        "addonmanager.kubernetes.io/mode",
        "the addon manager",
        "change the manifest on the control plane",
        only=("Reconcile",),
    ),
    _Mark("app.oam.dev/name", "KubeVela application {}", "change the application"),
    _Mark("crossplane.io/composite", "Crossplane composite {}", "change the claim or the composition"),
    _Mark(
        "karmada.io/managed",
        "Karmada",
        "change the resource template on the Karmada control plane",
        only=("true",),
    ),
    _Mark(
        "apps.open-cluster-management.io/hosting-subscription",
        "the subscription {}",
        "change the manifest in its channel",
    ),
)
_MANAGED_BY = "app.kubernetes.io/managed-by"
# Helm says so with annotations, too, and templates of people without Helm keep the label.
_NOBODY = ("Helm", "helm", "kubectl", "kaitoctl")


def owners(workspace: Object) -> list[Owner]:
    """Who writes this Workspace, too, and will or may undo a change; the one that controls it first."""
    found: dict[str, Owner] = {}
    for owner in (*_by_reference(workspace), *_by_marks(workspace)):
        found.setdefault(owner.what, owner)
    return list(found.values())


def _by_reference(workspace: Object) -> Iterator[Owner]:
    metadata = workspace.get("metadata") or {}
    controller = controller_of(workspace)
    listed = [item for item in metadata.get("ownerReferences") or () if isinstance(item, dict)]
    for item in sorted(listed, key=lambda item: item != controller):
        kind, name = str(item.get("kind") or "an object"), str(item.get("name") or "")
        group, _, version = str(item.get("apiVersion") or "").rpartition("/")
        resource = f"{kind.lower()}.{version}.{group}" if group else kind.lower()
        command = Command("kubectl edit", resource, name, "-n", key_of(workspace).namespace)
        yield Owner(f"{kind} {name}", f"change {kind} {name}: " + command)


def _by_marks(workspace: Object) -> Iterator[Owner]:
    marks = {**labels_of(workspace), **annotations_of(workspace)}
    for mark in _MARKS:
        value = marks.get(mark.key)
        if not value or (mark.only and value not in mark.only):
            continue
        namespace = marks.get(mark.namespace_key) if mark.namespace_key else ""
        words = {"in_namespace": f" in namespace {namespace}" if namespace else ""}
        name = mark.name(str(value))
        yield Owner(mark.what.format(name, **words), mark.instead.format(name, **words))
    by = marks.get(_MANAGED_BY)
    if by and by not in _NOBODY:
        yield Owner(str(by), "change it there")


def warnings(workspace: Object) -> list[tuple[str, Advice]]:
    """For who is about to write the Workspace: what becomes of the change, and what to change instead."""
    return [
        (f"{owner.what} owns this Workspace, and may undo the change at any time", owner.instead)
        for owner in owners(workspace)
    ]
