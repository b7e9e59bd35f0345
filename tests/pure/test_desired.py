from __future__ import annotations

import json

import pytest
from builders import adapter, workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito import catalog, desired
from kaitoctl.kaito.desired import Settings
from kaitoctl.kube.objects import Object, dig


def private(name: str) -> Object:
    return {"name": name, "accessMode": "private", "presetOptions": {"image": "registry.example/own:1"}}


def children(ws: Object, *, gpus: int = 2, generation: str = "v0.4") -> dict[str, Object]:
    made = desired.desired(ws, gpus=gpus, settings=Settings(image_generation=generation))
    return {kind.kind: obj for kind, obj in made}


def pod_spec(ws: Object, **options: object) -> Object:
    spec: Object = children(ws, **options)["Deployment"]["spec"]["template"]["spec"]  # type: ignore[arg-type]
    return spec


def test_falcon_7b_becomes_a_deployment_and_a_cluster_ip_service() -> None:
    made = children(workspace())
    deployment, service = made["Deployment"]["spec"], made["Service"]["spec"]
    labels = {"kaito.sh/workspace": "falcon"}
    assert deployment["replicas"] == 1
    assert deployment["selector"] == {"matchLabels": labels}
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert deployment["progressDeadlineSeconds"] == 1800
    assert service["type"] == "ClusterIP"
    assert service["selector"] == labels
    assert [(p["name"], p["port"], p["targetPort"]) for p in service["ports"]] == [
        ("http", 80, 5000),
        ("torch", 29500, 29500),
    ]


