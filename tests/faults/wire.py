"""A controller process, a proxy, and a cluster: a sandbox in this process, or a real control plane."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.proxy import Proxy, Upstream
from faults.proxy import running as proxy_running
from shell import BIN, READY_SINCE
from world import falcon

from kaitoctl import packaged
from kaitoctl.commands.sandbox_server import shapes
from kaitoctl.errors import ApiError, Unreachable
from kaitoctl.kaito import api as kaito
from kaitoctl.kube import conditions, request
from kaitoctl.kube.client import Client, connect
from kaitoctl.kube.documents import load_yaml
from kaitoctl.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    NODE_CLAIM,
    SERVICE,
    Kind,
    Object,
    generation_of,
    is_controlled_by,
    key_of,
    labels_of,
)
from kaitoctl.sandbox.cluster import add_node, cluster
from kaitoctl.sandbox.nodes import node

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

TYPE = "Standard_NC12s_v3"
MOST_WRITES = 12
"""How many writes a Workspace on a prepared node may cost, without and with one fault; 7 at best."""


@dataclass
class Running:
    """A controller process."""

    process: asyncio.subprocess.Process
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    async def kill(self) -> None:
        """As `kill -9` does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """As a cluster does; it must end in order, and soon."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            code = await self.process.wait()
        assert code == 0, f"exit code {code}:\n{self.text()}"


@dataclass
class Wire:
    """A namespace with a node on some cluster, and a proxy before it.

    Args:
        home: a folder for files.
        admin: speaks to the cluster without the proxy.
        proxy: what controllers speak to.
        namespace: the test's own.
        controllers: those that were started.
    """

    home: Path
    admin: Client
    proxy: Proxy
    namespace: str
    controllers: list[Running] = field(default_factory=list)

    # --- the cluster ---

    async def get(self, kind: Kind, name: str) -> Object | None:
        try:
            return await self.admin.send(request.get(kind, self.namespace if kind.namespaced else "", name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def apply(self, kind: Kind, obj: Object) -> Object:
        return await self.admin.send(request.apply(kind, obj, manager="user", force=True))

    async def delete(self, kind: Kind, name: str) -> None:
        await self.admin.send(request.delete(kind, self.namespace if kind.namespaced else "", name))

    async def add_node(self, name: str = "gpu") -> None:
        labels = {"apps": self.namespace}
        made = node(
            f"{self.namespace}-{name}",
            shapes()[TYPE],
            instance_type=TYPE,
            labels=labels,
            ready_since=READY_SINCE,
        )
        await add_node(self.admin, made)

    def workspace(self, name: str = "falcon", *adapters: str, **resource: Any) -> Object:
        obj = falcon(labelSelector={"matchLabels": {"apps": self.namespace}}, **resource)
        obj["metadata"] = {"name": name, "namespace": self.namespace}
        if adapters:
            obj["inference"]["adapters"] = [
                {"source": {"name": one, "image": f"r.io/{one}:1"}, "strength": "0.5"} for one in adapters
            ]
        return obj

    async def create(self, *adapters: str, **resource: Any) -> Object:
        return await self.apply(kaito.WORKSPACE, self.workspace("falcon", *adapters, **resource))

    async def is_ready(self, name: str = "falcon") -> bool:
        found = await self.get(kaito.WORKSPACE, name)
        if found is None:
            return False
        return conditions.is_true(found, kaito.WORKSPACE_SUCCEEDED, generation=generation_of(found))

    async def until(self, holds: Callable[[], Awaitable[object]], *, within_s: float = 60) -> None:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        if await holds():
                            return
                    except (ApiError, Unreachable):
                        pass  # the API server itself may be away
                    await asyncio.sleep(0.05)
        except TimeoutError:
            texts = "\n".join(one.text()[-3000:] for one in self.controllers)
            asked = "\n".join(f"{one.status} {one}" for one in self.proxy.asked[-30:])
            found = await self.get(kaito.WORKSPACE, "falcon")
            raise AssertionError(f"it did not happen\n{found}\n{asked}\n{texts}") from None

    # --- the controller ---

    async def start(self, *arguments: str, kubeconfig: Path | None = None, lead: bool = False) -> Running:
        """Start a controller for the namespace, behind the proxy."""
        number = len(self.controllers)
        kubeconfig = kubeconfig or self.proxy.kubeconfig(self.home / f"{number}.kubeconfig")
        log = self.home / f"{number}.log"
        options = ["--metrics-address=0", f"--namespace={self.namespace}", f"--kubeconfig={kubeconfig}"]
        options += [] if lead else ["--no-leader-elect"]
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                str(BIN / "kaitoctl"),
                "run-controller",
                *options,
                *arguments,
                env={"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=file,
            )
        running = Running(process, log)
        self.controllers.append(running)
        return running

    # --- what must hold at the end ---

    async def judge(self, *, most_writes: float = MOST_WRITES, adapters: tuple[str, ...] = ()) -> None:
        """The end is that of a run without faults, and it is at rest."""
        await self.until(self.is_ready)
        found = await self.get(kaito.WORKSPACE, "falcon")
        assert found is not None
        for kind in (DEPLOYMENT, SERVICE):
            child = await self.get(kind, "falcon")
            assert child is not None
            assert is_controlled_by(child, found), f"{kind.kind} is not ours"
        deployment = await self.get(DEPLOYMENT, "falcon")
        assert deployment is not None
        pod = deployment["spec"]["template"]["spec"]
        assert [one["name"] for one in pod.get("initContainers") or ()] == list(adapters)
        await self.until(self.is_at_rest)
        writes = self.proxy.writes()
        assert len(writes) <= most_writes, f"{len(writes)} writes:\n" + "\n".join(writes)
        for one in self.controllers:
            assert "Traceback" not in one.text(), one.text()

    async def is_at_rest(self) -> bool:
        """Whether nothing is written for a while."""
        writes = self.proxy.writes()
        await asyncio.sleep(0.5)
        return self.proxy.writes() == writes

    async def claims(self) -> list[Object]:
        """The NodeClaims of the namespace's Workspaces."""
        found = await self.admin.list(NODE_CLAIM)
        return [
            item
            for item in found.items
            if labels_of(item).get(kaito.LABEL_WORKSPACE_NAMESPACE) == self.namespace
        ]


