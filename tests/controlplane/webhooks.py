"""A webhook of `deploy/` on this machine, and what an API server answers that asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from controlplane.plane import ControlPlane
from pure.test_review import WRONG
from shell import BIN, Shell

from kaitoctl.kube.objects import Object
from kaitoctl.kube.webhooks import VALIDATING


def documents(file: Path, home: str, space: str, port: int) -> Iterator[Object]:
    """A manifest's objects, in the namespace `home`; the webhook is on this machine, for `space` alone."""
    text = file.read_text().replace("kaitoctl-system", home)
    for item in yaml.safe_load_all(text):
        if item["kind"] == "Deployment":
            item["spec"]["replicas"] = 0
        if item["kind"] == VALIDATING.kind:
            (hook,) = item["webhooks"]
            hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}/validate"}
            hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": space}}
            hook["failurePolicy"] = "Fail"
        yield item


def as_in_space(space: str, manifest: Object, name: str = "") -> Object:
    made: Object = json.loads(json.dumps({key: value for key, value in manifest.items() if key != "status"}))
    metadata = made.get("metadata")
    if isinstance(metadata, dict):
        for field in ("uid", "resourceVersion", "generation"):
            metadata.pop(field, None)
        made["metadata"] = {**metadata, "namespace": space, **({"name": name} if name else {})}
    return made


def create(plane: ControlPlane, space: str, manifest: Object) -> tuple[int, Any]:
    version = str(manifest.get("apiVersion")).rpartition("/")[2]
    path = f"/apis/kaito.sh/{version}/namespaces/{space}/workspaces?fieldValidation=Strict"
    return plane.send("POST", path, manifest)


def shows_the_words_of_validate(plane: ControlPlane, space: str, tmp_path: Path) -> None:
    """A Workspace that is wrong, and one that is doubtful, by kubectl and offline."""
    shell = Shell(tmp_path, cluster={"KUBECONFIG": str(plane.kubeconfig)})
    bad = as_in_space(space, WRONG, "words")
    bad["metadata"]["annotations"] = {"kaito.sh/enable-lb": "yes"}
    (tmp_path / "bad.yaml").write_text(json.dumps(bad))
    offline = shell.kaitoctl("validate", "bad.yaml", "--target-version", "kaitoctl", "-o", "json", code=2)
    problems = json.loads(offline.stdout)["documents"][0]["problems"]
    kubectl = [str(BIN / "kubectl"), f"--kubeconfig={shell.kubeconfig}", "apply", "-f", "bad.yaml"]
    done = shell.run(*kubectl)
    assert done.returncode == 1
    for problem in problems:
        assert problem["message"] in done.stderr, problem
        assert problem["code"] in done.stderr
    assert {one["severity"] for one in problems} == {"error", "warning"}
    assert "Warning: KW" in done.stderr
