"""A Workspace and its adapters, as the command line changes them and as kubectl sees them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from shell import Shell

FALCON = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3")
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "kubernetes.io/dockerconfigjson",
    "data": {".dockerconfigjson": "eyJhdXRocyI6e319"},
}

Done = subprocess.CompletedProcess[str]


def image(name: str) -> str:
    return f"registry.example/{name}:1"


@dataclass(frozen=True)
class Served:
    """A Workspace in a namespace of its own."""

    shell: Shell
    namespace: str
    name: str = "falcon"

    def create(self, *more: str) -> None:
        label = f"apps={self.namespace[:30].strip('-')}-{self.name}"
        where = ("-n", self.namespace, "--label", label, "--timeout", "90s", "--yes")
        self.shell.kaitoctl("create", "workspace", self.name, *FALCON, *more, *where)

    def adapter(self, verb: str, *arguments: str, code: int = 0, yes: bool = True) -> Done:
        """`kaitoctl VERB-adapter NAME ARGUMENTS`."""
        where = ("-n", self.namespace, *(("--timeout", "90s", "--yes") if yes else ()))
        return self.shell.kaitoctl(f"{verb}-adapter", self.name, *arguments, *where, code=code)

    def add(self, name: str, *more: str, code: int = 0) -> Done:
        return self.adapter("add", "--name", name, "--image", image(name), *more, code=code)

    @property
    def said(self) -> dict[str, str]:
        """The adapters of the Workspace: name to strength."""
        found = self.shell.get("workspace", self.name, "-n", self.namespace)["inference"].get("adapters")
        return {item["source"]["name"]: item.get("strength", "") for item in found or []}

    @property
    def in_pod(self) -> dict[str, str]:
        """The adapters of the pod that serves, which are all copied: name to strength in its environment."""
        labels = f"kaito.sh/workspace={self.name}"
        pods = self.shell.get("pods", "-n", self.namespace, "-l", labels)["items"]
        (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        env = {item["name"]: item["value"] for item in pod["spec"]["containers"][0].get("env", [])}
        inits = [item["name"] for item in pod["spec"].get("initContainers", [])]
        statuses = pod["status"].get("initContainerStatuses", [])
        assert [item["state"]["terminated"]["exitCode"] for item in statuses] == [0] * len(inits)
        return {name: env[name] for name in inits}

    def without_adapters(self) -> Served:
        """The same, whatever was there before."""
        if self.said:
            where = ("workspace", self.name, "-n", self.namespace)
            self.shell.patch({"inference": {"adapters": None}}, *where)
        return self
