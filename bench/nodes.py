"""check-nodes on a large cluster beside kubectl, and offline beside orjson; interleaved in one run.

    python -m bench nodes [--rounds N]

A local server has NODES nodes of 15 KB (as AKS shows them) and five times as many pods of 2.4 KB; it selects
and pages as an API server does, so both programs read the same bytes. "some" is a Workspace whose instance
type a tenth of the nodes have, and whose labels one in five hundred; "all" is one whose instance type all
nodes have. Medians; memory is the peak.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from bench.figures import Figure, of_pairs, of_values

BIN = Path(sys.executable).parent
TYPE = "Standard_NC12s_v3"
PODS_PER_NODE = 5
NOT_FOUND = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "NotFound",
    "code": 404,
    "message": "the server could not find the requested resource",
    "details": {},
}


def node(number: int, *, gpu: bool, labelled: bool) -> dict[str, Any]:
    name = f"aks-pool{number % 20}-24718361-vmss{number:06}"
    labels = {f"kubernetes.azure.com/label-{index}": f"value-{index}" for index in range(18)}
    labels |= {
        "kubernetes.io/hostname": name,
        "node.kubernetes.io/instance-type": TYPE if gpu else "Standard_D8s",
    }
    if labelled:
        labels["apps"] = "falcon-7b"
    amounts = {"cpu": "11740m", "memory": "108129Mi", "pods": "110"} | (
        {"nvidia.com/gpu": "2"} if gpu else {}
    )
    owned: dict[str, Any] = {
        f"f:field-{index}": {".": {}, "f:inner": {}, "f:other": {}} for index in range(110)
    }
    images = [
        {"names": [f"mcr.microsoft.com/oss/image-{index}@sha256:{'ab' * 32}"] * 2, "sizeBytes": 10**8}
        for index in range(25)
    ]
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "KernelDeadlock", "Ready")
    return {
        "metadata": {
            "name": name,
            "uid": f"{number:032x}",
            "resourceVersion": str(number),
            "labels": labels,
            "annotations": {f"csi.volume.kubernetes.io/{index}": "x" * 60 for index in range(8)},
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": owned}],
        },
        "spec": {"podCIDR": "10.244.0.0/24", "providerID": f"azure:///{name}", "taints": [
            {"key": "sku", "value": "gpu", "effect": "NoSchedule"}]},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [
                {"type": kind, "status": str(kind == "Ready"), "reason": f"Kubelet{kind}",
                 "message": "m" * 60, "lastHeartbeatTime": "2026-11-23T10:00:00Z",
                 "lastTransitionTime": "2026-11-20T10:00:00Z"}
                for kind in kinds
            ],
            "images": images,
        },
    }  # fmt: skip


def pod(number: int, node_name: str, *, gpus: int) -> dict[str, Any]:
    resources = {"requests": {"cpu": "100m"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    container: dict[str, Any] = {"name": "main", "image": "registry.example/app:1", "resources": resources}
    container["env"] = [{"name": f"NAME_{index}", "value": "v" * 40} for index in range(15)]
    owned: dict[str, Any] = {f"f:field-{index}": {".": {}, "f:inner": {}} for index in range(30)}
    return {
        "metadata": {"name": f"pod-{number}", "namespace": f"ns-{number % 50}", "managedFields": [owned]},
        "spec": {"nodeName": node_name, "containers": [container]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }


class Collection:
    """Objects as bytes, found by the selectors that the programs send."""

    def __init__(self, kind: str, objects: list[dict[str, Any]]) -> None:
        self.kind = kind
        self.bodies = [json.dumps(obj, separators=(",", ":")).encode() for obj in objects]
        self.keys = [
            ({"metadata.name": obj["metadata"]["name"], "spec.nodeName": obj["spec"].get("nodeName", ""),
              "status.phase": obj["status"].get("phase", "")}, dict(obj["metadata"].get("labels") or {}))
            for obj in objects
        ]  # fmt: skip
        self.found: dict[tuple[str, str], list[bytes]] = {}
        self.on_node: dict[str, list[int]] = {}  # API servers have this index, too
        for number, (own, _) in enumerate(self.keys):
            self.on_node.setdefault(own["spec.nodeName"], []).append(number)

    def select(self, labels: str, fields: str) -> list[bytes]:
        if (labels, fields) not in self.found:
            node_name = fields.partition(",")[0].removeprefix("spec.nodeName=")
            candidates = (
                self.on_node.get(node_name, []) if "spec.nodeName=" in fields else range(len(self.keys))
            )
            self.found[labels, fields] = [
                self.bodies[number]
                for number in candidates
                if _matches(labels, self.keys[number][1]) and _matches(fields, self.keys[number][0])
            ]
        return self.found[labels, fields]

    def page(self, query: dict[str, str]) -> bytes:
        selected = self.select(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or len(selected) or 1)
        more = str(start + limit) if start + limit < len(selected) else ""
        head = {
            "kind": f"{self.kind}List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "9", "continue": more},
        }
        return (
            json.dumps(head)[:-1].encode()
            + b',"items":['
            + b",".join(selected[start : start + limit])
            + b"]}"
        )


def _matches(selector: str, have: dict[str, str]) -> bool:
    for part in selector.split(",") if selector else ():
        key, _, value = part.partition("!=") if "!=" in part else part.partition("=")
        if (have.get(key) == value) == ("!=" in part):
            return False
    return True


def listen(answer: Callable[[str], tuple[int, bytes]], port: Any) -> None:
    """Serve for ever on a free port of loopback.

    Args:
        answer: given path and query of a GET: the status, and a body of JSON.
        port: where the number of the port goes.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def serve(count: int, port: Any) -> None:
    every = [node(number, gpu=number % 10 == 0, labelled=number % 500 == 0) for number in range(count)]
    pods = [
        pod(
            number,
            every[number % count]["metadata"]["name"],
            gpus=2 if number % count % 30 == 0 and number < count else 0,
        )
        for number in range(count * PODS_PER_NODE)
    ]
    nodes, holding = Collection("Node", every), Collection("Pod", pods)
    for item in every:
        item["metadata"]["labels"]["node.kubernetes.io/instance-type"] = TYPE
        item["status"]["allocatable"]["nvidia.com/gpu"] = "2"
    roots = {"": (nodes, holding), "/all": (Collection("Node", every), holding)}

    def answer(target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        root = "/all" if parts.path.startswith("/all/") else ""
        path = parts.path.removeprefix(root)
        plain = {"namespaced": False, "verbs": ["list"]}
        answers: dict[str, Any] = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                {"name": "nodes", "singularName": "node", "kind": "Node", **plain}]},
        }  # fmt: skip
        listed = {"/api/v1/nodes": roots[root][False], "/api/v1/pods": roots[root][True]}
        status = 200
        if path in answers:
            body = json.dumps(answers[path]).encode()
        elif path in listed:
            body = listed[path].page(query)
        elif found := roots[root][False].select("", f"metadata.name={path.rpartition('/')[2]}"):
            body = found[0]
        else:  # no KAITO, no Workspaces: what else there is to ask about
            status, body = 404, json.dumps(NOT_FOUND).encode()
        return status, body

    listen(answer, port)


