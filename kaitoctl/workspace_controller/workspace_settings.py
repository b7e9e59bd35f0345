"""What one reconcile goes by: the generation that a Workspace runs in, and how many nodes it takes."""

from __future__ import annotations

from collections.abc import Callable, Generator

from msgspec.structs import replace

from kaitoctl.kaito import desired
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.estimate import Shape
from kaitoctl.kaito.node_check import Verdict
from kaitoctl.kube.objects import Object
from kaitoctl.kube.request import Request
from kaitoctl.workspace_controller import model_config
from kaitoctl.workspace_controller.decisions import node_shape


class Choices:
    """The settings for the Workspace of one reconcile, whose steps hand this on.

    Args:
        settings: the controller's.
        serving: the workload that a Workspace runs on.
        verdict: of a Workspace's nodes.
    """

    def __init__(
        self,
        settings: Settings,
        serving: Callable[[Object], Object | None],
        verdict: Callable[[Object], Verdict],
    ) -> None:
        self._settings, self._serving, self._verdict = settings, serving, verdict
        self._context = 0
        self._last: tuple[Object, Settings, Object | None] | None = None  # most steps ask for the same one

    def read_context(self, workspace: Object) -> Generator[Request, Object, None]:
        """Read how much context the Workspace's ConfigMap asks for: the settings have it from now on."""
        if "config" not in (workspace.get("inference") or ()):
            return
        if name := model_config.config_name(workspace, self.settings_for(workspace)):
            self._context = yield from model_config.read_context(workspace, name)
            self._last = None

    def settings_for(self, workspace: Object) -> Settings:
        """The settings with the generation in which the Workspace runs, or is to run, in them."""
        return self._settle(workspace)[0]

    def as_it_runs(self, workspace: Object) -> Object:
        """The Workspace, on the server that it runs on already unless it asks for another one."""
        settings, running = self._settle(workspace)
        if running is None or "tuning" in workspace:
            return workspace
        return desired.with_running_runtime(
            workspace, desired.IMAGE_GENERATIONS[settings.image_generation], running
        )

    def sized(self, workspace: Object) -> Object:
        """The Workspace with as many nodes as its model takes, of the type that it asks for or of its own."""
        settings = self.settings_for(workspace)
        workspace = self.as_it_runs(workspace)
        return desired.with_node_count(workspace, settings, nodes=self._shape(workspace, settings))

    def is_counted(self, workspace: Object) -> bool:
        """Whether it is known how many nodes the model takes: without an instance type, only nodes say so."""
        settings, asked = self.settings_for(workspace), self.as_it_runs(workspace)
        return desired.is_counted(asked, settings, nodes=self._shape(asked, settings))

    def _shape(self, workspace: Object, settings: Settings) -> Shape | None:
        """What its nodes have, where only they tell."""
        if desired.model_of(workspace, settings) is None:
            return None
        if desired.shape_of(workspace, settings.catalog) is not None:
            return None
        return node_shape(workspace, settings, self._verdict(workspace))

    def _settle(self, workspace: Object) -> tuple[Settings, Object | None]:
        if self._last is None or self._last[0] is not workspace:
            running = self._serving(workspace)
            chosen = desired.with_image_generation(workspace, self._settings, running=running)
            if self._context:
                chosen = replace(chosen, context=self._context)
            self._last = workspace, chosen, running
        return self._last[1:]
