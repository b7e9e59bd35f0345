"""What we make beside what KAITO v0.12.0 and v0.4.6 made of the same manifests; all models, all settings."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaitoctl.kaito import catalog, estimate
from kaitoctl.kaito.desired import Settings, desired, refusal, target_nodes
from kaitoctl.kaito.desired.sizes import machine_of
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.provisioning import node_requests
from kaitoctl.kube.objects import Object, dig
from kaitoctl.kube.yaml_writer import to_yaml

DATA = Path(__file__).parent.parent / "data"
CASES = yaml.safe_load((DATA / "kaito_objects.yaml").read_text())
PROVISIONERS = ("azure-gpu-provisioner", "karpenter", "byo")

BETTER = {
    ("Deployment", "probes"): "a startup probe: KAITO kills a model that loads for longer than ten minutes",
    # Tuning (ADR 5): no privileged or root helper, no shared process namespace, no process that never ends.
    ("Job", "containers"): "the pusher is one unprivileged container, and no pause that holds the pod",
    ("Job", "command"): "tells the pusher when tuning has ended, so that a failed one frees its GPUs",
    ("Job", "init"): "curl's image is pinned",
    (
        "Job",
        "tolerations",
    ): "tolerates the taint of NVIDIA's operator; `gpu` and spot are nobody's GPU taints",
    ("Job", "affinity"): "stays on the nodes made for it, where the controller looks for it",
    ("Job", "volumes"): "the pusher has a place of its own to write to",
}
"""Named differences: kind and field, with why ours is better."""


def settings(provisioner: str = "azure-gpu-provisioner", generation: str = "v0.12") -> Settings:
    return Settings(image_generation=generation, provisioner=provisioner)


def words(command: list[str]) -> list[str]:
    """The words of a command, flags sorted: KAITO writes them in the order of a Go map."""
    at = command.index("-c") + 1 if "/bin/sh" in command else len(command)
    return sorted(word.rstrip(";") for word in (*command[:at], *shlex.split(" ".join(command[at:]))))


def requirements(spec: Object) -> list[str]:
    way = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = dig(spec, *way) or [{}]
    found = terms[0].get("matchExpressions") or ()
    return sorted(f"{item['key']} {item['operator']} {','.join(item['values'])}" for item in found)


def looked_at(made: Object) -> Object:
    """Of an object what was looked at of KAITO's."""
    spec = made["spec"]
    shown: Object = {"kind": made["kind"], "name": made["metadata"]["name"]}
    if made["kind"] == "Service":
        ports = [f"{port['name']}:{port['port']}->{port['targetPort']}" for port in spec.get("ports") or ()]
        return shown | {
            "ports": ports,
            "selector": spec["selector"],
            "headless": spec.get("clusterIP") == "None",
        }
    pod = spec["template"]["spec"]
    main = pod["containers"][0]
    return shown | {
        "replicas": spec.get("replicas", 1),
        "image": main["image"],
        "command": words(main["command"]),
        "gpu": main["resources"]["limits"].get("nvidia.com/gpu"),
        "env": sorted(item["name"] for item in main.get("env") or ()),
        "volumes": sorted(item["name"] for item in pod["volumes"]),
        "mounts": sorted(item["mountPath"] for item in main["volumeMounts"]),
        "containers": [item["name"] for item in pod["containers"]],
        "init": [[item["name"], item["image"]] for item in pod.get("initContainers") or ()],
        "probes": {
            name: next(key for key in main[f"{name}Probe"] if key in ("exec", "httpGet"))
            for name in ("startup", "liveness", "readiness")
            if f"{name}Probe" in main
        },
        "tolerations": sorted(item["key"] for item in pod["tolerations"]),
        "affinity": requirements(pod),
        "pullSecrets": sorted({item["name"] for item in pod.get("imagePullSecrets") or ()}),
    }


def kaitos(made: Object) -> Object:
    """KAITO's object in the same form: what is not there was empty."""
    if made["kind"] == "Service":
        return {"ports": [], **made}
    shell, _, line = made["command"].partition(" -c ")
    empty: Object = {"env": [], "init": [], "probes": {}, "pullSecrets": [], "affinity": []}
    return {**empty, **made, "command": words([shell, "-c", line])}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_what_kaito_made_is_made(case: Object) -> None:
    name = case["objects"][0]["name"]
    ws = {**case["manifest"], "metadata": {**case["manifest"]["metadata"], "name": name}}
    chosen = settings(case["nodeProvisioner"], case.get("version", "v0.12"))
    assert not refusal(ws, chosen)
    assert target_nodes(ws, chosen) == case["targetNodeCount"]
    made = {
        (item["kind"], item["metadata"]["name"]): looked_at(item)
        for kind, item in desired(ws, gpus=1, settings=chosen)
        if kind.kind != "ConfigMap"
    }
    theirs = {(item["kind"], item["name"]): kaitos(item) for item in case["objects"]}
    assert made.keys() == theirs.keys()
    for key, item in theirs.items():
        differing = {field for field in item if made[key].get(field) != item[field]}
        named = {field for kind, field in BETTER if kind == key[0]}
        assert differing <= named, {field: (made[key].get(field), item[field]) for field in differing - named}


