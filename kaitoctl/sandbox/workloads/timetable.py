"""What a pod's status shows at any moment: a pure timetable, because nothing in the sandbox really runs.

A pod's whole life follows from its spec and the faults asked for, so `pod_at(pod, elapsed_s)` needs no
memory: not of restarts, not of probes. `workloads.kubelet` is the reconciler that asks it. All durations are
simulated seconds.

**Durations.** Pulling an image takes 4 s, an init container 2 s. A server in a container answers its probes
1 s after the container started, 20 s when it holds a GPU (it loads a model). Where the restart policy is not
`Always`, a container runs to completion: 10 s, 60 s with a GPU.

**Faults.** The annotation `sandbox.kaitoctl.dev/fault` on the pod (so: in the pod template) names a fault,
and `sandbox.kaitoctl.dev/fault-container` the one container that has it; without that all main containers do.
An image whose last path segment (name and tag) contains the image word below has the fault by itself.

| fault          | image word                     | what happens                                           |
|----------------|--------------------------------|--------------------------------------------------------|
| `pull-error`   | `pull-error`, `does-not-exist` | ErrImagePull, then ImagePullBackOff: not found         |
| `unauthorized` | `unauthorized`                 | the same with the registry's "401 Unauthorized"        |
| `crash`        | `crash`                        | exit code 1 after 1 s, CrashLoopBackOff                |
| `empty-data`   | `empty-data`                   | as `crash`; the log says that there were no files      |
| `cuda-oom`     | `cuda-oom`                     | exit code 1 half way through loading; the log says why |
| `oom`          | `oom`                          | OOMKilled (exit code 137) half way through loading     |
| `slow-load`    | `slow-load`                    | loading takes 15 times as long (300 s with a GPU)      |
| `probe-never`  | `probe-never`                  | the server never answers a probe                       |
| `incompatible` | `incompatible`, in the image   | main containers cannot use what the init container     |
|                | of an *init* container         | brought: exit code 1 half way through loading          |

An init container may also fetch an image by itself: one that its command or arguments name. It has the fault
of that image where its own has none; in place of ErrImagePull it ends, with the registry's answer in its log.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kube.objects import Object, dig, uid_of
from kaitoctl.kube.pod_state import is_sidecar
from kaitoctl.sandbox.pod_subresources import qos_class
from kaitoctl.sandbox.workloads.container_life import (
    LOAD_S,
    NEVER,
    PULL_S,
    Stretch,
    init_life,
    main_life,
    serving_run,
)


class Moment(Struct, frozen=True):
    """What a pod shows now, and when that changes.

    Args:
        status: the fields of `status` that follow from the containers (no condition times).
        next_s: when to look again, after the pod's start; infinite when nothing more will happen.
        told: events that do not follow from the status: reason, message, whether it is a warning.
        is_real: whether processes are behind it; which probe killed what is among `told` then.
    """

    status: Object
    next_s: float
    told: tuple[tuple[str, str, bool], ...] = ()
    is_real: bool = False


Real = Callable[[Object, float], Stretch | None]
"""What a container shows that is real, asked once its turn has come: the container, and since when; None for
one that is simulated."""


def _all_simulated(_container: Object, _begin: float) -> None:
    return None


def pod_at(
    pod: Object,
    elapsed_s: float,
    moment: Callable[[float], str],
    real: Real = _all_simulated,
) -> Moment:
    """The status of a pod on a healthy node.

    Args:
        pod: the pod, bound to a node.
        elapsed_s: simulated seconds since `status.startTime`.
        moment: the timestamp that lies so many simulated seconds after the start.
        real: the containers that do not go by the timetable.

    Guarantee: the answer depends on nothing else, and is the same until `next_s`.
    """
    policy = str(dig(pod, "spec", "restartPolicy") or "Always")
    inits: list[tuple[Object, Stretch]] = []
    mains: list[tuple[Object, Stretch]] = []
    changes: list[float] = []
    begin, blocked = 0.0, False
    for container in dig(pod, "spec", "initContainers") or ():
        if blocked:
            inits.append((container, _not_yet("PodInitializing")))
            continue
        if (stretch := real(container, begin)) is not None:
            now, change = replace(stretch, is_real=True), NEVER
        else:
            now, change = _at(init_life(pod, container, begin, policy, elapsed_s), elapsed_s)
        inits.append((container, now))
        changes.append(change)
        if is_sidecar(container) and now.started:
            begin += PULL_S + max(LOAD_S, serving_run(container, "").started_s)
        elif now.is_done:
            begin = now.since
        else:
            blocked = True
    gave_up = policy == "Never" and any(now.state == "terminated" and now.exit_code for _, now in inits)
    for index, container in enumerate(dig(pod, "spec", "containers") or ()):
        if blocked:
            mains.append((container, _not_yet("PodInitializing")))
            continue
        # The kubelet pulls one image after the other, and goes on when one of them fails.
        if (stretch := real(container, begin)) is not None:
            now, change = replace(stretch, is_real=True), NEVER
        else:
            now, change = _at(main_life(pod, container, begin + index * PULL_S, policy, elapsed_s), elapsed_s)
        mains.append((container, now))
        changes.append(change)
    status = _status(pod, inits, mains, moment, initialized=not blocked, gave_up=gave_up, policy=policy)
    ended = status["phase"] in ("Succeeded", "Failed")
    return Moment(status, NEVER if ended else min(changes, default=NEVER))


# --- a container's life --------------------------------------------------------------------------------


def _at(life: Iterator[Stretch], elapsed_s: float) -> tuple[Stretch, float]:
    """The stretch of this moment, and when the next one begins."""
    now = next(life)  # the first one counts from the beginning: the image waits for its turn
    for stretch in life:
        if stretch.since > elapsed_s:
            return now, stretch.since
        now = stretch
    return now, NEVER


def _not_yet(reason: str) -> Stretch:
    return Stretch(0.0, "waiting", reason)


# --- the pod's status ----------------------------------------------------------------------------------


def _status(
    pod: Object,
    inits: list[tuple[Object, Stretch]],
    mains: list[tuple[Object, Stretch]],
    moment: Callable[[float], str],
    *,
    initialized: bool,
    gave_up: bool,
    policy: str,
) -> Object:
    unready = [container["name"] for container, now in mains if not now.ready]
    unready += [container["name"] for container, now in inits if is_sidecar(container) and not now.ready]
    incomplete = [
        container["name"]
        for container, now in inits
        if not (now.is_done or (is_sidecar(container) and now.started))
    ]
    phase = "Failed" if gave_up else _phase([now for _, now in mains], policy) if initialized else "Pending"
    status: Object = {
        "phase": phase,
        "conditions": _conditions(phase, incomplete, unready),
        "containerStatuses": [_container_status(pod, *pair, moment, init=False) for pair in mains],
        "qosClass": qos_class(container for container, _ in mains),
    }
    if inits:
        status["initContainerStatuses"] = [_container_status(pod, *pair, moment, init=True) for pair in inits]
    if any(now.state == "running" or now.last or now.is_done for _, now in (*inits, *mains)):
        address = pod_ip(pod)
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _phase(mains: list[Stretch], policy: str) -> str:
    if any(now.state == "waiting" and now.last is None for now in mains):
        return "Pending"
    if any(now.state == "running" for now in mains) or policy == "Always":
        return "Running"
    if all(now.is_done for now in mains):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _conditions(phase: str, incomplete: list[str], unready: list[str]) -> list[Object]:
    if phase == "Succeeded":
        not_ready: Object = {"status": "False", "reason": "PodCompleted"}
    elif phase == "Failed":
        not_ready = {"status": "False", "reason": "PodFailed"}
    else:
        message = f"containers with unready status: [{' '.join(unready)}]"
        not_ready = {"status": "False", "reason": "ContainersNotReady", "message": message}
    ready = {"status": "True"} if not unready else not_ready
    initialized: Object = {"status": "True"}
    if incomplete and phase != "Succeeded":
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        initialized = {"status": "False", "reason": "ContainersNotInitialized", "message": message}
    sandboxed = phase not in ("Succeeded", "Failed")
    return [
        {"type": "PodReadyToStartContainers", "status": str(sandboxed)},
        {"type": "Initialized", **initialized},
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **ready},
        {"type": "PodScheduled", "status": "True"},
    ]


def _container_status(
    pod: Object, container: Object, now: Stretch, moment: Callable[[float], str], *, init: bool
) -> Object:
    image = str(container.get("image") or "")
    ran = now.state != "waiting" or now.last is not None
    status: Object = {
        "name": container["name"],
        "image": image,
        "imageID": f"sandbox://{image}" if ran else "",
        "restartCount": now.restarts,
        "ready": now.is_done if init and not is_sidecar(container) else now.ready,
        "started": now.started and now.state == "running",
        "state": _state(now, pod, moment),
        "lastState": _state(now.last, pod, moment) if now.last else {},
    }
    if ran:
        status["containerID"] = _container_id(pod, container["name"], now)
    return status


def _state(now: Stretch, pod: Object, moment: Callable[[float], str]) -> Object:
    if now.state == "running":
        return {"running": {"startedAt": moment(now.began)}}
    if now.state == "terminated":
        return {
            "terminated": {
                "exitCode": now.exit_code,
                "reason": now.reason,
                "startedAt": moment(now.began),
                "finishedAt": moment(now.since),
            }
        }
    waiting = {"reason": now.reason, "message": now.message} if now.message else {"reason": now.reason}
    return {"waiting": waiting}


def _container_id(pod: Object, name: str, now: Stretch) -> str:
    number = zlib.crc32(f"{uid_of(pod)}/{name}/{now.restarts}".encode())
    return f"{'process' if now.is_real else 'sandbox'}://{number:08x}"


def pod_ip(pod: Object) -> str:
    """The pod's address: one of 10.128.0.0/9, which follows from its uid."""
    number = zlib.crc32(uid_of(pod).encode())
    return f"10.{128 + (number >> 16 & 127)}.{number >> 8 & 255}.{1 + number % 254}"
