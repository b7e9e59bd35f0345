"""The tuning Job: what it is made of, what is refused before nodes are bought, and that its scripts work."""

from __future__ import annotations

import http.server
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito import catalog, tuning
from kaitoctl.kaito import desired as desired_
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.node_claims import node_claim
from kaitoctl.kaito.rollout import progress
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import CONFIG_MAP, Object, dig
from kaitoctl.workspace_controller import refusal_of

URLS = {"urls": ["https://data.example/a.parquet?download=true", "https://data.example/b/a.parquet"]}
IMAGE = {"image": "registry.example/data:1", "imagePullSecrets": ["pull"]}
CLAIM = {"volumeSource": {"persistentVolumeClaim": {"claimName": "data"}}}
OUTPUT = {"image": "registry.example/adapter:1", "imagePushSecret": "push"}


def tuned(**changes: Any) -> Object:
    """A Workspace that tunes phi-3-mini; fields of `tuning` are replaced, `None` leaves one out."""
    asked = {"preset": {"name": "phi-3-mini-4k-instruct"}, "method": "lora", "input": URLS, "output": OUTPUT}
    fields = {key: value for key, value in {**asked, **changes}.items() if value is not None}
    made = workspace("tune", tuning=fields, resource={"instanceType": "Standard_NC24ads_A100_v4"})
    del made["inference"]
    return made


def children(ws: Object, *, gpus: int = 1, generation: str = "v0.4", **more: Any) -> dict[str, Object]:
    made = desired_.desired(ws, gpus=gpus, settings=Settings(image_generation=generation), **more)
    return {kind.kind: obj for kind, obj in made}


def pod_of(ws: Object, **options: Any) -> Object:
    spec: Object = children(ws, **options)["Job"]["spec"]["template"]["spec"]
    return spec


def container(ws: Object, name: str, **options: Any) -> Object:
    spec = pod_of(ws, **options)
    return next(item for item in [*spec["initContainers"], *spec["containers"]] if item["name"] == name)


# --- what is built -----------------------------------------------------------------------------------------


def test_the_job_has_one_pod_and_one_try() -> None:
    job = children(tuned())["Job"]
    assert job["metadata"]["name"] == "tune"
    assert job["metadata"]["labels"] == {"kaito.sh/workspace": "tune"}
    assert job["spec"]["backoffLimit"] == 0
    assert not {"parallelism", "completions"} & set(job["spec"])
    assert pod_of(tuned())["restartPolicy"] == "Never"


def test_the_job_runs_on_the_nodes_of_its_workspace() -> None:
    spec, ws = pod_of(tuned()), workspace()
    inference = desired_.desired(ws, gpus=1, settings=Settings())[1][1]["spec"]["template"]["spec"]
    assert spec["affinity"] == inference["affinity"]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    (term,) = spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "apps", "operator": "In", "values": ["falcon-7b"]}]


def test_the_pod_tolerates_gpu_nodes_and_new_ones_get_a_disk() -> None:
    assert [item["key"] for item in pod_of(tuned())["tolerations"]] == ["nvidia.com/gpu", "sku"]
    for name, disk in (("phi-3-mini-4k-instruct", "50Gi"), ("mistral-7b", "100Gi")):
        claim = node_claim(tuned(preset={"name": name}), "ws1", Settings(image_generation="v0.4"))
        assert claim["spec"]["resources"]["requests"] == {"ephemeral-storage": disk}