def save(count: int, file: Path) -> None:
    """A dump as kubectl writes it."""
    items = [node(number, gpu=True, labelled=number % 500 == 0) for number in range(count)]
    with file.open("w") as out:
        json.dump({"kind": "List", "apiVersion": "v1", "items": items}, out, indent=4)


# In a small process of its own: the peak memory of a program starts at that of the process that started it.
_RUN = """
import os, sys, time
to_nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_nowhere)
_, status, used = os.wait4(child, 0)
took = time.perf_counter() - started, used.ru_utime + used.ru_stime
print(*took, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""


class Taken(NamedTuple):
    """What a run took: seconds, of them on a processor, and the peak of its memory in MiB."""

    seconds: float
    cpu_s: float
    mib: float


def measured(command: list[str], env: dict[str, str]) -> Taken:
    """Of a program that may say no, and must not fail."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _RUN, *command], capture_output=True, text=True, check=True, env=env
    )
    *took, code = done.stdout.split()
    assert code in ("0", "1"), done.stderr
    return Taken(*map(float, took))


def kubeconfig(folder: Path, name: str, server: str) -> str:
    file = folder / name
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
    }  # fmt: skip
    file.write_text(json.dumps(config))
    return str(file)


def figures(rounds: int = 3, count: int = 10_000) -> list[Figure]:
    taken, size = compared(count, rounds, alone=False)

    def beside(what: str, side: str, peer: str, aim: str) -> Figure:
        pairs = [(a.seconds, b.seconds) for a, b in zip(taken[side], taken[peer], strict=True)]
        return of_pairs("nodes", what, pairs, peer, aim, unit="s")

    def of_cpu(what: str, side: str, peer: str) -> Figure:
        pairs = [(a.cpu_s, b.cpu_s) for a, b in zip(taken[side], taken[peer], strict=True)]
        return of_pairs("nodes", what, pairs, peer, "", unit="s")

    def memory(what: str, side: str) -> Figure:
        return of_values("nodes", what, [run.mib for run in taken[side]], unit="MiB", aim="<= 60")

    rival = "kubectl get nodes -o name"
    return [
        beside(f"{count} nodes, a tenth may be used", "check-nodes, some", rival, "<= 0.05"),
        memory(f"{count} nodes, a tenth may be used: memory", "check-nodes, some"),
        beside(f"{count} nodes, all may be used", "check-nodes, all", rival, "<= 0.05"),
        of_cpu(f"{count} nodes, all may be used: processor time", "check-nodes, all", rival),
        memory(f"{count} nodes, all may be used: memory", "check-nodes, all"),
        beside(f"a dump of {size:.0f} MiB, offline", "check-nodes, offline", "python, orjson.loads", ""),
    ]


