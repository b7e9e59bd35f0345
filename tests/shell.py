"""kaitoctl and kubectl as a user runs them: as processes, against a sandbox in the background."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Shell:
    """Runs programs with a home of their own; nothing of the developer's machine is seen or touched."""

    home: Path
    sandbox: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "KAITOCTL_STATE_DIR": str(self.home / "state"),
            "KAITOCTL_SANDBOX_NAME": self.sandbox,
            "PYTHONWARNINGS": "error",
        }

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**self.env, **env},
            cwd=self.home,
            timeout=120,
        )

    def kaitoctl(self, *arguments: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run kaitoctl and insist on its exit code."""
        done = self.run(str(BIN / "kaitoctl"), *arguments, **env)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def kubectl(self, *arguments: str, code: int = 0) -> str:
        """Run the real kubectl on the sandbox and return what it prints."""
        kubeconfig = self.home / "state" / "sandbox" / self.sandbox / "kubeconfig"
        done = self.run(str(BIN / "kubectl"), "--kubeconfig", str(kubeconfig), *arguments)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def apply(self, obj: Any) -> None:
        """Apply an object with kubectl."""
        file = self.home / "object.json"
        file.write_text(json.dumps(obj))
        self.kubectl("apply", "--server-side", "--validate=false", "-f", str(file))

    def get(self, *arguments: str) -> Any:
        """An object (or List) as kubectl sees it."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def names(self, *arguments: str) -> list[str]:
        """What `kubectl get -o name` prints."""
        return self.kubectl("get", *arguments, "-o", "name").split()
