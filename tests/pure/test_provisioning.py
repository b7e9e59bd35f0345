"""What each provisioner of KAITO v0.12 is asked with."""

from __future__ import annotations

from typing import Any

from kaitoctl.kaito.desired import Settings, desired
from kaitoctl.kaito.provisioning import NodeClasses, node_pool_name, node_requests
from kaitoctl.kube.objects import Object, dig


def ask(machine: str = "Standard_NC24ads_A100_v4", **metadata: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "team", **metadata},
        "resource": {
            "instanceType": machine,
            "labelSelector": {"matchLabels": {"apps": "w", "kaito.sh/workspace": "other"}},
        },
        "inference": {"preset": {"name": "llama-3.3-70b-instruct"}},
    }


def settings(provisioner: str, cloud: str = "azure") -> Settings:
    return Settings(provisioner=provisioner, cloud=cloud)


def test_the_gpu_provisioner_is_asked_with_a_claim_for_each_missing_node() -> None:
    made = node_requests(ask(), settings("azure-gpu-provisioner"), names=("ws1", "ws2"))
    assert [(kind.kind, item["metadata"]["name"]) for kind, item in made] == [
        ("NodeClaim", "ws1"),
        ("NodeClaim", "ws2"),
    ]
    claim = made[0][1]
    assert claim["metadata"]["labels"] == {
        "karpenter.sh/nodepool": "kaito",
        "kaito.sh/workspace": "w",
        "kaito.sh/workspacenamespace": "team",
        "apps": "w",
    }
    assert claim["metadata"]["annotations"]["kaito.sh/node-image-family"] == "ubuntu"
    assert claim["spec"]["nodeClassRef"]["kind"] == "KaitoNodeClass"
    assert claim["spec"]["resources"]["requests"]["storage"].endswith("Gi")


def test_karpenter_is_asked_with_one_pool_of_as_many_nodes_as_the_model_takes() -> None:
    ((kind, pool),) = node_requests(ask(), settings("karpenter"), names=("ignored",))
    assert (kind.kind, pool["metadata"]["name"]) == ("NodePool", "team-w")
    assert pool["spec"]["replicas"] == 3
    assert dig(pool, "spec", "template", "metadata", "labels") == {
        "karpenter.kaito.sh/workspace-name": "w",
        "karpenter.kaito.sh/workspace-namespace": "team",
        "apps": "w",
    }
    assert pool["spec"]["disruption"]["budgets"] == [{"nodes": "1", "reasons": ["Drifted"]}]


def test_children_of_an_inference_set_are_not_replaced_before_it_is_their_turn() -> None:
    child = ask(labels={"inferenceset.kaito.sh/created-by": "fleet"})
    ((_, pool),) = node_requests(child, settings("karpenter"))
    assert pool["spec"]["disruption"]["budgets"][0]["nodes"] == "0"
    assert pool["metadata"]["labels"]["karpenter.kaito.sh/inferenceset"] == "fleet"


def test_only_azure_has_a_placement_scope() -> None:
    aws = NodeClasses("karpenter.k8s.aws", "EC2NodeClass", "default")
    ((_, there),) = node_requests(ask("p4d.24xlarge"), settings("karpenter", "aws"), classes=aws)
    ((_, here),) = node_requests(ask(), settings("karpenter"))
    keys = [
        [one["key"] for one in dig(pool, "spec", "template", "spec", "requirements")]
        for pool in (there, here)
    ]
    assert "karpenter.azure.com/placement-scope" not in keys[0]
    assert "karpenter.azure.com/placement-scope" in keys[1]


def test_nobody_is_asked_for_nodes_of_ones_own() -> None:
    assert node_requests(ask(""), settings("byo"), names=("ws1",)) == []


def test_a_long_name_stays_a_label_value_and_unique() -> None:
    long, longer = node_pool_name("n" * 40, "w" * 40), node_pool_name("n" * 40, "w" * 41)
    assert len(long) == len(longer) == 63
    assert long != longer


def test_pods_demand_the_labels_that_their_nodes_are_given() -> None:
    for provisioner in ("azure-gpu-provisioner", "karpenter"):
        chosen = settings(provisioner)
        ((_, asked),) = node_requests(ask(), chosen, names=("ws1",))
        given = dig(asked, "spec", "template", "metadata", "labels") or asked["metadata"]["labels"]
        spec = desired(ask(), gpus=1, settings=chosen)[-1][1]["spec"]["template"]["spec"]
        way = ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
        wanted = {one["key"]: one["values"][0] for one in dig(spec["affinity"], *way)[0]["matchExpressions"]}
        assert wanted.items() <= given.items()
