"""A set behind a gateway: a server on the loopback that takes what an HTTPRoute says, and answers.

The Gateway API's kinds are here with the fields that are read; no controller of it runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from shell import Shell

SPACE = "gated"
GROUP = "gateway.networking.k8s.io"


def crd(kind: str, plural: str) -> Any:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, of a test"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


class Forward(BaseHTTPRequestHandler):
    """Takes the route's prefix off, and answers as a model server; every other path is nobody's."""

    seen: list[str]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(self.path)
        found: Any = {}
        if self.path == "/phis/v1/models":
            found = {"data": [{"id": "phi"}]}
        elif self.path == "/phis/v1/chat/completions":
            asked = json.loads(body)["messages"][-1]["content"]
            found = {"choices": [{"message": {"content": f"through the gateway: {asked}"}}]}
        text = json.dumps(found).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway(shell: Shell) -> Iterator[tuple[str, list[str]]]:
    """A set of one that serves, and the gateway before its pool."""
    seen: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("_", (Forward,), {"seen": seen})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        for kind, plural in (("Gateway", "gateways"), ("HTTPRoute", "httproutes")):
            shell.apply(crd(kind, plural))
            shell.kubectl("wait", "--for=condition=Established", f"crd/{plural}.{GROUP}", "--timeout=60s")
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/phis"}}],
            "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"replacePrefixMatch": "/"}}}],
            "backendRefs": [
                {
                    "group": "inference.networking.k8s.io",
                    "kind": "InferencePool",
                    "name": "phis-inferencepool",
                }
            ],
        }
        web = {"name": "web", "protocol": "HTTP", "port": port}
        for kind, spec, status in (
            ("Gateway", {"listeners": [web]}, {"addresses": [{"type": "IPAddress", "value": "127.0.0.1"}]}),
            ("HTTPRoute", {"parentRefs": [{"name": "gate", "sectionName": "web"}], "rules": [rule]}, {}),
        ):
            head = {
                "apiVersion": f"{GROUP}/v1",
                "kind": kind,
                "metadata": {"name": "gate", "namespace": SPACE},
            }
            shell.apply({**head, "spec": spec, "status": status})
        size = ("--replicas", "1", "--instance-type", "Standard_NC24ads_A100_v4", "--timeout", "90s")
        make = ("create", "inference-set", "phis", "--preset", "phi-4-mini-instruct", *size)
        shell.kaitoctl(*make, "-n", SPACE, "--yes")
        try:
            yield f"http://127.0.0.1:{port}/phis", seen
        finally:
            shell.kaitoctl("delete", "inferenceset/phis", "-n", SPACE, "--yes", "--no-wait")
            for plural in ("gateways", "httproutes"):
                shell.kubectl("delete", "crd", f"{plural}.{GROUP}", "--wait=false")
            shell.kubectl("delete", "namespace", SPACE, "--wait=false")
            server.shutdown()


def test_the_address_of_a_set_is_its_gateways_and_a_prompt_gets_through(
    shell: Shell, gateway: tuple[str, list[str]]
) -> None:
    url, seen = gateway
    found = shell.kaitoctl("endpoint", "phis", "-n", SPACE)
    assert found.stdout == f"{url}/v1/chat/completions\n"
    done = shell.kaitoctl("chat", "phis", "hello", "-n", SPACE, "--url", url, "--no-stream")
    assert done.stdout == "through the gateway: hello\n"
    assert seen[-1] == "/phis/v1/chat/completions"