def test_loading_may_take_as_long_as_the_preset_needs() -> None:
    for name, preset in catalog.presets().items():
        own = {"name": name, "accessMode": "private", "presetOptions": {"image": "r.io/own:1"}}
        made = children(workspace(inference={"preset": own}))
        workload = made["StatefulSet" if preset.distributed else "Deployment"]["spec"]
        startup = workload["template"]["spec"]["containers"][0]["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= preset.readiness_timeout_s, name
        if not preset.distributed:  # a StatefulSet has no such deadline
            assert workload["progressDeadlineSeconds"] == preset.readiness_timeout_s, name


def test_the_main_container_is_that_of_the_v0_4_0_images() -> None:
    main = pod_spec(workspace())["containers"][0]
    assert main["name"] == "falcon"
    assert main["image"] == "mcr.microsoft.com/aks/kaito/kaito-falcon-7b:0.0.7"
    assert main["command"] == [
        "/bin/sh",
        "-c",
        "accelerate launch --gpu_ids=all --machine_rank=0 --num_machines=1 --num_processes=1 "
        "/workspace/tfs/inference_api.py --chat_template=/workspace/chat_templates/falcon-instruct.jinja "
        "--pipeline=text-generation --torch_dtype=bfloat16",
    ]
    assert main["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert main[probe]["httpGet"] == {"path": "/health", "port": 5000}
    assert main["readinessProbe"]["initialDelaySeconds"] == 30


def test_tag_command_and_probe_come_from_one_generation() -> None:
    main = pod_spec(workspace(), generation="v0.3")["containers"][0]
    assert main["image"].endswith(":0.0.6")
    assert " inference_api.py " in main["command"][2]
    assert main["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_an_adapter_is_an_init_container_that_shares_the_volume_with_the_model() -> None:
    spec = pod_spec(workspace(inference={"adapters": [adapter(strength="0.2")]}))
    (init,) = spec["initContainers"]
    assert (init["name"], init["image"]) == ("style", "registry.example/style:1")
    assert init["command"][3:] == ["copy-adapter", "/mnt/adapter/style"]
    assert {"name": "adapter-volume", "emptyDir": {}} in spec["volumes"]
    assert init["volumeMounts"] == spec["containers"][0]["volumeMounts"]
    assert spec["containers"][0]["env"] == [{"name": "style", "value": "0.2"}]


def test_an_adapter_without_strength_counts_in_full() -> None:
    spec = pod_spec(workspace(inference={"adapters": [adapter(strength=None)]}))
    assert spec["containers"][0]["env"] == [{"name": "style", "value": "1.0"}]


def test_several_gpus_of_a_node_share_memory() -> None:
    assert {"name": "dshm", "emptyDir": {"medium": "Memory"}} in pod_spec(workspace(), gpus=2)["volumes"]
    assert "volumes" not in pod_spec(workspace(), gpus=1)


def test_pull_secrets_of_image_and_adapters_are_united() -> None:
    entry = adapter()
    entry["source"]["imagePullSecrets"] = ["b", "a"]
    options = {"image": "registry.example/own:1", "imagePullSecrets": ["a"]}
    preset = {"name": "falcon-7b", "accessMode": "private", "presetOptions": options}
    spec = pod_spec(workspace(inference={"preset": preset, "adapters": [entry]}))
    assert spec["containers"][0]["image"] == "registry.example/own:1"
    assert spec["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_nodes_are_chosen_by_all_labels_in_a_fixed_order() -> None:
    one = workspace(resource={"labelSelector": {"matchLabels": {"b": "2", "a": "1"}}})
    other = workspace(resource={"labelSelector": {"matchLabels": {"a": "1", "b": "2"}}})
    assert json.dumps(children(one)) == json.dumps(children(other))
    affinity = pod_spec(one)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    keys = [item["key"] for item in affinity["nodeSelectorTerms"][0]["matchExpressions"]]
    assert keys == ["a", "b"]


def test_the_load_balancer_annotation_counts_only_as_kaito_writes_it() -> None:
    for value, kind in (("True", "LoadBalancer"), ("true", "ClusterIP")):
        ws = workspace(metadata={"annotations": {"kaito.sh/enablelb": value}})
        assert children(ws)["Service"]["spec"]["type"] == kind


@pytest.mark.parametrize("name", sorted(catalog.presets()))
def test_every_preset_is_built_or_refused_with_a_reason(name: str) -> None:
    known = catalog.presets()[name]
    preset: Object = {"name": name, "accessMode": known.access_mode}
    if known.access_mode == "private":
        preset["presetOptions"] = {"image": "registry.example/own:1"}
    ws = workspace(inference={"preset": preset})
    assert desired.refusal(ws, Settings()) == ""
    made = children(ws)
    assert ("StatefulSet" in made) is known.distributed
    workload = made["StatefulSet" if known.distributed else "Deployment"]
    assert dig(workload, "spec", "template", "spec", "containers", 0, "image")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tuning": {"method": "lora"}}, "not in the catalog"),
        ({"inference": {"preset": {"name": "nope"}}}, "none of those"),
        ({"metadata": {"annotations": {"kaito.sh/runtime": "tensorrt"}}}, "neither transformers nor vllm"),
        (
            {
                "metadata": {"annotations": {"kaito.sh/runtime": "vllm"}},
                "inference": {"adapters": [adapter()]},
            },
            "does not load adapters",
        ),
        (
            {
                "inference": {"preset": private("llama-2-13b")},
                "metadata": {"annotations": {"kaito.sh/runtime": "vllm"}},
            },
            "no vLLM runtime",
        ),
        ({"inference": {"preset": {"name": "llama-2-7b"}}}, "private"),
    ],
)
def test_what_cannot_be_built_is_refused(change: Object, words: str) -> None:
    assert words in desired.refusal(workspace(**change), Settings())


def distributed(count: int = 2) -> dict[str, Object]:
    resource = {"count": count, "instanceType": "Standard_NC96ads_A100_v4"}
    made = desired.desired(
        workspace("big", resource=resource, inference={"preset": private("llama-2-70b-chat")}),
        gpus=4,
        settings=Settings(),
    )
    return {f"{kind.kind}/{obj['metadata']['name']}": obj for kind, obj in made}


def test_a_distributed_model_is_a_stateful_set_whose_pods_meet_at_the_first() -> None:
    made = distributed()
    assert set(made) == {"Service/big", "Service/big-headless", "StatefulSet/big"}
    spec = made["StatefulSet/big"]["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"], spec["serviceName"]) == (
        2,
        "Parallel",
        "big-headless",
    )
    main = spec["template"]["spec"]["containers"][0]
    assert main["command"][3:] == ["launch", "big-0.big-headless.default.svc.cluster.local"]
    line = main["command"][2]
    assert line.startswith("cd /workspace/llama/llama-2 && torchrun ")
    for flag in (
        "--nnodes=2 --node_rank=${HOSTNAME##*-} --nproc_per_node=4",
        '--master_addr="$1"',
        '--rdzv_endpoint="$1":29500',
        "--rdzv_id=job",
        "inference_api.py --max_batch_size=8 --max_seq_len=512",
    ):
        assert flag in line
    assert "big" not in line, "no user text in the shell line"


def test_a_distributed_model_answers_on_its_first_pod_and_meets_before_it_is_ready() -> None:
    made = distributed()
    first = made["Service/big"]["spec"]["selector"]
    assert first["statefulset.kubernetes.io/pod-name"] == "big-0"
    headless = made["Service/big-headless"]["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert [port["port"] for port in headless["ports"]] == [29500]


def test_vllm_spreads_over_the_gpus_of_its_node() -> None:
    ws = workspace(metadata={"annotations": {"kaito.sh/runtime": "vllm"}})
    ws["inference"]["preset"]["name"] = "mistral-7b"
    line = pod_spec(ws)["containers"][0]["command"][2]
    assert line.startswith("python3 /workspace/vllm/inference_api.py ")
    assert "--tensor-parallel-size=2" in line
    ws["inference"]["preset"]["name"] = "falcon-7b"
    assert "tensor-parallel" not in pod_spec(ws)["containers"][0]["command"][2]


def custom(**spec: object) -> dict[str, Object]:
    container = {"name": "server", "image": "r.io/x:1", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": {"team": "a"}}, "spec": {"containers": [container], **spec}}
    ws = workspace(inference={"preset": None, "template": template})
    assert desired.refusal(ws, Settings()) == ""
    return children(ws)


def test_a_custom_pod_keeps_its_own_and_gets_the_workspaces_nodes() -> None:
    own = {"key": "zone", "operator": "In", "values": ["1"]}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [own]}]}}}
    made = custom(tolerations=[{"key": "x", "operator": "Exists"}], affinity=affinity)
    template = made["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"] == {"team": "a", "kaito.sh/workspace": "falcon"}
    assert [item["key"] for item in template["spec"]["tolerations"]] == ["x", "nvidia.com/gpu", "sku"]
    (term,) = template["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    assert [item["key"] for item in term["matchExpressions"]] == ["zone", "apps"]


def test_a_custom_pod_with_ports_gets_a_service() -> None:
    (port,) = custom()["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, 8080)
    assert "Service" not in custom(containers=[{"name": "s", "image": "r.io/x:1"}])


@pytest.mark.parametrize(
    "template",
    [
        1,
        {},
        {"spec": {}},
        {"spec": {"containers": []}},
        {"spec": {"containers": [1]}},
        {"spec": {"containers": [{"name": "a", "ports": 5}]}},
        {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "x"}]}]}},
        {"metadata": 1, "spec": {"containers": [{"name": "a"}]}},
        {"spec": {"containers": [{"name": "a"}], "tolerations": {}}},
        {
            "spec": {
                "containers": [{"name": "a"}],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [None]}
                    }
                },
            }
        },
    ],
)
def test_a_template_of_another_shape_is_refused_with_its_path(template: object) -> None:
    ws = workspace(inference={"preset": None, "template": template})
    assert desired.refusal(ws, Settings()).startswith("inference.template") or template == {}