CODE = [json.loads(line) for line in (DATA / "kaito_code_objects.jsonl").read_text().splitlines()]
"""What KAITO's own code makes: variations of the measured manifests, run through v0.12.0 and v0.4.6."""

IN_CODE = {
    (
        "Job",
        "mounts",
    ): "the server does not see the Secrets by which its data were pulled, or its result is pushed",
    ("Service", "ports"): "a load balancer opens port 80 alone",
}


@pytest.mark.parametrize(
    "case", CODE, ids=lambda case: f"{case['release']}-{case['workspace']['metadata']['name']}"
)
def test_what_kaitos_own_code_makes_is_made(case: Object) -> None:
    ws, provisioner = case["workspace"], case["provisioner"] if case["release"] == "v0.12" else ""
    chosen = Settings(
        image_generation=case["release"],
        provisioner=provisioner,
        has_local_nvme=case.get("nvme", False),
        context=case.get("context", 0),
        template_service_accounts=frozenset({"reader"}),
    )
    assert not refusal(ws, chosen)
    nodes = Shape(case["node"][0], case["node"][1] / 1024) if "node" in case else None
    machine = machine_of(ws, catalog.SHIPPED)
    gpus = machine.gpus if machine else nodes.gpus if nodes else 1
    assert target_nodes(ws, chosen, nodes=nodes) == case["target"]
    folder = next(
        (item for item in case["objects"][0].get("mounts", ()) if item.startswith("/mnt/other")), ""
    )
    made = {
        (item["kind"], item["metadata"]["name"]): json.loads(json.dumps(looked_at(item)))
        for kind, item in desired(ws, gpus=gpus, settings=chosen, nodes=nodes, output_dir=folder)
        if kind.kind != "ConfigMap"
    }
    theirs = {(item["kind"], item["name"]): item for item in case["objects"]}
    assert made.keys() == theirs.keys()
    is_balanced = (ws["metadata"].get("annotations") or {}).get("kaito.sh/enablelb") == "True"
    for key, item in theirs.items():
        differing = {field for field in item if made[key].get(field) != item[field]}
        named = {field for kind, field in (*BETTER, *IN_CODE) if kind == key[0]}
        named -= set() if is_balanced else {"ports"}
        named |= {"init"} if "fetch-sas" in str(item.get("init")) else set()  # ADR 5: in the base image
        assert differing <= named, {field: (made[key].get(field), item[field]) for field in differing - named}


# --- all models in all settings ----------------------------------------------------------------------------

TYPES = (
    "Standard_NV36ads_A10_v5",
    "Standard_NC24ads_A100_v4",
    "Standard_NC48ads_A100_v4",
    "Standard_ND96isr_H100_v5",
)


def ask(model: str, machine: str, *, count: int = 1, runtime: str = "vllm", adapters: int = 0) -> Object:
    inference: Object = {"preset": {"name": model}}
    if adapters:
        inference["adapters"] = [
            {"source": {"name": f"style-{number}", "image": f"registry.example/style-{number}:1"}}
            for number in range(adapters)
        ]
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "default", "annotations": {"kaito.sh/runtime": runtime}},
        "resource": {
            "count": count,
            "instanceType": machine,
            "labelSelector": {"matchLabels": {"apps": "w"}},
        },
        "inference": inference,
    }


def settings_of_all() -> Iterator[tuple[str, str, int, str, str, int]]:
    yield from product(
        [model.preset_name for model in catalog.models().values()],
        TYPES,
        (1, 2, 3),
        ("vllm", "transformers"),
        PROVISIONERS,
        (0, 2),
    )


def flags_of(line: str) -> dict[str, str]:
    found = re.findall(r"--([\w.-]+)(?:=('[^']*'|\S+))?", line)
    assert len({key for key, _ in found}) == len(found), f"a flag twice: {line}"
    return dict(found)


def test_every_model_is_made_or_refused_everywhere() -> None:
    made = refused = 0
    for name, machine, count, runtime, provisioner, adapters in settings_of_all():
        ws, chosen = (
            ask(name, machine, count=count, runtime=runtime, adapters=adapters),
            settings(provisioner),
        )
        if why := refusal(ws, chosen):
            refused += 1
            assert "--catalog" not in why, why
            continue
        made += 1
        check(ws, chosen, machine, runtime, provisioner, adapters)
    assert made > 3000
    assert refused > 1000