def test_image_and_command_come_from_one_generation() -> None:
    new, old = container(tuned(), "tune", gpus=4), container(tuned(), "tune", gpus=2, generation="v0.3")
    assert new["image"] == "mcr.microsoft.com/aks/kaito/kaito-phi-3-mini-4k-instruct:0.0.3"
    line = "cd /workspace/tfs/ && python3 metrics_server.py & accelerate launch --num_processes=4 "
    assert new["command"][2].startswith(f"{line}/workspace/tfs/fine_tuning.py;")
    assert old["image"].endswith(":0.0.2")
    line = "python3 metrics_server.py & accelerate launch --num_processes=2 fine_tuning.py;"
    assert old["command"][2].startswith(line)
    assert new["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert "livenessProbe" not in new


def test_only_the_phi_3_family_is_told_which_modules_to_tune() -> None:
    def names(preset: str) -> list[str]:
        return [item["name"] for item in container(tuned(preset={"name": preset}), "tune")["env"]]

    assert names("phi-3.5-mini-instruct") == ["PYTORCH_CUDA_ALLOC_CONF", "DEFAULT_TARGET_MODULES"]
    assert names("falcon-7b") == ["PYTORCH_CUDA_ALLOC_CONF"]


def test_several_gpus_share_memory() -> None:
    assert {"name": "dshm", "emptyDir": {"medium": "Memory"}} in pod_of(tuned(), gpus=2)["volumes"]
    assert "dshm" not in str(pod_of(tuned(), gpus=1))


def test_a_private_image_is_used_with_its_pull_secret() -> None:
    options = {"image": "registry.example/own:1", "imagePullSecrets": ["own", "push"]}
    ws = tuned(preset={"name": "phi-2", "accessMode": "private", "presetOptions": options}, input=IMAGE)
    assert container(ws, "tune")["image"] == "registry.example/own:1"
    assert pod_of(ws)["imagePullSecrets"] == [{"name": name} for name in ("pull", "push", "own")]


def test_nothing_is_privileged_and_only_the_pusher_sees_the_push_secret() -> None:
    spec = pod_of(tuned())
    assert "privileged" not in str(spec)
    pusher = container(tuned(), tuning.PUSHER)
    context = pusher["securityContext"]
    assert (context["runAsNonRoot"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    for item in [*spec["initContainers"], *spec["containers"]]:
        mounted = {mount["name"]: mount for mount in item["volumeMounts"]}
        assert ("docker-config" in mounted) is (item["name"] == tuning.PUSHER)
    assert next(m for m in pusher["volumeMounts"] if m["name"] == "docker-config")["readOnly"]
    assert pusher["command"][4:] == ["/mnt/results", Settings().adapter_base_image, OUTPUT["image"]]


TRICKY = st.text(alphabet=st.sampled_from(list("ab;|&$()`\\\n'\"*?~#- ")), min_size=1, max_size=12)


@given(url=TRICKY, image=TRICKY, output=TRICKY)
def test_no_user_text_reaches_a_shell_line(url: str, image: str, output: str) -> None:
    for given_, plain in (({"urls": [url]}, URLS), ({"image": image}, IMAGE)):
        spec = pod_of(tuned(input=given_, output={**OUTPUT, "image": output}))
        reference = pod_of(tuned(input=plain))
        for key in ("initContainers", "containers"):
            for tricky, usual in zip(spec[key], reference[key], strict=True):
                assert tricky["command"][:5] == usual["command"][:5]
        assert as_started(spec["containers"][1]["command"])[-1] == output


def test_any_case_of_the_method_is_the_same_tuning() -> None:
    assert refusal_of(tuned(method="QLoRA"), Settings()) == ""
    assert children(tuned(method="QLoRA")) == children(tuned(method="qlora"))


def test_the_default_configuration_is_a_child_of_the_workspace() -> None:
    made = children(tuned(method="qlora"))["ConfigMap"]
    assert made["metadata"]["name"] == "tune-tuning-config"
    config = yaml.safe_load(made["data"]["training_config.yaml"])["training_config"]
    assert config["LoraConfig"] == {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0}
    assert config["QuantizationConfig"]["bnb_4bit_quant_type"] == "nf4"
    assert config["TrainingArguments"]["output_dir"] == "/mnt/results"
    lora = yaml.safe_load(children(tuned())["ConfigMap"]["data"]["training_config.yaml"])
    assert "QuantizationConfig" not in lora["training_config"]
    assert children(tuned(config="mine")).keys() == {"Job"}
    assert children(tuned(config="tune-tuning-config")).keys() == {"ConfigMap", "Job"}, "it is ours"


@pytest.mark.parametrize("method", tuning.METHODS)
def test_our_own_configuration_passes_the_rules_for_configurations(method: str) -> None:
    own = children(tuned(method=method))["ConfigMap"]
    assert tuning.config_refusal(tuned(method=method, config="mine"), own, catalog.SHIPPED) == ""
    assert tuning.output_dir(own) == "/mnt/results"


def test_the_results_are_written_where_the_users_configuration_says() -> None:
    ws = tuned(config="mine")
    main = container(ws, "tune", output_dir="/mnt/out")
    assert {"name": "results-volume", "mountPath": "/mnt/out"} in main["volumeMounts"]
    assert main["command"][3:] == ["tune", "/mnt/out"]
    assert container(ws, tuning.PUSHER, output_dir="/mnt/out")["command"][4] == "/mnt/out"
    volumes = {item["name"]: item for item in pod_of(ws)["volumes"]}
    assert volumes["config-volume"]["configMap"] == {"name": "mine"}


def test_the_table_agrees_with_the_catalog() -> None:
    """What the catalog calls tunable has a row, in every generation."""
    assert set(tuning.tuning_presets()) == {p.name for p in catalog.presets().values() if p.tuning}
    for name, preset in catalog.presets().items():
        for generation in preset.images:
            settings = Settings(image_generation=generation)
            ws = tuned(preset={"name": name, "accessMode": preset.access_mode})
            assert (tuning.refusal(ws, settings) == "") is preset.tuning


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": {"name": "nope"}}, "not in the catalog"),
        ({"preset": {"name": "phi-2", "accessMode": "private"}}, "must name its image"),
        ({"method": "full"}, "neither lora nor qlora"),
        ({"method": None}, "neither lora nor qlora"),
        ({"input": {}}, "exactly one of urls and image"),
        ({"input": {**URLS, **IMAGE}}, "exactly one of urls and image"),
        ({"input": {"urls": ["file:///etc/passwd"]}}, "neither an http nor an https URL"),
        ({"input": {"urls": ["--config=x"]}}, "neither an http nor an https URL"),
        ({"input": {**URLS, **CLAIM}}, "exactly one of urls, image and volumeSource"),
        ({"output": {**OUTPUT, **CLAIM}}, "exactly one of image and volumeSource"),
        ({"output": {"volumeSource": {"emptyDir": {}}}}, "emptyDir ends with the pod"),
        ({"output": {"volumeSource": {"configMap": {"name": "c"}}}}, "configMap is read-only"),
        (
            {"output": {"volumeSource": {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}}},
            "persistentVolumeClaim is read-only",
        ),
        ({"output": {}}, "must name the image"),
        ({"output": {"image": "reg/x$(touch a):1", "imagePushSecret": "p"}}, "is not an image"),
        ({"output": {"image": "registry.example/a:1"}}, "must name the Secret"),
    ],
)
def test_what_cannot_be_tuned_is_refused(changes: Object, words: str) -> None:
    assert words in tuning.refusal(tuned(**changes), Settings())
    assert refusal_of(tuned(**changes), Settings())


@pytest.mark.parametrize("side", ["input", "output"])
def test_up_to_v0_4_nothing_is_tuned_from_volumes(side: str) -> None:
    for generation in ("v0.3", "v0.4", "v0.4.6"):
        said = tuning.refusal(tuned(**{side: CLAIM}), Settings(image_generation=generation))
        assert f"tuning.{side}.volumeSource" in said and "tunes without volumes" in said
    assert tuning.refusal(tuned(**{side: CLAIM}), Settings(image_generation="v0.12")) == ""


def test_data_from_a_volume_are_mounted_where_tuning_reads_them() -> None:
    """Source: KAITO v0.12.0 pkg/workspace/tuning/preset_tuning.go, prepareDataSource."""
    spec = pod_of(tuned(input=CLAIM), generation="v0.12")
    volume = next(item for item in spec["volumes"] if item["name"] == "data-volume")
    assert volume == {"name": "data-volume", **CLAIM["volumeSource"]}
    assert {"name": "data-volume", "mountPath": "/mnt/data"} in spec["containers"][0]["volumeMounts"]
    assert [item["name"] for item in spec["initContainers"]] == ["model-weights-downloader"]
    assert [item["name"] for item in spec["containers"]] == ["tune", "push-adapter"]


def test_a_result_for_a_volume_is_written_there_and_pushed_nowhere() -> None:
    """Source: KAITO v0.12.0 pkg/workspace/tuning/preset_tuning.go, SetTrainingOutputImagePush."""
    ws = tuned(output={**CLAIM, "imagePushSecret": "unused"})
    spec = pod_of(ws, generation="v0.12")
    assert [item["name"] for item in spec["containers"]] == ["tune"]
    assert {"name": "results-volume", **CLAIM["volumeSource"]} in spec["volumes"]
    assert not {"docker-config", "push-volume"} & {item["name"] for item in spec["volumes"]}
    assert spec["imagePullSecrets"] == []
    assert ".tuning-ended" not in json.dumps(spec)  # nobody waits for it
    assert tuning.push_secret(ws) == tuning.pushed_image(children(ws, generation="v0.12")["Job"]) == ""


@pytest.mark.parametrize("name", ["falcon-7b-instruct", "mistral-7b-instruct", "llama-2-7b"])
def test_a_preset_without_tuning_is_refused(name: str) -> None:
    assert "cannot be tuned" in tuning.refusal(tuned(preset={"name": name}), Settings())


def test_a_preset_newer_than_the_images_is_refused() -> None:
    ws = tuned(preset={"name": "phi-3.5-mini-instruct"})
    assert "no image of generation v0.3" in tuning.refusal(ws, Settings(image_generation="v0.3"))


def test_tuning_on_several_nodes_is_refused() -> None:
    ws = tuned()
    ws["resource"]["count"] = 2
    assert "count must be 1" in tuning.refusal(ws, Settings())


def test_a_push_secret_must_exist_and_be_one_for_registries() -> None:
    assert "does not exist" in tuning.secret_refusal(tuned(), None)
    assert "has no .dockerconfigjson" in tuning.secret_refusal(tuned(), {"data": {"password": "x"}})
    assert tuning.secret_refusal(tuned(), {"data": {".dockerconfigjson": "e30="}}) == ""


def a_config(output_dir: object = "/mnt/results", **sections: Any) -> Object:
    content = {"training_config": {"TrainingArguments": {"output_dir": output_dir}, **sections}}
    text = yaml.safe_dump(content)
    return {"kind": CONFIG_MAP.kind, "metadata": {"name": "mine"}, "data": {"training_config.yaml": text}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "there is no ConfigMap default/mine"),
        ({"data": {}}, "has no training_config.yaml"),
        ({"data": {"training_config.yaml": "]["}}, "default/mine"),
        (a_config(Nonsense={}), "Nonsense is not known"),
        (a_config("/etc"), "not below /mnt"),
        (a_config("/mnt/../etc"), "not below /mnt"),
        (a_config("/mnt/data/x"), "is not free"),
        (a_config("/mnt/config"), "is not free"),
        (a_config(QuantizationConfig={"load_in_4bit": True}), "method is lora"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(config: Object | None, words: str) -> None:
    assert words in tuning.config_refusal(tuned(config="mine"), config, catalog.SHIPPED)


def test_the_output_directory_has_a_default() -> None:
    assert tuning.output_dir(a_config("/mnt/out/")) == "/mnt/out"
    assert tuning.output_dir(a_config(None)) == "/mnt/output"


def test_what_the_job_is_made_from_is_the_tuning_and_its_nodes() -> None:
    ws = tuned()
    same = {**ws, "resource": {**ws["resource"], "preferredNodes": ["x"]}}
    assert tuning.fingerprint(same) == tuning.fingerprint(ws)
    assert tuning.fingerprint(tuned(output={**OUTPUT, "image": "r.io/a:2"})) != tuning.fingerprint(ws)


# --- the scripts, run for real -----------------------------------------------------------------------------


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/missing": 404}.get(self.path.partition("?")[0], 200)
        body = b"" if self.path == "/empty" else f"content of {self.path}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def as_started(command: list[str]) -> list[str]:
    """What a container is started with: none of the names that `$(NAME)` could mean is defined there."""
    return [part.replace("$$", "$") for part in command]


def run(command: list[str], path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    shell = ["/bin/sh", *as_started(command)[1:]]
    return subprocess.run(shell, capture_output=True, text=True, check=False, env={"PATH": path}, timeout=20)


def download(folder: Path, *urls: str) -> subprocess.CompletedProcess[str]:
    command = container(tuned(input={"urls": list(urls)}), "data-downloader")["command"]
    return run([str(folder) if part == "/mnt/data" else part for part in command])


def test_data_is_fetched_each_file_under_its_own_name(tmp_path: Path, site: str) -> None:
    urls = (f"{site}/a.parquet?download=true", f"{site}/b/a.parquet", f"{site}/x[1-3].json", f"{site}/")
    done = download(tmp_path, *urls)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "2-a.parquet",
        "a.parquet",
        "data",
        "x[1-3].json",
    ]
    assert (tmp_path / "2-a.parquet").read_text() == "content of /b/a.parquet"


@pytest.mark.parametrize("bad", ["SITE/missing", "SITE/empty", "file:///etc/passwd", "--version"])
def test_data_that_does_not_come_fails_the_download(tmp_path: Path, site: str, bad: str) -> None:
    done = download(tmp_path, bad.replace("SITE", site))
    assert done.returncode != 0
    assert done.stderr


def test_kubernetes_replaces_nothing_in_a_url() -> None:
    url = "https://data.example/$(KUBERNETES_SERVICE_HOST)/$$.json"
    command = container(tuned(input={"urls": [url]}), "data-downloader")["command"]
    assert command[-1] == "https://data.example/$$(KUBERNETES_SERVICE_HOST)/$$$$.json"
    assert "$$" not in "".join(command[:-1])


def test_a_url_is_no_program(tmp_path: Path, site: str) -> None:
    download(tmp_path, f"{site}/$(touch {tmp_path}/pwned);touch {tmp_path}/pwned2")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("pwned")]


def push(tmp_path: Path, *, refusals: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the pusher with a `crane` that keeps what it is given and a `sleep` that takes no time."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sleep").write_text("#!/bin/sh\n")
    (tools / "crane").write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/tries\n"
        f'[ "$(wc -l < {tmp_path}/tries)" -gt {refusals} ] || exit 1\n'
        f'for word in "$@"; do printf "%s\\n" "$word"; done > {tmp_path}/asked\n'
        f'cp "$7" {tmp_path}/layer.tar\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    ws = tuned(output={**OUTPUT, "image": "registry.example/a;touch x:1"})
    command = container(ws, tuning.PUSHER)["command"]
    results = str(tmp_path / "results")
    return run([results if part == "/mnt/results" else part for part in command], f"{tools}:/usr/bin:/bin")


def finished(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "fine_tuning_completed.txt"):
        (results / name).write_text(name)


def test_the_adapter_is_pushed_as_an_image_that_inference_can_load(tmp_path: Path) -> None:
    finished(tmp_path)
    done = push(tmp_path)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:5] == ["append", "--platform", "linux/amd64", "--base", Settings().adapter_base_image]
    assert asked[-2:] == ["--new_tag", "registry.example/a;touch x:1"], "the image is one argument"
    with tarfile.open(tmp_path / "layer.tar") as layer:
        files = {item.name for item in layer if item.isfile()}
    assert files == {"data/adapter_config.json", "data/adapter_model.safetensors"}


