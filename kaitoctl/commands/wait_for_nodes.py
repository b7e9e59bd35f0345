"""Waits until a cluster has enough nodes for a Workspace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kaitoctl.commands.observe_nodes import observe, selectors, sparing_others
from kaitoctl.kaito import node_check
from kaitoctl.kube.objects import NODE, POD, Kind
from kaitoctl.reconcile.informer import Informer
from kaitoctl.reconcile.store import Change
from kaitoctl.screens import layout, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaitoctl.kaito.node_check import Rules, Verdict
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_REFUSED = (400, 401, 403)
_SETTLED_S = 0.2


async def verdict_now(client: Client, workspace: Object, rules: Rules) -> Verdict:
    """The verdict of the cluster as it is, its advice leaving alone what other Workspaces use."""
    verdict = (await observe(client, workspace, rules)).verdict(workspace, rules)
    return await sparing_others(client, workspace, verdict)


async def enough_nodes(
    client: Client, workspace: Object, rules: Rules, verdict: Verdict, wait_s: float, *, strict: bool
) -> Verdict:
    """Judge again whenever something changes that counts, until there are enough nodes or time is up.

    Args:
        client: the cluster.
        workspace: what needs nodes.
        rules: whose choice of nodes counts.
        verdict: the one that was not enough.
        wait_s: the longest to wait.
        strict: whether warnings count as failures.

    Returns:
        The last verdict.
    """
    watches = _Watches(client)
    watches.of_nodes(workspace, rules)
    output.step(f"waiting up to {layout.elapsed(wait_s)}: {verdict.summary}")
    try:
        async with asyncio.timeout(wait_s):
            while not verdict.suffices(strict=strict):
                watches.of_pods(verdict)
                await watches.changed.wait()
                await asyncio.sleep(_SETTLED_S)  # one change seldom comes alone
                watches.changed.clear()
                now = await verdict_now(client, workspace, rules)
                if now != verdict:
                    output.step(now.summary)
                verdict = now
    except TimeoutError:
        pass
    finally:
        await watches.stop()
    return verdict


class _Watches:
    """Informers of what a verdict is made of.

    Attributes:
        changed: set when something has changed that counts.
    """

    def __init__(self, client: Client) -> None:
        self.changed = asyncio.Event()
        self._client = client
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def of_nodes(self, workspace: Object, rules: Rules) -> None:
        """Watch the nodes that may matter."""
        for selector in selectors(workspace, rules):
            self._watch(NODE, self._on_node, label_selector=selector)
        for name in node_check.preferred_nodes(workspace):
            self._watch(NODE, self._on_node, field_selector=f"metadata.name={name}")

    def of_pods(self, verdict: Verdict) -> None:
        """Watch who holds the GPUs of a node, where that is the question."""
        for node in verdict.nodes:
            if any(finding.code == "gpus-in-use" for finding in node.findings):
                self._watch(POD, self._on_pod, field_selector=f"spec.nodeName={node.name}")

    def _watch(
        self,
        kind: Kind,
        listener: Callable[[Change], None],
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        key = (label_selector, field_selector)
        if key in self._tasks:
            return
        informer = Informer(
            self._client,
            kind,
            label_selector=label_selector,
            field_selector=field_selector,
            fatal_statuses=_REFUSED,
        )
        informer.subscribe(listener)
        self._tasks[key] = asyncio.create_task(informer.run())

    def _on_node(self, change: Change) -> None:
        old, new = change.old, change.new
        if old is None or new is None or node_check.what_counts(old) != node_check.what_counts(new):
            self.changed.set()

    def _on_pod(self, change: Change) -> None:
        before, after = ((node_check.gpus_held(pod) if pod else 0) for pod in (change.old, change.new))
        if before != after:
            self.changed.set()

    async def stop(self) -> None:
        """Stop all informers."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
