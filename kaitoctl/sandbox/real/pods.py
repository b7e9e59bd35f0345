"""All pods that are processes: asked by the kubelet as the timetable is, for those that have a plan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kaitoctl.kube.objects import Object, ObjectKey, by_name, dig, is_being_deleted, key_of, uid_of
from kaitoctl.sandbox.clock import Clock
from kaitoctl.sandbox.real.container_process import Life, Setting
from kaitoctl.sandbox.real.copying import Copying
from kaitoctl.sandbox.real.listeners import Listeners
from kaitoctl.sandbox.real.plan import CONFIG, Plan, PlanOf
from kaitoctl.sandbox.real.serving import Serving
from kaitoctl.sandbox.workloads.container_life import Stretch
from kaitoctl.sandbox.workloads.timetable import Moment, pod_at

_PIECE = 64 * 1024
_LOOK_S = 0.2  # how often a log that is followed is looked at
_log = logging.getLogger(__name__)


@dataclass
class _Pod:
    """One pod that is real, or has been found to be simulated (`plan` is None)."""

    uid: str
    plan: Plan | None
    folder: Path
    setting: Setting
    lives: dict[str, Life] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class RealPods:
    """The processes of a sandbox's pods. They live in the event loop that asks first.

    Args:
        plan_of: which pods are real, and how.
        folder: for copies and logs, one folder for each pod; made when it is needed.
        clock: the sandbox's time.
    """

    def __init__(self, plan_of: PlanOf, folder: Path, clock: Clock) -> None:
        self._plan_of = plan_of
        self._folder = folder
        self._clock = clock
        self._pods: dict[ObjectKey, _Pod] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self.wake: Callable[[ObjectKey], None] = lambda _key: None
        """Called with a pod's key when something has happened to it; whoever runs the kubelet sets it."""

    # --- what the kubelet asks ---

    def pod_at(
        self, pod: Object, start: str, elapsed_s: float, moment: Callable[[float], str]
    ) -> Moment | None:
        """What a pod shows now; None for one that is simulated. Starts what has its turn.

        Args:
            pod: bound to a healthy node, and not being deleted.
            start: its `status.startTime`.
            elapsed_s: simulated seconds since.
            moment: the timestamp that lies so many simulated seconds after the start.
        """
        found = self._pods.get(key_of(pod))
        if found is None or found.uid != uid_of(pod):
            found = self._pods[key_of(pod)] = self._met(pod, start)
        if found.plan is None:
            return None
        known = found

        def real(container: Object, _begin: float) -> Stretch | None:
            life = known.lives.get(container["name"]) or self._start_life(known, container)
            return life.stretch if life else None

        shown = pod_at(pod, elapsed_s, moment, real)
        told, known.setting.news = tuple(known.setting.news), []
        return Moment(shown.status, shown.next_s, told, is_real=True)

    def config_map_of(self, pod: Object, start: str) -> str:
        """The name of the ConfigMap that a pod's process reads; empty when it reads none, or is simulated."""
        found = self._pods.get(key_of(pod))
        if found is None or found.uid != uid_of(pod):
            found = self._pods[key_of(pod)] = self._met(pod, start)
        return found.plan.config_map if found.plan else ""

    def configure(self, pod: Object, data: Mapping[str, str]) -> None:
        """Let a pod's process read these entries of its ConfigMap, each whole or not at all."""
        known = self._pod_of(pod)
        if known is None:
            return
        folder = known.folder / "volume" / CONFIG
        with contextlib.suppress(OSError):  # a full disk: the process goes on with what it has
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, text in data.items():
                file, partial = folder / name, folder / f".{name}"
                if file.parent == folder and (not file.exists() or file.read_text("utf-8") != text):
                    partial.write_text(text, "utf-8")
                    partial.replace(file)

    def stop(self, pod: Object) -> bool:
        """End a pod's processes and remove its files; True when nothing of it is left."""
        key, uid = key_of(pod), uid_of(pod)
        known = self._pods.get(key)
        if known is not None and known.uid == uid:
            self._end(key, known)
        elif uid and (folder := self._folder / uid).is_dir():  # left by a sandbox that was killed
            shutil.rmtree(folder, ignore_errors=True)
        return uid not in self._ending

    def forget_others(self, key: ObjectKey, pod: Object | None) -> None:
        """End what ran under a pod's name before it, or what has no pod any more."""
        known = self._pods.get(key)
        if known is not None and (pod is None or known.uid != uid_of(pod)):
            self._end(key, known)

    # --- what others ask ---

    def listeners(
        self, services: Mapping[ObjectKey, Object], port_of: Callable[[str, str, str], int | None]
    ) -> Listeners:
        """What makes Services with such pods reachable for programs of this machine."""
        return Listeners(services, port_of)

    def log(self, pod: Object, container: str, *, previous: bool = False) -> str | None:
        """What a container has logged; None for one that is simulated."""
        known = self._pod_of(pod)
        if known is None or known.plan is None or container not in known.lives:
            return None
        file = known.folder / f"{container}.{'previous' if previous else 'log'}"
        try:
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def follow(self, pod: Object, container: str) -> AsyncIterator[bytes] | None:
        """What a container logs from now until it ends; None for one that does not run, or is simulated."""
        known = self._pod_of(pod)
        life = known.lives.get(container) if known is not None else None
        if not isinstance(life, Serving) or life.stretch.state != "running":
            return None
        try:
            file = life.log.open("rb")
        except OSError:
            return None
        file.seek(0, os.SEEK_END)
        return _grown(file, life, life.stretch.restarts)

    def port_of(self, pod: Object) -> int | None:
        """The loopback port on which a pod serves; None when none does."""
        known = self._pod_of(pod)
        if known is None or is_being_deleted(pod):
            return None
        return next((life.port for life in known.lives.values() if isinstance(life, Serving)), None)

    def is_real(self, pod: Object) -> bool:
        """Whether a process is, or will be, behind a pod."""
        known = self._pod_of(pod)
        return known is not None and known.plan is not None

    def sweep(self, uids: Collection[str]) -> None:
        """Remove the folders of pods that there are no more."""
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.name not in uids:
                shutil.rmtree(folder, ignore_errors=True)

    async def close(self) -> None:
        """End all processes; their pods stay, and are served again by the next sandbox."""
        tasks = [task for known in self._pods.values() for task in known.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._ending.values(), return_exceptions=True)

    # --- within ---

    def _pod_of(self, pod: Object) -> _Pod | None:
        known = self._pods.get(key_of(pod))
        return known if known is not None and known.uid == uid_of(pod) else None

    def _met(self, pod: Object, start: str) -> _Pod:
        key = key_of(pod)
        setting = Setting(pod, start, self._clock, lambda: self.wake(key))
        return _Pod(uid_of(pod), self._plan_of(pod), self._folder / uid_of(pod), setting)

    def _start_life(self, known: _Pod, container: Object) -> Life | None:
        """Begin a container's life, if it is real."""
        plan, name = known.plan, container["name"]
        assert plan is not None
        policy = str(dig(known.setting.pod, "spec", "restartPolicy") or "Always")
        volume, log = known.folder / "volume", known.folder / f"{name}.log"
        life: Life
        if name == plan.container:
            command, seen_as = plan.command(volume), (volume, plan.mount)
            life = Serving(known.setting, container, policy, command=command, log=log, seen_as=seen_as)
        elif name in plan.copies:
            policy = "Never" if policy == "Never" else "OnFailure"
            life = Copying(
                known.setting,
                container,
                policy,
                source=plan.copies[name],
                target=volume / name,
                seen_as=f"{plan.mount}/{name}",
                log=log,
            )
        else:
            return None
        known.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        life.resume(_status_of(known.setting.pod, name))
        if isinstance(life, Copying) and life.stretch.is_done and not life.target.is_dir():
            life.stretch = Stretch(known.setting.now_s(), "waiting", "ContainerCreating")
        known.lives[name] = life
        known.tasks.append(asyncio.get_running_loop().create_task(self._run(life), name=f"container {name}"))
        return life

    async def _run(self, life: Life) -> None:
        """Let a container live; what nobody foresaw ends it as a failure, and never the sandbox."""
        try:
            await life.run()
        except Exception as error:
            _log.exception("container %s", life.container["name"])
            words = f"the sandbox cannot run it: {error}"
            life.show(Stretch(life.setting.now_s(), "waiting", "RunContainerError", words))

    def _end(self, key: ObjectKey, known: _Pod) -> None:
        """Begin to end a pod's processes; the kubelet is woken when they have ended."""
        self._pods.pop(key, None)
        if known.plan is None:
            return
        for task in known.tasks:
            task.cancel()

        async def end() -> None:
            await asyncio.gather(*known.tasks, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, known.folder, ignore_errors=True)
            del self._ending[known.uid]
            self.wake(key)

        self._ending[known.uid] = asyncio.get_running_loop().create_task(end())


async def _grown(file: BinaryIO, life: Serving, run: int) -> AsyncIterator[bytes]:
    """What is appended to the log of one run of a container, until the run has ended."""
    with file:
        while True:
            is_over = life.stretch.state != "running" or life.stretch.restarts != run
            while piece := file.read(_PIECE):
                yield piece
            if is_over:
                return
            await asyncio.sleep(_LOOK_S)


def _status_of(pod: Object, container: str) -> Object:
    for field_name in ("containerStatuses", "initContainerStatuses"):
        if found := by_name(dig(pod, "status", field_name)).get(container):
            return found
    return {}