def test_a_push_that_fails_is_tried_again_and_given_up_in_the_end(tmp_path: Path) -> None:
    finished(tmp_path)
    assert push(tmp_path, refusals=3).returncode == 0
    assert len((tmp_path / "tries").read_text().split()) == 4


def test_a_push_that_never_works_fails_the_job(tmp_path: Path) -> None:
    finished(tmp_path)
    done = push(tmp_path, refusals=1000)
    assert done.returncode == 1
    assert "could not be pushed" in done.stderr


def test_the_pusher_ends_when_tuning_has_failed(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / ".tuning-ended").write_text("1\n")
    done = push(tmp_path)
    assert done.returncode == 1
    assert "nothing is pushed" in done.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_the_end_of_tuning_is_told_and_its_exit_code_kept(tmp_path: Path, code: int) -> None:
    line = container(tuned(), "tune")["command"][2]
    told = line[line.index(";") :]
    assert run(["sh", "-c", f"true & (exit {code}){told}", "tune", str(tmp_path)]).returncode == code
    assert (tmp_path / ".tuning-ended").read_text() == f"{code}\n"


# --- how a Job is doing ------------------------------------------------------------------------------------


def a_job(**status: Any) -> Object:
    metadata = {
        "name": "tune",
        "uid": "job-uid",
        "annotations": {tuning.MADE_FROM: tuning.fingerprint(tuned())},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": status}


def a_pod(*states: tuple[str, Object], phase: str = "Running") -> Object:
    owner = {"kind": "Job", "name": "tune", "uid": "job-uid", "controller": True}
    statuses = [{"name": name, "state": state} for name, state in states]
    return {
        "metadata": {"name": "tune-x", "ownerReferences": [owner]},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def ended(code: int, reason: str = "Error") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason}}


