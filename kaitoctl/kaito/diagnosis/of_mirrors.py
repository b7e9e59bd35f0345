"""Rules about a ModelMirror: KAITO makes no pod before the model's weights are on its volume.

The Workspace says little of it (`Model download in progress`, also where the volume never comes); the mirror,
its claim, its Job and that one's pods say more.
"""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito import model_mirrors
from kaitoctl.kaito.diagnosis.case import Case, blame, condition_words, controller_words, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_controller import advice
from kaitoctl.kaito.diagnosis.of_volumes import claim_words
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, creation_time_of, dig, is_being_deleted

_TRIES_AGAIN = "KAITO starts another Job five minutes after one has failed"


def mirror(case: Case) -> Iterator[Cause]:
    """What the mirror that it waits for waits for."""
    one = _of_kind(case, "ModelMirror")
    if one is None or dig(one, "status", "phase") == "Ready":
        return
    name, namespace = str(one["metadata"]["name"]), str(dig(one, "spec", "jobNamespace") or "default")
    if is_being_deleted(one):
        look = Command("kubectl get modelmirror", name, "-o", "yaml")
        yield _wait(case, one, "it is being deleted; KAITO makes another one then", look)
        return
    ready = conditions.find(one, "Ready")
    if ready is not None and ready.get("status") == "False":
        yield _failed(case, one, ready, namespace)
        return
    claim, pod = _of_kind(case, "PersistentVolumeClaim"), _of_kind(case, "Pod")
    storage = conditions.find(one, "StorageReady")
    said = [condition_words(item) for item in (storage,) if item and item.get("status") == "False"]
    words, hint = claim_words(case, claim)
    if pod is not None and (why := _why_no_start(pod)):
        asks = "it asks for modelMirrorDownloadCPU and -Memory of KAITO's chart: 3 CPUs and 8Gi by default"
        look = Command("kubectl describe pod", pod["metadata"]["name"], "-n", namespace)
        yield blame(
            "model-mirror-waits",
            title_of(one),
            f"the pod that downloads the model does not start: {why}",
            [("pod", f"{pod['metadata']['name']}: {why}"), *words, *said],
            hint=hint or asks,
            command=look,
        )
    elif claim is not None and dig(claim, "status", "phase") != "Bound":
        yield blame(
            "model-mirror-waits",
            title_of(one),
            f"the volume for the model's weights is not there: PersistentVolumeClaim {namespace}/{name} is "
            f"{dig(claim, 'status', 'phase')}",
            [*words, *said],
            hint=hint or "check the StorageClass, and that its driver runs and may write to the storage",
            command=Command("kubectl describe pvc", name, "-n", namespace),
        )
    else:
        how = model_mirrors.download_words(one)
        message = "the model is downloaded to its volume" + (f": {how}" if how else "")
        job = dig(_of_kind(case, "Job"), "metadata", "name")
        look = Command("kubectl logs", f"job/{job}", "-n", namespace, "-c", "downloader", "--tail=20")
        yield _wait(case, one, message, look if job else Command("kubectl get modelmirror", name))


def _wait(case: Case, one: Object, message: str, look: Command) -> Cause:
    said = controller_words(case)
    return blame("model-mirror-waits", title_of(one), message, said, command=look, weight="wait")


def _failed(case: Case, one: Object, ready: Object, namespace: str) -> Cause:
    """The download ended badly, or its Job cannot be made."""
    reason = str(ready.get("reason") or "")
    hint, command = advice(case, f"{reason} {ready.get('message')}")
    job = dig(_of_kind(case, "Job"), "metadata", "name")
    if job and reason == "DownloadFailed":
        hint = f"see why in the log; {_TRIES_AGAIN}"
        command = Command("kubectl logs", f"job/{job}", "-n", namespace, "-c", "downloader", "--tail=20")
    elif reason.startswith("Download"):
        hint = f"{hint}; {_TRIES_AGAIN}"
    return blame(
        "model-mirror-waits",
        title_of(one),
        f"the model's weights do not come: {ready.get('message')}",
        [condition_words(ready)],
        hint=hint,
        command=command,
    )


def _of_kind(case: Case, kind: str) -> Object | None:
    """The newest of a kind that belongs to the mirror."""
    found = [item for item in case.seen.mirror if item.get("kind") == kind]
    return max(found, key=creation_time_of, default=None)


def _why_no_start(pod: Object) -> str:
    """What keeps a pod from running; empty when it runs, or may yet."""
    scheduled = conditions.find(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "")
    for item in pod_state.container_statuses(pod):
        waiting = dig(item, "state", "waiting") or {}
        if waiting.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message') or ''}".rstrip(": ")
    return ""
