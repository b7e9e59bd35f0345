"""Which cluster a command speaks to, and advice whose commands reach that cluster, too."""

from __future__ import annotations

import os

from msgspec import Struct

from kaitoctl.advice import Advice, ClusterFlags, on_screen
from kaitoctl.commands import invocation


class Target(Struct, frozen=True):
    """Which cluster a command speaks to."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    request_timeout: str | None = None
    sandbox: bool = False
    sandbox_name: str = "default"

    @property
    def flags(self) -> ClusterFlags:
        """The options by which commands reach this cluster, less what the environment says already."""
        given = (("--context", self.context), ("--kubeconfig", self.kubeconfig))
        ours = kubectl = tuple(word for option, value in given if value for word in (option, value))
        if self.sandbox:
            from kaitoctl.commands import sandbox_process

            is_set = os.environ.get("KAITOCTL_SANDBOX", "").lower() in ("1", "true", "t", "yes", "y", "on")
            is_named = self.sandbox_name == (os.environ.get("KAITOCTL_SANDBOX_NAME") or "default")
            ours = () if is_set else ("--sandbox",)
            ours += () if is_named else ("--sandbox-name", self.sandbox_name)
            kubectl = ("--kubeconfig", str(sandbox_process.folder(self.sandbox_name).kubeconfig))
            return ClusterFlags((*ours, *invocation.words()), kubectl)
        more = invocation.words()
        return ClusterFlags(ours + more, kubectl + more)

    def text(self, advice: Advice) -> str:
        """Advice for a screen: its commands reach this cluster."""
        return on_screen(advice, self.flags)

    @property
    def in_namespace(self) -> tuple[str, ...]:
        """The words of a command about the same namespace; none for that of the context."""
        return ("-n", self.namespace) if self.namespace else ()