def test_the_tuning_container_is_blamed_before_the_pusher() -> None:
    pod = a_pod((tuning.PUSHER, ended(1)), ("tune", ended(137, "OOMKilled")), phase="Failed")
    found = tuning.failure(a_job(failed=1), [pod])
    assert found == tuning.Failure("OOMKilled", "pod tune-x: container tune: OOMKilled, exit code 137", True)


def test_a_container_that_has_failed_fails_the_job_before_kubernetes_says_so() -> None:
    pod = a_pod(("tune", ended(1)), (tuning.PUSHER, {"running": {}}))
    found = tuning.failure(a_job(active=1), [pod])
    assert found is not None and found.final


def test_a_pull_that_fails_is_told_but_may_heal() -> None:
    pod = a_pod(("tune", {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}))
    found = tuning.failure(a_job(active=1), [pod])
    assert found is not None and (found.reason, found.final) == ("ImagePullBackOff", False)


def test_a_job_without_pods_fails_in_its_own_words() -> None:
    failed = {"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}
    found = tuning.failure(a_job(failed=1, conditions=[failed]), [])
    assert found is not None and "backoff limit" in found.message


def test_a_success_is_no_failure_whatever_the_pods_say() -> None:
    assert tuning.failure(a_job(succeeded=1), [a_pod(("tune", ended(1)))]) is None
    assert tuning.has_ended(a_job(succeeded=1))
    assert not tuning.has_ended(a_job(active=1))


def test_the_golden_names_are_deterministic() -> None:
    assert json.dumps(children(tuned())) == json.dumps(children(tuned()))
    assert dig(children(tuned())["Job"], "metadata", "annotations", tuning.MADE_FROM)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (OUTPUT, "the adapter is registry.example/adapter:1"),
        (CLAIM, "the adapter is in PersistentVolumeClaim data"),
        ({"volumeSource": {"nfs": {"server": "s", "path": "/"}}}, "the adapter is in its volume (nfs)"),
    ],
)
def test_who_has_tuned_hears_where_the_adapter_is(output: Object, words: str) -> None:
    ws = tuned(output=output)
    ws["metadata"]["generation"] = 1
    done = {"type": "WorkspaceSucceeded", "status": "True", "reason": "x", "observedGeneration": 1}
    ws["status"] = {"conditions": [done]}
    assert progress(Snapshot(ws)).detail == words