def check(ws: Object, chosen: Settings, machine: str, runtime: str, provisioner: str, adapters: int) -> None:
    known, model = (
        catalog.instance_types()[machine],
        catalog.SHIPPED.model(ws["inference"]["preset"]["name"]),
    )
    assert model is not None
    objects = {kind.kind: item for kind, item in desired(ws, gpus=known.gpus, settings=chosen)}
    spec = objects["StatefulSet"]["spec"]
    pod, main = spec["template"]["spec"], spec["template"]["spec"]["containers"][0]
    line = main["command"][2]
    assert spec["serviceName"] == "w-headless"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert {mount["name"] for mount in main["volumeMounts"]} <= {item["name"] for item in pod["volumes"]}
    assert len(requirements(pod)) == {"byo": 1}.get(provisioner, 3)
    assert main["startupProbe"]["failureThreshold"] * 10 >= model.readiness_timeout_s
    assert main["image"].endswith("/kaito-base:0.5.0")
    pullers = [item["name"] for item in pod.get("initContainers") or () if item["name"].startswith("puller-")]
    assert len(pullers) == adapters
    if runtime == "transformers":
        assert spec["replicas"] == 1
        assert f"--pretrained_model_name_or_path={model.id.lower()}" in line
        return
    nodes = estimate.estimated_nodes(model, Shape(known.gpus, known.gpu_memory_per_gpu_gib))
    assert spec["replicas"] == nodes
    serve = line[line.index("python3 /workspace/vllm/inference_api.py") :].partition("; else")[0]
    flags = flags_of(serve)
    assert flags["model"] == model.id.lower()
    assert ("enable-lora" in flags) == bool(adapters)
    spread = [int(flags.get(f"{way}-parallel-size") or 1) for way in ("tensor", "pipeline", "data")]
    assert spread[0] * spread[1] * spread[2] == known.gpus * spec["replicas"]
    assert ("multi-node-serving.sh" in line) == (spec["replicas"] > 1)
    assert any(item["name"] == "POD_INDEX" for item in main["env"]) == (spec["replicas"] > 1)


SHOWN: dict[str, tuple[Object, Settings]] = {
    "phi-4": (ask("phi-4", "Standard_NC24ads_A100_v4"), settings()),
    "copies-on-two-gpus": (ask("phi-4-mini-instruct", "Standard_NC48ads_A100_v4"), settings()),
    "three-nodes": (ask("llama-3.3-70b-instruct", "Standard_NC24ads_A100_v4"), settings("byo")),
    "eight-gpus": (ask("llama-3.3-70b-instruct", "Standard_ND96isr_H100_v5"), settings("karpenter")),
    "a10": (ask("phi-4-mini-instruct", "Standard_NV36ads_A10_v5"), settings()),
    "transformers": (ask("phi-4", "Standard_NC24ads_A100_v4", runtime="transformers"), settings()),
    "adapters": (ask("phi-4-mini-instruct", "Standard_NC24ads_A100_v4", adapters=2), settings()),
    "cuda-toolkit": (ask("deepseek-ai/deepseek-v3.2", "Standard_ND96isr_H200_v5"), settings()),
}


def _changed(ws: Object, **changes: Any) -> Object:
    return {**ws, **{key: {**ws[key], **value} for key, value in changes.items()}}


PLAIN = SHOWN["phi-4"][0]
SHOWN |= {
    "secret-and-config": (
        _changed(
            ask("llama-3.1-8b-instruct", "Standard_NC24ads_A100_v4"),
            inference={
                "preset": {"name": "llama-3.1-8b-instruct", "presetOptions": {"modelAccessSecret": "hf"}},
                "config": "mine",
            },
        ),
        settings(),
    ),
    "mig": (
        _changed(
            ask("phi-4-mini-instruct", ""),
            resource={"instanceType": "", "partition": {"mode": "mig", "profile": "3g.40gb"}},
        ),
        settings("byo"),
    ),
    "local-nvme": (PLAIN, Settings(image_generation="v0.12", has_local_nvme=True)),
    "without-benchmark": (
        _changed(PLAIN, metadata={"annotations": {"kaito.sh/disable-benchmark": "true"}}),
        settings(),
    ),
}


def _role(name: str) -> Object:
    return _changed(PLAIN, metadata={"labels": {"kaito.sh/inference-role": name}})


SHOWN |= {
    "accelerator-partition": (
        _changed(
            ask("phi-4-mini-instruct", ""),
            resource={"instanceType": "", "partition": {"mode": "accelerator", "count": 2}},
        ),
        settings("byo"),
    ),
    "decode": (_role("decode"), settings()),
    "prefill": (_role("prefill"), settings()),
}


