"""What a model takes until it serves, and how much context it then has room for. Pure."""

from __future__ import annotations

from msgspec import Struct

from kaitoctl.kaito import desired, fit, node_check
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.planning.outage import span
from kaitoctl.kube.objects import Object


class Loading(Struct, frozen=True):
    """What a model takes.

    Args:
        most_s: from its start to ready, by the catalog's budget.
        context: the most tokens that there is room for on its GPUs, or fewer where its ConfigMap says so;
            None where that is not known: a preset's memory is a written figure.
        nodes: how many nodes it is on.
        instance_type: of these; empty for nodes of one's own.
    """

    most_s: float
    context: int | None = None
    nodes: int = 1
    instance_type: str = ""

    @property
    def words(self) -> str:
        """In a line."""
        line = f"at most {span(self.most_s)} to load"
        if self.context is None:
            return line
        nodes = node_check.plural("node", self.nodes)
        return (
            f"{line}; context of at most {self.context:,} tokens on {self.nodes} {self.instance_type} {nodes}"
        )


def loading(workspace: Object, settings: Settings) -> Loading | None:
    """What the Workspace's model takes; None for custom pods, tuning, and what no catalog has.

    Args:
        workspace: as it will be.
        settings: as whose objects it is made, with the context that its ConfigMap asks for.
    """
    if workspace.get("tuning"):
        return None
    settings = desired.with_image_generation(workspace, settings)
    model = desired.model_of(workspace, settings)
    wanted = model or desired.preset_of(workspace, settings)
    if wanted is None:
        return None
    machine = settings.catalog.instance_type(node_check.instance_type_of(workspace))
    nodes = desired.target_nodes(workspace, settings)
    context = fit.attainable_context(model, machine, nodes) if model and machine else None
    if context is not None and settings.context:
        context = min(context, settings.context)
    return Loading(wanted.readiness_timeout_s, context, nodes, machine.name if machine else "")
