"""Saved lists: each form that kubectl, jq and shells leave behind is read, all else refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import node, pod

from kaitoctl.advice import text
from kaitoctl.commands.saved_lists import objects, objects_and
from kaitoctl.errors import InputError
from kaitoctl.kube import partial_decoding

A, B = node("gpu-a"), node("gpu-b")
LIST = {"apiVersion": "v1", "kind": "List", "items": [A, B]}
TEXT = json.dumps(LIST)
STATUS = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "nodes is forbidden"}


def tar_of(body: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("nodes.json")
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
    return out.getvalue()


READ: dict[str, str | bytes] = {
    "list": TEXT,
    "node-list": json.dumps({**LIST, "kind": "NodeList"}),
    "no-kind": json.dumps({"items": [A, B]}),
    "items-without-types": json.dumps(
        {**LIST, "kind": "NodeList", "items": [{"metadata": A["metadata"]}, {"metadata": B["metadata"]}]}
    ),
    "beside-those-of-openshift": json.dumps(
        [A, {**A, "apiVersion": "config.openshift.io/v1", "metadata": {"name": "cluster"}}, B]
    ),
    "array": json.dumps([A, B]),
    "array-of-lists": json.dumps([LIST]),
    "json-lines": f"{json.dumps(A)}\n{json.dumps(B)}\n",
    "one-after-another": json.dumps(A) + json.dumps(B),
    "indented-one-after-another": f"{json.dumps(A, indent=2)}\n\n{json.dumps(B, indent=2)}\n",
    "two-lists": json.dumps({**LIST, "items": [A]}) + json.dumps({**LIST, "items": [B]}),
    "yaml-list": yaml.safe_dump(LIST),
    "yaml-documents": yaml.safe_dump_all([A, B]),
    "yaml-array": yaml.safe_dump([A, B]),
    "beside-others": yaml.safe_dump_all([pod(), A, B]),
    "gzip": gzip.compress(TEXT.encode()),
    "utf-8-mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-be": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "utf-16-without-mark": TEXT.encode("utf-16-le"),
    "utf-32": TEXT.encode("utf-32"),
    "gzip-in-members": gzip.compress(TEXT[:90].encode()) + gzip.compress(TEXT[90:].encode()),
    "gzips-one-after-another": gzip.compress(json.dumps(A).encode()) + gzip.compress(json.dumps(B).encode()),
    "gzip-padded": gzip.compress(TEXT.encode()) + b"\0" * 512,
    "watched": "".join(f"{json.dumps(obj, indent=4)}\n" for obj in (A, B, A, B)),
    "gzip-of-utf-16": gzip.compress(TEXT.encode("utf-16")),
}

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "page": (json.dumps({**LIST, "metadata": {"continue": "abc"}}), "one page of a longer list"),
    "last-page-missing": (
        json.dumps({**LIST, "kind": "NodeList", "metadata": {"remainingItemCount": 7}}),
        "one page of a longer list",
    ),
    "yaml-cut-off": (yaml.safe_dump(LIST).partition("kind: List")[0], "a list that is cut off"),
    "list-without-items": ('{"apiVersion": "v1", "kind": "NodeList"}', "a NodeList without items"),
    "gzip-cut-off-later": (
        gzip.compress(json.dumps(A).encode()) + gzip.compress(json.dumps(B).encode())[:-30],
        "cut off",
    ),
    "zip": (b"PK\x03\x04\x14\x00" + b"\x81" * 40, "a zip archive"),
    "bzip2": (bz2.compress(TEXT.encode()), "a bzip2 file"),
    "xz": (lzma.compress(TEXT.encode()), "an xz file"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00" + b"\x81" * 40, "a zstd file"),
    "tar-in-gzip": (gzip.compress(tar_of(TEXT.encode())), "a tar archive"),
    "gzip-in-gzip": (gzip.compress(gzip.compress(TEXT.encode())), "a gzip file"),
    "not-logged-in": ("error: You must be logged in to the server (Unauthorized)\n", "an error message"),
    "forbidden": ("Error from server (Forbidden): nodes is forbidden\n", "an error message"),
    "refused": ("The connection to the server localhost:8080 was refused\n", "an error message"),
    "unknown-host": ("Unable to connect to the server: dial tcp: no such host\n", "an error message"),
    "klog": (
        "E1128 10:00:00.000000   12 memcache.go:265] couldn't get server API groups\n",
        "an error message",
    ),
    "none-found": ("No resources found\n", "an error message"),
    "shell": ("bash: kubectl: command not found\n", "an error message"),
    "warning-first": ("Warning: v1 ComponentStatus is deprecated\n" + TEXT, "an error message"),
    "error-in-gzip": (gzip.compress(b"error: You must be logged in"), "an error message"),
    "error-in-utf-16": ("error: You must be logged in".encode("utf-16"), "an error message"),
    "html": ("<!DOCTYPE html><html>Sign in</html>", "an HTML or XML page"),
    "status": (json.dumps(STATUS), "an error of the API server (Forbidden: nodes is forbidden)"),
    "status-as-yaml": (yaml.safe_dump(STATUS), "an error of the API server"),
    "screen": ("NAME    STATUS   ROLES\ngpu-a   Ready    <none>\n", "the table that kubectl get prints"),
    "screen-of-all": ("NAMESPACE   NAME   READY\nx   p   1/1\n", "the table that kubectl get prints"),
    "names": ("node/gpu-a\nnode/gpu-b\n", "names (-o name)"),
    "described": ("Name:               gpu-a\nRoles:              <none>\n", "what kubectl describe prints"),
    "table": (json.dumps({"kind": "Table", "rows": []}), "a Table"),
    "pods": (json.dumps({"kind": "PodList", "items": []}), "holds Pods, not Nodes"),
    "pods-in-a-list": (json.dumps({"kind": "List", "items": [pod()]}), "holds Pods, not Nodes"),
    "one-pod": (json.dumps(pod()), "holds Pods, not Nodes"),
    "metrics": (json.dumps({"kind": "NodeMetricsList", "items": []}), "holds NodeMetrics, not Nodes"),
    "nodes-of-rancher": (
        json.dumps({"apiVersion": "management.cattle.io/v3", "kind": "NodeList", "items": [A]}),
        "holds Nodes of apiVersion management.cattle.io/v3, not Nodes of apiVersion v1",
    ),
    "no-nodes-of-rancher": (
        json.dumps({"apiVersion": "management.cattle.io/v3", "kind": "NodeList", "items": []}),
        "holds Nodes of apiVersion management.cattle.io/v3",
    ),
    "nodes-of-openshift-in-a-list": (
        json.dumps({**LIST, "items": [{**A, "apiVersion": "config.openshift.io/v1"}]}),
        "holds Nodes of apiVersion config.openshift.io/v1",
    ),
    "nodes-of-others-without-kind": (
        json.dumps([{"apiVersion": "example.com/v1", "metadata": {"name": "a"}}]),
        "holds Nodes of apiVersion example.com/v1",
    ),
    "node-of-openshift": (
        yaml.safe_dump({**A, "apiVersion": "config.openshift.io/v1"}),
        "holds Nodes of apiVersion config.openshift.io/v1",
    ),
    "kubeconfig": (yaml.safe_dump({"kind": "Config", "users": []}), "holds Configs"),
    "map": ('{"error": "x"}', "a map without kind and name (error)"),
    "empty-map": ("{}", "an empty map"),
    "odd-items": ('{"kind": "List", "items": [{"a": 1}]}', "a map without kind and name (a)"),
    "numbers": ("[1, 2]", "an array with a number in it"),
    "number-items": ('{"kind": "List", "items": [1]}', "a list with a number in it"),
    "number": ("42", "a number"),
    "null": ("null", "nothing"),
    "comment": ("# nodes\n", "nothing"),
    "cut-stream": (json.dumps(A) + json.dumps(B)[:40], "cut off"),
    "cut-gzip": (gzip.compress(TEXT.encode())[:-9], "cut off"),
    "binary": (bytes(range(1, 255)), "not UTF-8"),
    "empty": (" \n", "the file is empty"),
}


def saved(folder: Path, body: str | bytes) -> str:
    file = folder / "nodes"
    file.write_bytes(body if isinstance(body, bytes) else body.encode())
    return str(file)


@pytest.mark.parametrize("decode", [None, partial_decoding.node_list(["apps"])], ids=["whole", "trimmed"])
@pytest.mark.parametrize("form", READ)
def test_each_form_of_a_list_is_read(
    tmp_path: Path, form: str, decode: Callable[[bytes], Any] | None
) -> None:
    found = objects(saved(tmp_path, READ[form]), "Node", option="--nodes", decode=decode)
    assert [item["metadata"]["name"] for item in found] == ["gpu-a", "gpu-b"]


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_list_is_refused_with_what_it_is(tmp_path: Path, form: str) -> None:
    body, words = REFUSED[form]
    with pytest.raises(InputError) as caught:
        objects(saved(tmp_path, body), "Node", option="--nodes")
    assert words in f"{caught.value.message} {text(caught.value.hint)}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_no_file(name: str) -> None:
    with pytest.raises(InputError, match="names no file"):
        objects(name, "Node", option="--nodes")


def test_a_list_may_be_empty(tmp_path: Path) -> None:
    for body in ('{"kind": "List", "items": []}', '{"kind": "NodeList", "items": null}', "[]"):
        assert objects(saved(tmp_path, body), "Node", option="--nodes") == []


def test_a_text_that_may_be_a_secret_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        objects(saved(tmp_path, "ghp_AbCdEfGhIjKlMnOp"), "Pod", option="--pods")
    assert "ghp_" not in str(caught.value)


def test_of_an_object_that_was_watched_the_last_version_counts(tmp_path: Path) -> None:
    """`kubectl get pods -A -w -o json` prints a pod again with each change: it holds its GPUs once."""
    early, late = pod("p", node_name="gpu-a", gpus=2), pod("p", node_name="gpu-a", gpus=2)
    late["status"] = {"phase": "Succeeded"}
    elsewhere = pod("p", node_name="gpu-a", gpus=1)
    elsewhere["metadata"]["namespace"] = "b"
    file = saved(tmp_path, "".join(map(json.dumps, (early, early, elsewhere, late))))
    assert objects(file, "Pod", option="--pods") == [late, elsewhere]


def test_metadata_that_is_no_map_names_nothing(tmp_path: Path) -> None:
    values: list[Any] = ["text", ["a"], None, {}]
    nodes: list[Any] = [{"kind": "Node", "metadata": metadata} for metadata in values]
    assert objects(saved(tmp_path, json.dumps({"items": nodes})), "Node", option="--nodes") == nodes


def test_workspaces_of_others_beside_the_nodes_are_left_out(tmp_path: Path) -> None:
    """Terraform's operator has a kind Workspace, too, and `kubectl get nodes,workspaces` may mean that."""
    ours = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "metadata": {"name": "falcon"}}
    theirs = {"apiVersion": "app.terraform.io/v1alpha2", "kind": "Workspace", "metadata": {"name": "infra"}}
    file = saved(tmp_path, json.dumps({**LIST, "items": [A, theirs, ours, B]}))
    found, beside = objects_and("Workspace", file, "Node", option="--nodes")
    assert ([item["metadata"]["name"] for item in found], beside) == (["gpu-a", "gpu-b"], [ours])
