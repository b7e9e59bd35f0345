"""Weights that are streamed from a store which annotations name: the objects, and the program in the pod."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from kaitoctl.kaito import api, node_check
from kaitoctl.kaito.desired import Settings, desired, refusal
from kaitoctl.kaito.desired.in_pods import fetch_sas
from kaitoctl.kaito.workspace_conditions import Observed, conditions
from kaitoctl.kube.objects import Object, dig
from kaitoctl.kube.yaml_writer import to_yaml

ALLOWING = Settings(
    image_generation="v0.12",
    provisioner="azure-gpu-provisioner",
    template_service_accounts=frozenset({"reader"}),
)
NOTES = {
    api.STATIC_MIRROR: "true",
    api.STREAM_URL: "https://models.example/registries/r/datarefs/phi/versions/1",
    api.STREAM_CLIENT: "0000",
    api.STREAM_SOURCE: "public",
    api.STREAM_ACCOUNT: "reader",
}


def asked(notes: dict[str, str], machine: str = "Standard_NC24ads_A100_v4", **inference: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "default", "annotations": notes},
        "resource": {"instanceType": machine, "labelSelector": {"matchLabels": {"apps": "w"}}},
        "inference": {"preset": {"name": "phi-4"}, **inference},
    }


def made_of(ws: Object, settings: Settings = ALLOWING, gpus: int = 1) -> dict[str, Object]:
    assert not refusal(ws, settings)
    return {
        f"{kind.kind} {item['metadata']['name']}": item
        for kind, item in desired(ws, gpus=gpus, settings=settings)
    }


def test_what_a_model_becomes_that_streams(golden: Callable[[str, str], None]) -> None:
    style = {"source": {"name": "style", "image": "registry.example/style:1"}}
    made = made_of(asked(NOTES, adapters=[style]))
    compile(made["ConfigMap w-fetch-sas-script"]["data"]["fetch_sas.py"], "fetch_sas.py", "exec")
    made["ConfigMap w-fetch-sas-script"]["data"]["fetch_sas.py"] = "..."
    golden("desired/v0.12/streamed.yaml", "---\n".join(map(to_yaml, made.values())))


def test_several_gpus_read_their_own_parts_of_the_weights() -> None:
    made = made_of(
        asked(NOTES, "Standard_NC48ads_A100_v4", preset={"name": "llama-3.3-70b-instruct"}), gpus=2
    )
    line = dig(made["StatefulSet w"], "spec", "template", "spec", "containers", 0, "command", 3)
    assert """--model-loader-extra-config='{"distributed": true}'""" in line


@pytest.mark.parametrize(
    ("notes", "settings"),
    [
        (NOTES, Settings(image_generation="v0.12")),
        ({**NOTES, api.STREAM_ACCOUNT: "admin"}, ALLOWING),
        ({**NOTES, api.STREAM_ACCOUNT: ""}, ALLOWING),
        ({**NOTES, api.ANNOTATION_STREAMING: "disabled"}, ALLOWING),
        ({**NOTES, api.STATIC_MIRROR: "false"}, ALLOWING),
        ({**NOTES, api.ANNOTATION_RUNTIME: "transformers"}, ALLOWING),
        ({**NOTES, api.ANNOTATION_LOCAL_WEIGHTS: "true"}, ALLOWING),
    ],
)
def test_nobody_is_given_an_identity_that_the_operator_does_not_allow(
    notes: dict[str, str], settings: Settings
) -> None:
    made = made_of(asked(notes), settings)
    pod = made["StatefulSet w"]["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod and "ConfigMap w-fetch-sas-script" not in made
    assert "STREAM_MODEL_URI" not in json.dumps(pod)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (api.STREAM_CLIENT, "", "a static mirror needs it"),
        (api.STREAM_SOURCE, "mine", "must be public or byo"),
        (api.STREAM_URL, "http://models.example/datarefs/x", "must be an https URL"),
    ],
)
def test_what_does_not_lead_to_a_store_is_refused(key: str, value: str, words: str) -> None:
    found = refusal(asked({**NOTES, key: value}), ALLOWING)
    assert key in found and words in found


def test_what_is_streamed_is_not_called_unused() -> None:
    ws = asked(NOTES)
    found = {}
    for settings in (ALLOWING, Settings(image_generation="v0.12")):
        verdict = node_check.verdict(ws, (), None)
        seen = Observed(verdict=verdict, workload=made_of(ws, settings)["StatefulSet w"])
        said = {item["type"]: item["message"] for item in conditions(ws, seen)}
        found[settings == ALLOWING] = said.get(api.FIELDS_IGNORED, "")
    assert not found[True]
    assert api.STATIC_MIRROR in found[False] and "--allow-template-service-account" in found[False]


# --- the program in the pod --------------------------------------------------------------------------------


class Azure(BaseHTTPRequestHandler):
    """Entra ID, a registry and a store; the listing has two pages."""

    names = ("w/a/model-1.safetensors", "w/a/b&amp;c/model-2.safetensors", "w/config.json")
    seen: ClassVar[list[tuple[str, str, str]]] = []

    def _answer(self, body: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((self.path, str(self.headers.get("Authorization")), body))
        if self.path == "/tenant/oauth2/v2.0/token":
            self._answer(json.dumps({"access_token": "t"}))
        else:
            uri = f"http://{self.headers['Host']}/store?sig=it's&se=1"
            self._answer(json.dumps({"blobReference": {"credential": {"sasUri": uri}}}))

    def do_GET(self) -> None:
        self.seen.append((self.path, str(self.headers.get("Authorization")), ""))
        query = parse_qs(urlsplit(self.path).query)
        if self.path.startswith("/store"):
            names = self.names[1:] if query.get("marker") == ["a&b"] else self.names[:1]
            marker = "<NextMarker>a&amp;b</NextMarker>" if "marker" not in query else "<NextMarker />"
            listed = "".join(f"<Blob><Name>{name}</Name></Blob>" for name in names)
            self._answer(f"<Blobs>{listed}</Blobs>{marker}")
        else:
            uri = "https://account.blob.core.windows.net/store/w"
            self._answer(json.dumps({"id": "azureml://x", "properties": {"modelUri": uri}}))

    def log_message(self, *said: Any) -> None:
        """Say nothing."""


@pytest.fixture
def azure() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Azure)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Azure.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("source", "path", "signing"),
    [
        ("public", "/registries/r/datarefs/phi/versions/1", "/registries/r/datarefs/phi/versions/1"),
        ("byo", "/models/phi/versions/1/", "/models/phi/versions/1/credentials"),
    ],
)
def test_the_pod_gets_a_token_and_finds_the_weights(
    azure: str, tmp_path: Path, source: str, path: str, signing: str
) -> None:
    program, file, identity = tmp_path / "fetch_sas.py", tmp_path / "env", tmp_path / "identity"
    program.write_text(made_of(asked(NOTES))["ConfigMap w-fetch-sas-script"]["data"]["fetch_sas.py"])
    identity.write_text("assertion\n")
    environment = {
        "AZURE_FEDERATED_TOKEN_FILE": str(identity),
        "AZURE_TENANT_ID": "tenant",
        "AZURE_AUTHORITY_HOST": azure + "/",
        "STREAM_DATAREFS_URL": azure + path,
        "STREAM_IDENTITY_CLIENT_ID": "client",
        "STREAM_SOURCE_TYPE": source,
        "STREAM_ENV_FILE": str(file),
    }
    ended = subprocess.run(
        [sys.executable, str(program)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert file.read_text().splitlines() == [
        f"AZURE_STORAGE_SAS_TOKEN={shlex.quote(chr(39).join(['sig=it', 's&se=1']))}",
        "AZURE_STORAGE_ACCOUNT_NAME=account",
        "STREAM_MODEL_URI=az://store/w/a",
    ]
    token, described, signed, *listed = Azure.seen
    form = {key: value for key, (value,) in parse_qs(token[2]).items()}
    assert form["client_assertion"] == "assertion" and form["client_id"] == "client"
    assert form["scope"] == f"{fetch_sas.AUDIENCES[source]}/.default"
    assert "datarefs" not in described[0] and described[1] == "Bearer t"
    assert signed[0] == signing and ("assetId" in signed[2]) == (source == "public")
    assert len(listed) == 2


@pytest.mark.parametrize(
    ("url", "source"), [("https://x/models/m", "public"), ("https://x/m/credentials", "byo")]
)
def test_an_address_of_another_kind_is_refused(url: str, source: str) -> None:
    with pytest.raises(ValueError, match="address"):
        fetch_sas.addresses_of(url, source)


def test_only_the_web_is_read() -> None:
    with pytest.raises(ValueError, match="no address of the web"):
        fetch_sas.said("file:///etc/passwd")