@asynccontextmanager
async def wire(
    home: Path, namespace: str, plane: ControlPlane | None, *, with_node: bool = True
) -> AsyncIterator[Wire]:
    """A namespace of its own on the control plane, or on a sandbox of its own."""
    async with AsyncExitStack() as stack:
        if plane is None:
            crds = [
                crd
                for file in sorted(packaged.folder("schemas").glob("*.yaml"))
                for crd in load_yaml(file.read_text(), str(file))
            ]
            up = await stack.enter_async_context(cluster(speed=200, instance_types=shapes(), crds=crds))
            kubeconfig = home / "sandbox.kubeconfig"
            up.write_kubeconfig(kubeconfig)
            upstream = Upstream(up.address, {"Authorization": f"Bearer {up.token}"})
        else:
            kubeconfig = plane.kubeconfig
            tls = ssl.create_default_context(cafile=str(plane.certificate_authority))
            tls.load_cert_chain(plane.folder / "admin.crt", plane.folder / "admin.key")
            upstream = Upstream(plane.address, tls=tls)
        admin = await stack.enter_async_context(connect(kubeconfig=kubeconfig))
        proxy = await stack.enter_async_context(proxy_running(upstream))
        made = Wire(home, admin, proxy, namespace)
        head = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await made.apply(NAMESPACE, head)
        bystanders = [
            await made.apply(kind, {"apiVersion": "v1", "kind": kind.kind, **rest})
            for kind, rest in (
                (CONFIG_MAP, {"metadata": {"name": "falcon", "namespace": namespace}, "data": {"a": "b"}}),
                (
                    SERVICE,
                    {"metadata": {"name": "other", "namespace": namespace}, "spec": {"ports": [{"port": 1}]}},
                ),
            )
        ]
        if with_node:
            await made.add_node()
        try:
            yield made
            for kind, before in zip((CONFIG_MAP, SERVICE), bystanders, strict=True):
                after = await made.get(kind, before["metadata"]["name"])
                assert after is not None
                assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        finally:
            for one in made.controllers:
                await one.kill()
            for name in {key_of(item).name for item in (await admin.list(NODE)).items}:
                if name.startswith(f"{namespace}-"):
                    await admin.send(request.delete(NODE, "", name))
            await admin.send(request.delete(NAMESPACE, "", namespace))
