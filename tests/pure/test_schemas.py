from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaitoctl import packaged
from kaitoctl.kaito import validation
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kube import documents, schema, schema_defaults

VERSIONS = ("v1alpha1", "v1beta1")
KEPT = ("default", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum")


def crd(file: str) -> Any:
    return yaml.safe_load((packaged.folder("schemas") / file).read_text("utf-8"))


def fields(node: Any, path: str = "", required: bool = False) -> Iterator[tuple[str, Any, bool]]:
    if path and not path.endswith(("[]", "{}")):
        yield path, node, required
    for name, below in (node.get("properties") or {}).items():
        yield from fields(below, f"{path}.{name}" if path else name, name in node.get("required", ()))
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from fields(node["additionalProperties"], f"{path}{{}}")


def facts(version: str) -> dict[str, tuple[str, bool, dict[str, Any]]]:
    table = Path(__file__).parents[1] / "data" / "workspace-api.tsv"
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {
        path: (kind, required == "required", json.loads(more))
        for versions, path, kind, required, more in rows
        if versions in ("both", version)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_of_our_workspace_is_as_kaito_has_it(version: str) -> None:
    ours = {}
    for path, node, required in fields(validation.schema_of(version)):
        more = {key: node[key] for key in node if key in KEPT or key.startswith("x-kubernetes-")}
        if "items" in node:
            more["items"] = node["items"]["type"]
        if "additionalProperties" in node:
            more["values"] = node["additionalProperties"]["type"]
        ours[path] = (node.get("type", "any"), required, more)
    assert ours == facts(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_says_what_it_is(version: str) -> None:
    for path, node, _ in fields(validation.schema_of(version)):
        if path != "metadata":
            assert node["description"].endswith("."), path


def test_the_workspace_goes_by_its_usual_names_and_columns() -> None:
    spec = crd("kaito.sh_workspaces.yaml")["spec"]
    assert spec["names"]["shortNames"] == ["wk", "wks"]
    assert spec["names"]["categories"] == ["workspace"]
    alpha, beta = spec["versions"]
    assert (alpha["name"], alpha["served"], alpha["storage"]) == ("v1alpha1", True, False)
    assert (beta["name"], beta["served"], beta["storage"]) == ("v1beta1", True, True)
    assert alpha["subresources"] == beta["subresources"] == {"status": {}}
    common = ["Instance", "ResourceReady", "InferenceReady", "JobStarted", "WorkspaceSucceeded"]
    assert [column["name"] for column in alpha["additionalPrinterColumns"]] == [*common, "Age"]
    assert [column["name"] for column in beta["additionalPrinterColumns"]] == [
        *common,
        "TargetNodeCount",
        "State",
        "Age",
    ]


def test_the_node_claim_shows_what_karpenter_shows() -> None:
    spec = crd("karpenter.sh_nodeclaims.yaml")["spec"]
    assert (spec["group"], spec["scope"], spec["names"]["plural"]) == (
        "karpenter.sh",
        "Cluster",
        "nodeclaims",
    )
    (version,) = spec["versions"]
    assert version["name"] == "v1"
    assert version["subresources"] == {"status": {}}
    columns = ["Type", "Capacity", "Zone", "Node", "Ready", "Age"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == columns


def test_the_node_claim_that_kaito_writes_fits() -> None:
    claim = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "ws1", "labels": {"karpenter.sh/nodepool": "kaito"}},
        "spec": {
            "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
            "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}],
            "resources": {"requests": {"ephemeral-storage": "50Gi", "nvidia.com/gpu": 1}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
        "status": {"nodeName": "n", "allocatable": {"nvidia.com/gpu": "1"}},
    }
    (version,) = crd("karpenter.sh_nodeclaims.yaml")["spec"]["versions"]
    structure = version["schema"]["openAPIV3Schema"]
    assert schema.problems(claim, structure, unknown="error") == []
    assert schema_defaults.default(claim, structure)["spec"]["expireAfter"] == "720h"


@pytest.mark.parametrize(
    "file",
    [
        "kaito.sh_workspaces.yaml",
        "kaito.sh_inferencesets.yaml",
        "kaito.sh_multiroleinferences.yaml",
        "karpenter.sh_nodeclaims.yaml",
    ],
)
def test_our_schemas_are_structural(file: str) -> None:
    """The rules by which an API server accepts or refuses a CRD's schema."""

    def check(node: Any, path: str) -> None:
        open_ended = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"} & set(node)
        assert "type" in node or open_ended, f"{path}: a type is needed"
        assert "$ref" not in node, path
        assert not {"properties", "additionalProperties"} <= set(node), f"{path}: one of the two"
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        if "default" in node:
            assert (
                schema.problems(node["default"], {k: v for k, v in node.items() if k != "default"}) == []
            ), path
        for part in ("allOf", "anyOf", "oneOf", "not"):
            if part in node:
                assert node.get("x-kubernetes-int-or-string"), f"{path}: {part} only for quantities"
        for name, below in (node.get("properties") or {}).items():
            check(below, f"{path}.{name}")
        for key in ("items", "additionalProperties"):
            if key in node:
                check(node[key], f"{path}.{key}")

    document = crd(file)
    spec = document["spec"]
    assert document["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    assert [version["storage"] for version in spec["versions"]].count(True) == 1
    for version in spec["versions"]:
        check(version["schema"]["openAPIV3Schema"], version["name"])


def test_v1alpha1_fills_in_what_kaito_fills_in() -> None:
    workspace = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": "phi-2"}},
    }
    alpha = schema_defaults.default(workspace, validation.schema_of("v1alpha1"))
    assert alpha["resource"]["count"] == 1
    assert alpha["resource"]["instanceType"] == "Standard_NC12s_v3"
    assert alpha["inference"]["preset"]["accessMode"] == "public"
    assert (
        "instanceType" not in schema_defaults.default(workspace, validation.schema_of("v1beta1"))["resource"]
    )


def test_our_schema_files_read_alike_with_our_own_reader() -> None:
    for file in packaged.folder("schemas").glob("*.yaml"):
        assert documents.load_yaml(file.read_text("utf-8"), file.name) == [crd(file.name)]


def test_the_schemas_of_fleets_are_those_of_their_crds(pytestconfig: pytest.Config) -> None:
    table = Path(kinds.__file__).parents[1] / "tables" / "fleet_schemas.json"
    schemas = {}
    for kind in kinds.KINDS:
        versions = crd(f"{kind.group}_{kind.plural}.yaml")["spec"]["versions"]
        schemas[kind.kind] = {one["name"]: one["schema"]["openAPIV3Schema"] for one in versions}
        assert tuple(schemas[kind.kind]) == kinds.VERSIONS[kind.kind]
    text = json.dumps(schemas, indent=1) + "\n"
    if pytestconfig.getoption("--update-golden"):
        table.write_text(text)
    assert text == table.read_text(), "pytest --update-golden tests/pure/test_schemas.py writes it anew"


def test_a_set_has_the_inference_of_the_workspace_in_both_versions() -> None:
    inference = validation.schema_of("v1beta1")["properties"]["inference"]
    for version in VERSIONS:
        template = kinds.schema_of("InferenceSet", version)["properties"]["spec"]["properties"]["template"]
        assert template["properties"]["inference"] == inference
        assert ("partition" in template["properties"]["resource"]["properties"]) == (version == "v1beta1")


def test_every_field_of_a_fleet_says_what_it_is() -> None:
    for kind, versions in kinds.VERSIONS.items():
        for version in versions:
            for path, node, _ in fields(kinds.schema_of(kind, version)):
                if path != "metadata":
                    assert node["description"].endswith("."), path


def test_a_set_can_be_scaled_and_shows_what_kaito_shows() -> None:
    spec = crd("kaito.sh_inferencesets.yaml")["spec"]
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == (["is", "isets"], ["inferenceset"])
    for version in spec["versions"]:
        assert version["subresources"]["scale"] == {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
        columns = [column["name"] for column in version["additionalPrinterColumns"]]
        assert columns == ["Replicas", "ReadyReplicas", "Age"]


def test_the_schemas_that_are_judged_by_are_those_of_the_crd(pytestconfig: pytest.Config) -> None:
    table = Path(validation.__file__).parents[1] / "tables" / "workspace_schemas.json"
    versions = crd("kaito.sh_workspaces.yaml")["spec"]["versions"]
    schemas = {version["name"]: version["schema"]["openAPIV3Schema"] for version in versions}
    text = json.dumps(schemas, indent=1) + "\n"
    if pytestconfig.getoption("--update-golden"):
        table.write_text(text)
    assert text == table.read_text(), "pytest --update-golden tests/pure/test_schemas.py writes it anew"
