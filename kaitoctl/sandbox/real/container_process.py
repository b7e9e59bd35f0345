"""The life of one container that is real: started, ended, started again after the kubelet's back-off."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, dig
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.workloads.container_life import (
    ERROR_SHOWN_S,
    FIRST_BACKOFF_S,
    FORGET_BACKOFF_S,
    LONGEST_BACKOFF_S,
    PULL_ERROR_SHOWN_S,
    Stretch,
    backoff_message,
)

Told = tuple[str, str, bool]
"""An event: reason, message, whether it is a warning."""


class NoImage(Exception):
    """There is no such image; the words are the registry's."""


@dataclass
class Setting:
    """What all containers of a pod share.

    Args:
        pod: as it was when it was first seen.
        start: `status.startTime`.
        clock: the sandbox's time.
        wake: called when something has changed.
        news: events that are to be told.
    """

    pod: Object
    start: str
    clock: Clock
    wake: Callable[[], None]
    news: list[Told] = field(default_factory=list)

    def now_s(self) -> float:
        """Simulated seconds since the pod's start."""
        return self.clock.since_s(self.start)

    def at_s(self, moment: str) -> float:
        """A timestamp as simulated seconds since the pod's start."""
        passed = parse_timestamp(moment) - parse_timestamp(self.start)
        return max(0.0, passed.total_seconds() * self.clock.speed)

    async def wait(self, simulated_s: float) -> None:
        """Let simulated time pass."""
        await asyncio.sleep(self.clock.wall_s(simulated_s))


@dataclass
class Life(ABC):
    """One container from its turn until its pod ends; `stretch` is what it shows now.

    Args:
        setting: of its pod.
        container: its spec.
        policy: the restart policy that holds for it.
    """

    setting: Setting
    container: Object
    policy: str
    stretch: Stretch = field(default_factory=lambda: Stretch(0.0, "waiting", "ContainerCreating"))

    @abstractmethod
    async def once(self) -> tuple[int, str]:
        """Run once, showing what happens meanwhile; returns exit code and reason.

        Raises:
            NoImage: the image is not there.
        """

    def show(self, stretch: Stretch) -> None:
        """Say what the container shows from now on."""
        self.stretch = stretch
        self.setting.wake()

    def resume(self, status: Object) -> None:
        """Go on from what a sandbox that has ended wrote of the container."""
        restarts = int(status.get("restartCount") or 0)
        state = status.get("state") or {}
        if running := state.get("running"):
            now = self.setting.now_s()
            began = self.setting.at_s(running["startedAt"])
            # As the kubelet says of a container whose node was started again.
            last = Stretch(now, "terminated", "Unknown", exit_code=255, began=began, restarts=restarts)
            self.stretch = replace(self.stretch, restarts=restarts + 1, last=last)
            return
        if ended := state.get("terminated") or dig(status, "lastState", "terminated"):
            last = Stretch(
                self.setting.at_s(ended["finishedAt"]),
                "terminated",
                ended.get("reason") or "Error",
                exit_code=int(ended.get("exitCode") or 0),
                began=self.setting.at_s(ended["startedAt"]),
                restarts=restarts,
            )
            done = last.is_done and "terminated" in state and self.policy != "Always"
            again = restarts + 1 if "terminated" in state else restarts
            self.stretch = last if done else replace(self.stretch, restarts=again, last=last)

    async def run(self) -> None:
        """Live until the policy says that it is over, or until cancelled."""
        if self.stretch.is_done:
            return
        failures, pulls = 0, FIRST_BACKOFF_S
        while True:
            began, before = self.setting.now_s(), self.stretch
            try:
                code, reason = await self.once()
            except NoImage as error:
                await self._show_no_image(str(error), before, pulls)
                pulls = min(2 * pulls, LONGEST_BACKOFF_S)
                continue
            began = self.stretch.began or began
            ended = self.setting.now_s()
            last = Stretch(ended, "terminated", reason, exit_code=code, began=began, restarts=before.restarts)
            self.show(replace(last, last=before.last))
            if self.policy == "Never" or (self.policy == "OnFailure" and code == 0):
                return
            if ended - began >= FORGET_BACKOFF_S:
                failures = 0
            await self.setting.wait(ERROR_SHOWN_S)
            again = Stretch(ended, "waiting", restarts=before.restarts, last=last)
            if failures:
                wait_s = min(FIRST_BACKOFF_S * 2 ** (failures - 1), LONGEST_BACKOFF_S)
                words = backoff_message(self.setting.pod, self.container, wait_s)
                self.show(replace(again, reason="CrashLoopBackOff", message=words))
                await self.setting.wait(wait_s)
            failures = min(failures + 1, 10)
            self.stretch = replace(again, reason="ContainerCreating", restarts=before.restarts + 1)

    async def _show_no_image(self, words: str, before: Stretch, wait_s: float) -> None:
        now, image = self.setting.now_s(), self.container.get("image")
        waiting = Stretch(now, "waiting", "ErrImagePull", words, restarts=before.restarts, last=before.last)
        self.show(waiting)
        await self.setting.wait(PULL_ERROR_SHOWN_S)
        words = f'Back-off pulling image "{image}": ErrImagePull: {words}'
        self.show(replace(waiting, reason="ImagePullBackOff", message=words))
        await self.setting.wait(wait_s)
        self.stretch = before
