"""A real Kubernetes control plane on loopback: etcd, API server, controllers, scheduler, KWOK for nodes.

KWOK is the kubelets and the node provisioner: `stages.yaml` says what becomes of nodes, pods and NodeClaims.
All of it is in one temporary folder; at the end neither the folder nor a process is left.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml
from controlplane import programs
from controlplane.certificates import Authority, write_key
from controlplane.stages import stages

from kaitoctl import packaged
from kaitoctl.kube.objects import Object

AuditLevel = Literal["None", "Metadata", "Request", "RequestResponse"]

_FOLDER = "kaitoctl-controlplane-"
_START_S = 120.0
_STOP_S = 30.0
_LOOK_AGAIN_S = 0.05
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


class Program:
    """One program of the control plane, which writes to a log file in the folder."""

    def __init__(self, file: Path, arguments: Sequence[str], folder: Path) -> None:
        self.name = file.name
        self._command = [str(file), *arguments]
        self._folder = folder
        self._log = folder / f"{file.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it ends with this process, however that ends."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                # Nothing of the developer's home or environment is seen. With four times the usual room Go
                # collects less garbage; it is 100 MiB.
                env={"HOME": str(self._folder), "PATH": "", "GOGC": "400"},
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, politely unless `kill`."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._process is not None, f"{self.name} is stopped"
        return self._process.pid

    def insist(self) -> None:
        """Raise when it has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise RuntimeError(f"{self.name} ended with exit code {code}:\n{self.log()}")

    def log(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])