def compared(count: int, rounds: int, *, alone: bool) -> tuple[dict[str, list[Taken]], float]:
    """What each run took, by program, and the size of the dump in MiB."""
    ours, port = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(count, port), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{ours.recv()}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("KAITOCTL")}
    check = [
        str(BIN / "kaitoctl"),
        "check-nodes",
        "--preset",
        "falcon-7b",
        "--instance-type",
        TYPE,
        "-o",
        "json",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        some, every = kubeconfig(folder, "some", address), kubeconfig(folder, "all", f"{address}/all")
        env["HOME"] = name
        dump = folder / "nodes.json"
        save(count, dump)
        size = dump.stat().st_size / 2**20
        parse = "import gc,sys,orjson; gc.disable(); orjson.loads(open(sys.argv[1],'rb').read())"
        sides = {
            "kubectl get nodes -o name": [
                str(BIN / "kubectl"),
                "--kubeconfig",
                some,
                "get",
                "nodes",
                "-o",
                "name",
            ],
            "check-nodes, some": [*check, "--label", "apps=falcon-7b", "--kubeconfig", some],
            "check-nodes, all": [*check, "--label", "apps=falcon-7b", "--kubeconfig", every],
            "python, orjson.loads": [sys.executable, "-c", parse, str(dump)],
            "check-nodes, offline": [*check, "--label", "apps=falcon-7b", "--nodes", str(dump)],
        }
        if alone:
            sides = {name: command for name, command in sides.items() if name.startswith("check-nodes")}
            measured(sides["check-nodes, offline"], env)  # the file comes from the disk once
            measured(sides["check-nodes, all"], env)  # and the server finds what is selected once
        taken: dict[str, list[Taken]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, command in sides.items():
                taken[name].append(measured(command, env))
    server.terminate()
    return taken, size