def test_an_accelerator_partition_gives_each_pod_so_many_gpus() -> None:
    ws, chosen = SHOWN["accelerator-partition"]
    made = desired(ws, gpus=8, settings=chosen, nodes=Shape(8, 80))
    (server,) = (item for kind, item in made if kind.kind == "StatefulSet")
    main = server["spec"]["template"]["spec"]["containers"][0]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "-parallel-size=2" in main["command"][2]


@pytest.mark.parametrize(
    ("role", "port", "containers"),
    [
        ("decode", 5001, ["w", "llm-d-routing-sidecar"]),
        ("prefill", 5000, ["w"]),
    ],
)
def test_only_what_decodes_is_behind_a_sidecar(role: str, port: int, containers: list[str]) -> None:
    made = desired(_role(role), gpus=1, settings=settings())
    (server,) = (item for kind, item in made if kind.kind == "StatefulSet")
    template = server["spec"]["template"]
    assert template["metadata"]["labels"]["kaito.sh/inference-role"] == role
    pod = template["spec"]
    assert [item["name"] for item in pod["containers"]] == containers
    assert pod["containers"][0]["ports"][0]["containerPort"] == port
    asked = [
        probe for probe in pod["containers"][0].values() if isinstance(probe, dict) and "httpGet" in probe
    ]
    assert {probe["httpGet"]["port"] for probe in asked} == {port}


NODES = {
    1: ("phi-4", "Standard_NC24ads_A100_v4"),
    2: ("llama-3.3-70b-instruct", "Standard_NC48ads_A100_v4"),
    3: ("llama-3.3-70b-instruct", "Standard_NC24ads_A100_v4"),
}


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("provisioner", PROVISIONERS)
def test_what_each_provisioner_is_asked_for(
    nodes: int, provisioner: str, golden: Callable[[str, str], None]
) -> None:
    ws, chosen = ask(*NODES[nodes]), settings(provisioner)
    taken = target_nodes(ws, chosen)
    assert taken == nodes
    asked = node_requests(ws, chosen, names=[f"node-{number}" for number in range(taken)])
    machine = catalog.instance_types()[NODES[nodes][1]]
    made = desired(ws, gpus=machine.gpus, settings=chosen)
    golden(
        f"desired/v0.12/{provisioner}-{nodes}.yaml",
        "---\n".join(to_yaml(item) for _, item in [*asked, *made]),
    )


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_a_model_becomes(name: str, golden: Callable[[str, str], None]) -> None:
    ws, chosen = SHOWN[name]
    assert not refusal(ws, chosen)
    machine = catalog.SHIPPED.instance_type(ws["resource"]["instanceType"])
    made = desired(ws, gpus=machine.gpus if machine else 1, settings=chosen)
    golden(f"desired/v0.12/{name}.yaml", "---\n".join(to_yaml(item) for _, item in made))


def test_what_a_model_becomes_on_a_slice_of_a_node(golden: Callable[[str, str], None]) -> None:
    ws = _changed(ask("phi-4-mini-instruct", ""), resource={"instanceType": ""})
    made = desired(ws, gpus=1, settings=settings("byo"), nodes=Shape(1, 39.25, is_slice=True))
    golden("desired/v0.12/slice.yaml", "---\n".join(to_yaml(item) for _, item in made))


def lies(model: str, machine: str) -> str:
    """How a model lies on its nodes: how many, and the ways in which their GPUs share the work."""
    ws, chosen, gpus = ask(model, machine), settings(), catalog.instance_types()[machine].gpus
    if refusal(ws, chosen):
        return "-"
    made = {kind.kind: item for kind, item in desired(ws, gpus=gpus, settings=chosen)}
    spec = made["StatefulSet"]["spec"]
    line = spec["template"]["spec"]["containers"][0]["command"][2]
    ways = {way: re.search(rf"--{way}-parallel-size=(\d+)", line) for way in ("tensor", "pipeline", "data")}
    shared = [f"{way} {found[1]}" for way, found in ways.items() if found and found[1] != "1"]
    return " x ".join([f"{spec['replicas']} node" + "s" * (spec["replicas"] > 1), *shared])


def test_how_every_model_lies_on_its_nodes(golden: Callable[[str, str], None]) -> None:
    rows = [["MODEL", "WEIGHTS", *TYPES, "TRANSFORMERS"]]
    for model in catalog.models().values():
        on_each = [lies(model.preset_name, machine) for machine in TYPES]
        plain = ask(model.preset_name, "Standard_ND96isr_H100_v5", runtime="transformers")
        also = "no" if refusal(plain, settings()) else "yes"
        rows.append([model.preset_name, f"{model.weights_gib:g} GiB", *on_each, also])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    golden("desired/v0.12/every-model.txt", "\n".join(line.rstrip() for line in lines) + "\n")
