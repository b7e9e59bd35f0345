"""Every file of `deploy/` on a real API server, by kubectl, as the file's own head says."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from built import needed
from controller.test_provisioners import pools_crd
from controlplane import programs
from controlplane.plane import ControlPlane, running
from shell import BIN

from kaitoctl.kube.objects import Object

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ARGO_CD, FLUX, KUSTOMIZATION = (
    DEPLOY / name for name in ("gitops/argo-cd.yaml", "gitops/flux.yaml", "kustomization.yaml")
)
MANIFESTS = sorted({*DEPLOY.glob("*.yaml")} - {KUSTOMIZATION})
TEXT = {"type": "string"}


def flux_crd() -> Object:
    """The kind of Flux' Kustomizations, with those fields that its schema says more of than their names.

    Source: fluxcd/kustomize-controller v1, api/v1/kustomization_types.go; fluxcd/pkg apis/kustomize.
    """

    def with_fields(required: list[str], **fields: Any) -> Object:
        return {"type": "object", "required": required, "properties": fields}

    duration = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
    check = with_fields(
        ["apiVersion", "kind", "current"],
        **dict.fromkeys(("apiVersion", "kind", "inProgress", "failed", "current"), TEXT),
    )
    source = {"type": "string", "enum": ["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"]}
    spec = with_fields(
        ["interval", "prune", "sourceRef"],
        interval=duration,
        timeout=duration,
        path=TEXT,
        prune={"type": "boolean"},
        wait={"type": "boolean"},
        sourceRef=with_fields(["kind", "name"], kind=source, name=TEXT, namespace=TEXT),
        healthCheckExprs={"type": "array", "items": check},
    )
    schema = {"openAPIV3Schema": with_fields([], spec=spec)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kustomizations.kustomize.toolkit.fluxcd.io"},
        "spec": {
            "group": "kustomize.toolkit.fluxcd.io",
            "scope": "Namespaced",
            "names": {
                "kind": "Kustomization",
                "listKind": "KustomizationList",
                "plural": "kustomizations",
                "singular": "kustomization",
            },
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A cluster of their own: what is applied stays until its end."""
    with running(needed(programs.find)) as made:
        made.install([pools_crd(), flux_crd()])
        for name in ("argocd", "flux-system"):
            made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield made


def kubectl(plane: ControlPlane, *words: str) -> str:
    command = [str(BIN / "kubectl"), f"--kubeconfig={plane.kubeconfig}", *words]
    done = subprocess.run(command, cwd=DEPLOY.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_there_are_no_others() -> None:
    others = {path for path in DEPLOY.rglob("*.yaml") if not path.is_relative_to(DEPLOY / "chart")}
    assert others == {*MANIFESTS, KUSTOMIZATION, ARGO_CD, FLUX}, "a new one needs a test here"


@pytest.mark.control_plane
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_a_manifest_is_applied(plane: ControlPlane, file: Path) -> None:
    wanted = [f"{item['kind']}/{item['metadata']['name']}" for item in yaml.safe_load_all(file.read_text())]
    # The webhooks name objects of the controller's namespace; it is in the controller's file.
    kubectl(plane, "apply", "--server-side", "-f", str(DEPLOY / "controller.yaml"))
    said = kubectl(plane, "apply", "--server-side", "--validate=strict", "-f", str(file)).splitlines()
    assert len(said) == len(wanted)
    assert all(line.endswith(("serverside-applied", "unchanged")) for line in said), said


@pytest.mark.control_plane
def test_the_folder_is_applied_as_a_kustomization(plane: ControlPlane) -> None:
    head = KUSTOMIZATION.read_text().splitlines()[0].lstrip("# ")
    _, *words = shlex.split(head.partition(":")[0])
    assert words == ["apply", "--server-side", "-k", "deploy"]
    said = kubectl(plane, *words)
    assert "deployment.apps/kaitoctl-controller serverside-applied" in said
    assert "clusterrole.rbac.authorization.k8s.io/kaitoctl-workspaces-edit serverside-applied" in said


@pytest.mark.control_plane
@pytest.mark.parametrize(
    ("copied", "deployments"),
    [("webhook.yaml", {"kaitoctl-webhook"}), ("karpenter.yaml", {"kaitoctl-controller"})],
)
def test_a_kustomization_of_ones_own_has_an_image_of_ones_own(
    plane: ControlPlane, tmp_path: Path, copied: str, deployments: set[str]
) -> None:
    shutil.copy(DEPLOY / copied, tmp_path)
    image = {"name": "registry.example/kaitoctl", "newName": "registry.corp/kaitoctl", "newTag": "7"}
    folder = [] if copied == "webhook.yaml" else [os.path.relpath(DEPLOY, tmp_path.resolve())]
    resources = [copied, *folder]  # the webhook's file has the namespace, too
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": resources, "images": [image]}))
    made = list(yaml.safe_load_all(kubectl(plane, "kustomize", str(tmp_path))))
    assert {
        (item["metadata"]["name"], item["spec"]["template"]["spec"]["containers"][0]["image"])
        for item in made
        if item["kind"] == "Deployment"
    } == {(name, "registry.corp/kaitoctl:7") for name in deployments}
    kubectl(plane, "apply", "--server-side", "-k", str(tmp_path))


@pytest.mark.control_plane
def test_argo_cds_file_is_merged_into_its_settings(plane: ControlPlane) -> None:
    kubectl(
        plane, "create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://cd.example"
    )
    (line,) = [one for one in ARGO_CD.read_text().splitlines() if "kubectl patch" in one]
    kubectl(plane, *shlex.split(line.lstrip("# "))[1:])
    data = plane.do("GET", "/api/v1/namespaces/argocd/configmaps/argocd-cm")["data"]
    health = yaml.safe_load(ARGO_CD.read_text())["data"]
    assert data == {"url": "https://cd.example", **health}


@pytest.mark.control_plane
def test_fluxs_file_is_a_kustomization_of_flux(plane: ControlPlane) -> None:
    kubectl(plane, "apply", "--server-side", "--validate=strict", "-f", str(FLUX))
    path = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/models"
    found = plane.do("GET", path)["spec"]
    assert found == yaml.safe_load(FLUX.read_text())["spec"], "nothing of it was dropped"