class ControlPlane:
    """A control plane that is up. `running` makes one.

    Args:
        folder: where its files are.
        audit_level: how much of each request the audit log keeps.
        bare: only what an API itself promises, deletion with its consequences included; nobody schedules
            or runs pods, makes pods of Deployments, or adds to what is created.
    """

    def __init__(
        self,
        found: Mapping[str, Path],
        folder: Path,
        *,
        audit_level: AuditLevel = "Metadata",
        bare: bool = False,
    ) -> None:
        self.folder = folder
        self._bare = bare
        self.port = _free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        self._authority = Authority(folder)
        self.certificate_authority = self._authority.certificate
        self._audit_log = folder / "audit.jsonl"
        self.kubeconfig = self.kubeconfig_of("admin", ["system:masters"])
        self._ssl = ssl.create_default_context(cafile=str(self.certificate_authority))
        self._ssl.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        token_key = write_key(folder / "service-accounts.key")
        self.etcd = Program(found["etcd"], _etcd(folder), folder)
        self.api_server = Program(found["kube-apiserver"], self._api_server(token_key, audit_level), folder)
        self.others = [Program(found["kube-controller-manager"], self._controllers(token_key), folder)]
        if not bare:
            self.others.append(Program(found["kube-scheduler"], self._scheduler(), folder))
            self.others.append(Program(found["kwok"], self._kwok(), folder))

    # --- who may speak to it --------------------------------------------------------------------------------

    def kubeconfig_of(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate: what the user may do, RBAC says."""
        pair = self._authority.client(user, groups)
        identity = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        return self._kubeconfig(pair.certificate.stem, identity)

    def kubeconfig_of_service_account(self, namespace: str, name: str, *, valid_s: int = 3600) -> Path:
        """A kubeconfig with a token of a ServiceAccount that exists, valid for 600 s at least."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        made = self.do("POST", path, {**asked, "spec": {"expirationSeconds": valid_s}})
        return self._kubeconfig(f"{namespace}-{name}", {"token": made["status"]["token"]})

    def _kubeconfig(self, name: str, identity: Object) -> Path:
        authority = str(self.certificate_authority)
        cluster = {"server": self.address, "certificate-authority": authority}
        made = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": name, "user": identity}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": name}}],
            "current-context": "real",
        }
        file = self.folder / f"{name}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(made))
        return file

    # --- requests of an administrator -----------------------------------------------------------------------

    def connection(self) -> http.client.HTTPSConnection:
        """A connection as the administrator; close it."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self._ssl)

    def send(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Carry out a request; returns the status code and the body, decoded when it is JSON."""
        connection = self.connection()
        try:
            raw = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            connection.request(method, path, raw, headers)
            response = connection.getresponse()
            answer = response.read()
            # By its looks: /openapi/v3 calls its JSON text/plain.
            return response.status, json.loads(answer) if answer.startswith(b"{") else answer.decode()
        finally:
            connection.close()

    def do(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """Carry out a request that must succeed; returns the body."""
        status, answer = self.send(method, path, body, content_type=content_type)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def apply(self, obj: Object) -> Object:
        """Server-side apply an object of a kind that the server knows; returns it."""
        version = obj["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        plural = {
            item["kind"]: item["name"]
            for item in self.do("GET", root)["resources"]
            if "/" not in item["name"]
        }
        space = obj["metadata"].get("namespace")
        where = f"{root}/namespaces/{space}" if space else root
        path = f"{where}/{plural[obj['kind']]}/{obj['metadata']['name']}?fieldManager=tests&force=true"
        applied: Object = self.do("PATCH", path, obj, content_type="application/apply-patch+yaml")
        return applied

    def install(self, crds: Sequence[Object] | None = None) -> None:
        """Apply CRDs, those of `schemas/` when none are given, and wait until they are served."""
        if crds is None:
            files = sorted(packaged.folder("schemas").glob("*.yaml"))
            crds = [crd for file in files for crd in yaml.safe_load_all(file.read_text())]
        for crd in crds:
            self.apply(crd)
        # The documents of /openapi/v3 come last; kubectl and KWOK look there for the kinds.
        wanted = {
            f"apis/{crd['spec']['group']}/{it['name']}" for crd in crds for it in crd["spec"]["versions"]
        }
        self._until(lambda: wanted <= self.do("GET", "/openapi/v3")["paths"].keys(), f"OpenAPI of {wanted}")

    def audit_events(self, since: int = 0) -> list[Object]:
        """The requests that were answered after `audit_mark` was `since`, as `audit.k8s.io/v1` Events."""
        return self.audit_events_from(since)[0]

    def audit_events_from(self, mark: int) -> tuple[list[Object], int]:
        """As `audit_events`, and the mark from which to go on."""
        if not self._audit_log.exists():
            return [], mark
        with self._audit_log.open("rb") as log:
            log.seek(mark)
            whole = [line for line in log if line.endswith(b"\n")]
        return [json.loads(line) for line in whole], mark + sum(map(len, whole))

    def audit_mark(self) -> int:
        """Where the audit log ends now."""
        return self._audit_log.stat().st_size if self._audit_log.exists() else 0

    # --- up and down ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all programs, and wait until pods can be made: their ServiceAccount is there."""
        self.etcd.start()
        self.start_api_server()
        self.install()
        for program in self.others:
            program.start()
        if self._bare:
            return
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._until(lambda: self.send("GET", account)[0] == 200, "the default ServiceAccount")

    def stop(self) -> None:
        """Stop all programs."""
        # Nothing of it is needed again: only a program that is asked to by a test ends politely.
        for program in [*reversed(self.others), self.api_server, self.etcd]:
            program.stop(kill=True)

    def stop_api_server(self, *, kill: bool = False) -> None:
        """Stop the API server alone; etcd keeps the objects."""
        self.api_server.stop(kill=kill)

    def start_api_server(self) -> None:
        """Start the API server at the same address, and wait until it is ready."""
        self.api_server.start()
        self._until(self._is_ready, "the API server")

    def restart_api_server(self, *, kill: bool = False) -> None:
        """Stop the API server and start it again; every connection to it breaks."""
        self.stop_api_server(kill=kill)
        self.start_api_server()

    def _is_ready(self) -> bool:
        try:
            return self.send("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_S
        while not holds():
            for program in [self.etcd, self.api_server, *self.others]:
                program.insist()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} is not there after {_START_S:.0f} s:\n{self.api_server.log()}")
            time.sleep(_LOOK_AGAIN_S)

    # --- command lines --------------------------------------------------------------------------------------

    def _api_server(self, token_key: Path, audit_level: AuditLevel) -> list[str]:
        served = self._authority.server("kube-apiserver")
        policy = self.folder / "audit-policy.yaml"
        rules = [{"level": "None", "userGroups": ["system:nodes"]}, {"level": audit_level}]
        kind = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
        policy.write_text(json.dumps({**kind, "omitStages": ["RequestReceived"], "rules": rules}))
        return [
            f"--etcd-servers=unix://{_etcd_socket(self.folder)}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={served.certificate}",
            f"--tls-private-key-file={served.key}",
            f"--client-ca-file={self.certificate_authority}",
            "--allow-privileged=true",  # as in every cluster with a network plugin
            "--authorization-mode=RBAC",
            # OpenShift's strictness about owner references, so that the shipped role is tried against it.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={token_key}",
            f"--service-account-signing-key-file={token_key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            # Nobody reaches the API server as a Service here, and a loopback address could not be one.
            "--endpoint-reconciler-type=none",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._audit_log}",
            "--audit-log-maxsize=4000",  # MiB: a mark is a place in one file, and after 100 there is another
            # Never rotated, so that a mark stays one.
            "--audit-log-maxsize=100000",
            "--profiling=false",
            # Else a server that is asked to stop waits a minute for watches that never end.
            "--shutdown-watch-termination-grace-period=1s",
            *(["--disable-admission-plugins=ServiceAccount"] if self._bare else []),
        ]

    def _controllers(self, token_key: Path) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig_of('system:kube-controller-manager')}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={token_key}",
            f"--root-ca-file={self.certificate_authority}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
            *(["--controllers=garbage-collector-controller,namespace-controller"] if self._bare else []),
        ]

    def _scheduler(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig_of('system:kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
        ]

    def _kwok(self) -> list[str]:
        config = self.folder / "stages.yaml"
        config.write_text(yaml.safe_dump_all(stages()))
        return [
            f"--kubeconfig={self.kubeconfig_of('kwok', ['system:masters'])}",
            f"--config={config}",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
        ]


@contextmanager
def running(
    found: Mapping[str, Path] | None = None, *, audit_level: AuditLevel = "Metadata", bare: bool = False
) -> Iterator[ControlPlane]:
    """A control plane, with the CRDs of `schemas/`, for as long as the context lasts.

    Raises:
        Unavailable: a program is missing.
    """
    found = programs.find() if found is None else found
    with ExitStack() as stack:
        sweep(Path(tempfile.gettempdir()))
        mine = f"{_FOLDER}{os.getpid()}-"
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=mine))
        plane = ControlPlane(found, Path(folder), audit_level=audit_level, bare=bare)
        stack.callback(plane.stop)
        plane.start()
        yield plane


def sweep(parent: Path) -> None:
    """Remove what test processes have left that were killed; their programs died with them."""
    for folder in parent.glob(f"{_FOLDER}[0-9]*-*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, OSError):
            continue  # not ours, or somebody else's that is alive


def _etcd_socket(folder: Path) -> Path:
    return folder / "etcd.sock"


def _etcd(folder: Path) -> list[str]:
    client, peer = f"unix://{_etcd_socket(folder)}", f"unix://{folder}/peer.sock"
    return [
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # The data need not survive the machine, only the processes.
        "--unsafe-no-fsync",
    ]


def _free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port among 100 tried")


def _die_with_parent() -> None:
    """Between fork and exec: when the test process dies, however it does, so does the program."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def main() -> None:
    """Run one until Ctrl-C, for a look around with kubectl."""
    with running() as plane:
        print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)


if __name__ == "__main__":
    main()