def test_every_port_of_a_custom_pod_has_its_own_name_and_number() -> None:
    ports = [
        {"containerPort": 8080},
        {"containerPort": 80},
        {"containerPort": 53, "protocol": "TCP"},
        {"containerPort": 53, "protocol": "UDP"},
    ]
    made = custom(containers=[{"name": "s", "image": "r.io/x:1", "ports": ports}])["Service"]["spec"]["ports"]
    assert len({(port["port"], port["protocol"]) for port in made}) == len(made)
    assert len({port["name"] for port in made}) == len(made)


TRICKY = st.text(alphabet=st.sampled_from(list("ab;|&$()`\\\n'\"*?~#- ")), min_size=1, max_size=12)


@given(name=TRICKY, image=TRICKY, strength=TRICKY, label=TRICKY)
def test_no_user_text_reaches_a_shell_line(name: str, image: str, strength: str, label: str) -> None:
    """A value is always a whole element of argv or env; the programs stay what the catalog says."""
    plain = pod_spec(workspace(inference={"adapters": [adapter()]}))
    ws = workspace(
        inference={"adapters": [adapter(name, image, strength)]},
        resource={"labelSelector": {"matchLabels": {"apps": label}}},
    )
    spec = pod_spec(ws)
    for tricky, reference in zip(spec["initContainers"], plain["initContainers"], strict=True):
        assert tricky["command"][:4] == reference["command"][:4]
        assert tricky["command"][4] == f"/mnt/adapter/{name}".replace("$", "$$")
    assert spec["containers"][0]["command"] == plain["containers"][0]["command"]
