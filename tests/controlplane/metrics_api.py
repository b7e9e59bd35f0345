"""external.metrics.k8s.io with one metric of a test's own, as an aggregated API of the real API server.

A Service of type ExternalName leads there: the API server resolves it without a network of pods.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from controlplane.certificates import Authority
from controlplane.plane import ControlPlane

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
NAMESPACE = "metrics-of-a-test"


class Metric:
    """A metric: its name, and its value now.

    Attributes:
        value: the sum that an autoscaler divides among replicas.
        asked: how often it was asked for.
    """

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value, self.asked = name, value, 0

    def answer(self, path: str) -> Any:
        if path.rstrip("/") == f"/apis/{GROUP}/{VERSION}":
            found = {
                "name": self.name,
                "namespaced": True,
                "kind": "ExternalMetricValueList",
                "verbs": ["get"],
            }
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": [{**found, "singularName": ""}],
            }
        if path.endswith(f"/{self.name}"):
            self.asked += 1
            item = {"metricName": self.name, "metricLabels": {}, "value": str(self.value)}
            return {
                "kind": "ExternalMetricValueList",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {},
                "items": [{**item, "timestamp": "2026-01-01T00:00:00Z"}],
            }
        return None


@contextmanager
def served(control_plane: ControlPlane, metric: Metric, authority: Authority) -> Iterator[None]:
    """Serve the metric, registered with the API server, for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = metric.answer(self.path.partition("?")[0])
            body = json.dumps(found or {"kind": "Status", "code": 404}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: object) -> None:
            """Nothing: a test's output is read by people."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pair = authority.server("localhost", ["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    name = f"{VERSION}.{GROUP}"
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    spec = {"type": "ExternalName", "externalName": "localhost"}
    where = {"name": "metrics", "namespace": NAMESPACE}
    control_plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": spec})
    control_plane.apply(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {**where, "port": server.server_address[1]},
            },
        }
    )
    try:
        yield
    finally:
        control_plane.do("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/{name}")
        # The namespace stays: one that is on its way out would take the next test's Service with it.
        control_plane.do("DELETE", f"/api/v1/namespaces/{NAMESPACE}/services/metrics")
        server.shutdown()
        server.server_close()
