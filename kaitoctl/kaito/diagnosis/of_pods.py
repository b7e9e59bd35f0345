"""Rules about pods: what refuses them, what they wait for, and how their containers end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kaito import nodes
from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.case import (
    Case,
    adapter_of,
    blame,
    budget_of,
    span,
    title_of,
    told_by,
    told_of,
    word,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.snapshot import Named, Snapshot
from kaitoctl.kube import conditions
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, dig, key_of
from kaitoctl.kube.workloads import is_rolled_out, stalled


def refused_pods(case: Case) -> Iterator[Cause]:
    """The API server refuses the pods that a workload wants to make."""
    if case.pods:
        return
    for obj in (*case.seen.workloads, *case.seen.replica_sets, *case.seen.jobs):
        failure = conditions.find(obj, "ReplicaFailure")
        told = [told_by(event) for event in case.seen.events_of(obj) if event.get("reason") == "FailedCreate"]
        if failure is not None and failure.get("status") == "True":
            told.insert(0, ("condition ReplicaFailure", str(failure.get("message"))))
        if told:
            kind = str(obj["kind"])
            message = f"the pods of {kind} {obj['metadata']['name']} are refused: {told[0][1]}"
            yield blame(
                "pods-refused",
                title_of(obj),
                message,
                told,
                hint="raise the quota, or change the policy for this namespace",
                command=f"kubectl describe {kind.lower()} {word(obj['metadata']['name'])} {case.namespace}",
            )
            return


def scheduling(case: Case) -> Iterator[Cause]:
    """The scheduler finds no node."""
    for pod in case.pods:
        placed = conditions.find(pod, "PodScheduled") or {}
        if dig(pod, "spec", "nodeName") or placed.get("status") != "False":
            continue
        words = str(placed.get("message") or "")
        told = [("condition PodScheduled", words)]
        told += [
            told_by(event) for event in case.seen.events_of(pod) if event.get("reason") == "FailedScheduling"
        ]
        if "persistentvolumeclaim" in words.lower():
            hint, command = (
                "create the claim, or see why it is not bound",
                f"kubectl get pvc {case.namespace}",
            )
            yield blame("volume-claim-missing", title_of(pod), words, told, hint=hint, command=command)
        else:
            yield blame(
                "unschedulable",
                title_of(pod),
                words or "no node takes the pod",
                told,
                hint="see for each node why not",
                command=f"kaitoctl check-nodes {case.name} {case.namespace}",
                weight="wait",
            )
        return


_NOT_FOUND = r"(?i)(configmap|secret|persistentvolumeclaim)s? \"([^\"]+)\" not found"
_NO_KEY = r"(?i)couldn't find key|non-existent config key|references non-existent"
_KINDS = {"configmap": "ConfigMap", "secret": "Secret", "persistentvolumeclaim": "PersistentVolumeClaim"}
_CODES = {
    "ConfigMap": "config-map-missing",
    "Secret": "secret-missing",
    "PersistentVolumeClaim": "volume-claim-missing",
}


def configuration(case: Case) -> Iterator[Cause]:
    """ConfigMaps, Secrets and volumes that a pod waits for."""
    for pod in case.pods:
        told = [
            (f"container {item['name']}", f"{reason}: {dig(item, 'state', 'waiting', 'message')}")
            for item in pods_.container_statuses(pod)
            if (reason := str(dig(item, "state", "waiting", "reason") or "")) == "CreateContainerConfigError"
        ]
        if _is_creating(pod):
            told += [
                told_by(event) for event in case.seen.events_of(pod) if event.get("reason") == "FailedMount"
            ]
        for source, words in told:
            if found := re.search(_NOT_FOUND, words):
                named = Named(_KINDS[found[1].lower()], found[2])
                evidence = [(source, words)]
                if named in case.seen.missing:
                    evidence.append(("cluster", f"there is no {named.kind} {named.name} in this namespace"))
                yield _missing(case, named, title_of(pod), evidence)
                break
            if re.search(_NO_KEY, words):
                message = f"an entry is missing: {words.partition(': ')[2]}"
                yield blame(
                    "key-missing",
                    title_of(pod),
                    message,
                    [(source, words)],
                    hint="add the key",
                    command=f"kubectl describe pod {word(pod['metadata']['name'])} {case.namespace}",
                )
                break
        else:
            if _is_creating(pod):
                yield from _unmounted(case, pod)
    if not case.seen.pods:
        for path, named in references(case.workspace):
            if named in case.seen.missing and path != "pull":
                evidence = [("Workspace", f"{path} names it"), *told_of(case)]
                yield _missing(case, named, title_of(case.workspace), evidence)


def _unmounted(case: Case, pod: Object) -> Iterator[Cause]:
    for item in pods_.references(pod):
        named = Named(item.kind, item.name)
        if item.use != "pull" and named in case.seen.missing:
            evidence = [("pod", f"{item.use} {item.by} needs it"), ("cluster", "it does not exist")]
            yield _missing(case, named, title_of(pod), evidence)


def _missing(case: Case, named: Named, about: str, evidence: list[tuple[str, str]]) -> Cause:
    from kaitoctl.kaito import tuning

    namespace = key_of(case.workspace).namespace or "default"
    name = word(named.name)
    commands = {
        "ConfigMap": f"kubectl create configmap {name} {case.namespace} --from-file=FILE",
        "Secret": f"kubectl create secret generic {name} {case.namespace} --from-literal=KEY=VALUE",
        "PersistentVolumeClaim": f"kubectl get pvc {case.namespace}",
    }
    if named.name == tuning.push_secret(case.workspace):
        image = str(dig(case.workspace, "tuning", "output", "image") or "")
        commands["Secret"] = _for_registry(case, named.name, _registry_of(image))
    return blame(
        _CODES[named.kind],
        about,
        f"{named.kind} {named.name} does not exist in namespace {namespace}",
        evidence,
        hint="create it; the pod goes on by itself" if case.seen.pods else "create it",
        command=commands[named.kind],
    )


def _registry_of(image: str) -> str:
    first = image.split("/")[0]
    return first if "." in first or ":" in first else "docker.io"


def _for_registry(case: Case, name: str, registry: str) -> str:
    return (
        f"kubectl create secret docker-registry {word(name)} {case.namespace} "
        f"--docker-server={word(registry)} --docker-username=USER --docker-password=PASSWORD"
    )


def references(workspace: Object) -> list[tuple[str, Named]]:
    """What a Workspace itself names: where (`pull` for pull secrets), and what."""
    found: list[tuple[str, Named]] = []

    def note(path: str, kind: str, name: object) -> None:
        if isinstance(name, str) and name:
            found.append((path, Named(kind, name)))

    options = dig(workspace, "inference", "preset", "presetOptions")
    note("inference.config", "ConfigMap", dig(workspace, "inference", "config"))
    note("presetOptions.modelAccessSecret", "Secret", dig(options, "modelAccessSecret"))
    note("tuning.config", "ConfigMap", dig(workspace, "tuning", "config"))
    note("tuning.output.imagePushSecret", "Secret", dig(workspace, "tuning", "output", "imagePushSecret"))
    pulls = [
        *(dig(options, "imagePullSecrets") or ()),
        *(dig(workspace, "tuning", "input", "imagePullSecrets") or ()),
    ]
    for adapter in dig(workspace, "inference", "adapters") or ():
        pulls += dig(adapter, "source", "imagePullSecrets") or ()
    for name in pulls:
        note("pull", "Secret", name)
    return found


_UNAUTHORIZED = (
    r"(?i)40[13]\b|unauthorized|forbidden|denied|authentication required|may require|authorization failed"
)
_NO_IMAGE = r"(?i)not found|manifest unknown|name unknown|does not exist|no such image"
_NO_WAY = (
    r"(?i)i/o timeout|no such host|x509|connection refused|connection reset|deadline exceeded|TLS handshake|"
    r"too many requests|toomanyrequests|\b429\b|dial tcp|EOF$"
)
_PULLING = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)


def images(case: Case) -> Iterator[Cause]:
    """Images that a node cannot have."""
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            reason = str(dig(item, "state", "waiting", "reason") or "")
            if reason in _PULLING:
                yield _unpulled(case, pod, item, reason)


def _set_adapter(case: Case, adapter: str, change: str) -> str:
    return f"kaitoctl set-adapter {case.name} {case.namespace} --name {word(adapter)} {change}"


def _unpulled(case: Case, pod: Object, item: Object, reason: str) -> Cause:
    name, image = str(item["name"]), str(item.get("image") or _image_of(pod, str(item["name"])))
    about = f"{title_of(pod)}, container {name}"
    told = [(f"container {name}", f"{reason}: {dig(item, 'state', 'waiting', 'message') or ''}".rstrip(": "))]
    told += [
        told_by(event)
        for event in case.seen.events_of(pod)
        if event.get("reason") in ("Failed", "FailedToRetrieveImagePullSecret")
        and (image in str(event.get("message")) or "Secret" in str(event.get("reason")))
    ][:2]
    words = " ".join(text for _, text in told)
    secrets = sorted({ref.name for ref in pods_.references(pod) if ref.use == "pull"})
    gone = [secret for secret in secrets if Named("Secret", secret) in case.seen.missing]
    registry = _registry_of(image)
    create = _for_registry(case, gone[0] if gone else "NAME", registry)
    adapter = adapter_of(case, name)
    of = f" of adapter {adapter}" if adapter else ""
    if reason == "InvalidImageName":
        message = f"{image} cannot be read as an image's name"
        hint = "write it as REGISTRY/REPOSITORY:TAG"
        return blame("image-name-invalid", about, message, told, hint=hint)
    if re.search(_UNAUTHORIZED, words) and gone:
        told.append(("cluster", f"there is no Secret {gone[0]} in this namespace"))
        message = f"pull secret {gone[0]} does not exist, and {registry} wants credentials for {image}"
        return blame("pull-secret-missing", about, message, told, hint="create it", command=create)
    if re.search(_UNAUTHORIZED, words):
        message = f"{registry} refuses to hand out the image{of}, {image}"
        told.append(("pod", f"its pull secrets: {', '.join(secrets) or 'none'}"))
        hint = (
            f"see whether Secret {secrets[0]} has valid credentials for {registry}"
            if secrets
            else "create a pull secret and name it in the Workspace"
        )
        command = f"kubectl get secret {word(secrets[0])} {case.namespace}" if secrets else create
        if adapter and not secrets:
            hint = f"create a pull secret and give it to the adapter: {create}"
            command = _set_adapter(case, adapter, "--image-pull-secret NAME")
        return blame("image-unauthorized", about, message, told, hint=hint, command=command)
    if re.search(_NO_WAY, words):
        message = f"the node cannot reach {registry} for {image}"
        return blame("registry-unreachable", about, message, told, hint="try the registry from the node")
    if re.search(_NO_IMAGE, words):
        code = "adapter-image-bad" if adapter else "image-not-found"
        hint = f"correct the image{of}, or push it"
        command = f"kubectl edit workspace {case.name} {case.namespace}"
        if adapter:
            command = _set_adapter(case, adapter, "--image IMAGE:TAG")
        return blame(code, about, f"there is no image {image}{of}", told, hint=hint, command=command)
    code = "adapter-image-bad" if adapter else "image-pull-failed"
    look = f"kubectl describe pod {word(pod['metadata']['name'])} {case.namespace}"
    return blame(
        code, about, f"the image{of} cannot be pulled: {image}", told, hint="see the message", command=look
    )


_NO_FILES = r"(?i)no files|can't stat '?/data|cannot stat '?/data"
_NO_PROGRAM = r"(?i)executable file not found|no such file or directory"
_UNSTARTABLE = frozenset({"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"})
# What can befall the copying of an adapter's files, too.
_OF_COPIES = ("disk-full", "path-not-writable")
_EXITS = {
    1: "the program's own error",
    2: "the program's own error, often bad arguments",
    126: "the command cannot be executed",
    127: "the command does not exist in the image",
    134: "it aborted (SIGABRT)",
    137: "it was killed (SIGKILL)",
    139: "it crashed (SIGSEGV)",
    143: "it was told to end (SIGTERM)",
}


def containers(case: Case) -> Iterator[Cause]:
    """Containers that end, or never begin."""
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            waiting = str(dig(item, "state", "waiting", "reason") or "")
            if waiting in _UNSTARTABLE:
                words = str(dig(item, "state", "waiting", "message") or waiting)
                adapter = adapter_of(case, str(item["name"]))
                if adapter and re.search(_NO_PROGRAM, words):
                    yield _without_shell(case, pod, item, adapter, [(f"container {item['name']}", words)])
                    continue
                yield blame(
                    "container-cannot-start",
                    f"{title_of(pod)}, container {item['name']}",
                    f"the container cannot be started: {words}",
                    [(f"container {item['name']}", f"{waiting}: {words}")],
                    hint="see the message",
                    command=f"kubectl describe pod {word(pod['metadata']['name'])} {case.namespace}",
                )
            elif ended := _ended(item):
                yield _why_ended(case, pod, item, ended)


def _without_shell(case: Case, pod: Object, item: Object, adapter: str, told: list[tuple[str, str]]) -> Cause:
    return blame(
        "adapter-without-shell",
        f"{title_of(pod)}, container {item['name']}",
        f"the image of adapter {adapter} has no sh, mkdir or cp, by which its files are copied",
        told,
        hint="build it on an image that has them, such as busybox",
        command=_set_adapter(case, adapter, "--image IMAGE:TAG"),
    )


def _ended(item: Object) -> Object | None:
    """How the container ended with an error, unless it has recovered since."""
    for ended in (dig(item, "state", "terminated"), dig(item, "lastState", "terminated")):
        failed = ended and (ended.get("exitCode") or ended.get("reason") == "OOMKilled")
        if failed and not (item.get("ready") and dig(item, "state", "running") is not None):
            return dict(ended)
    return None


def _why_ended(case: Case, pod: Object, item: Object, ended: Object) -> Cause:
    name, code = str(item["name"]), int(ended.get("exitCode") or 0)
    about = f"{title_of(pod)}, container {name}"
    restarts = int(item.get("restartCount") or 0)
    again = f"{restarts} {nodes.plural('restart', restarts)}"
    told = [(f"container {name}", f"exit code {code}, {ended.get('reason') or 'Error'}; {again}")]
    log = case.seen.logs.get((str(pod["metadata"]["name"]), name), "") or str(ended.get("message") or "")
    adapter = adapter_of(case, name)
    option = f" --adapter {word(adapter)}" if adapter else ""
    look = f"kaitoctl logs {case.name} {case.namespace}{option} --previous"

    def ended_so(
        code: str, message: str, pattern: str | None = None, *, hint: str, command: str = look
    ) -> Cause:
        return blame(code, about, message, [*told, *_log_lines(log, pattern)], hint=hint, command=command)

    if ended.get("reason") == "OOMKilled":
        limit = next(
            (
                str(amount)
                for spec in pods_.container_specs(pod)
                if spec.get("name") == name and (amount := dig(spec, "resources", "limits", "memory"))
            ),
            "",
        )
        message = f"{name} used more main memory than {'its limit of ' + limit if limit else 'the node has'}"
        return ended_so("out-of-memory", message, hint="take a node with more memory, or raise the limit")
    known = of_logs.finding(case, log, among=_OF_COPIES if adapter else ())
    if known is not None:
        told.append(("log", known.line))
        command = of_logs.next_step(case, pod, known) or look
        return blame(known.code, about, known.message, told, hint=known.hint, command=command)
    if adapter and name != adapter:  # KAITO v0.12 pulls in a container, whose log has the registry's answer
        if re.search(_UNAUTHORIZED, log):
            message = f"the registry refuses to hand out the image of adapter {adapter}"
            command = _set_adapter(case, adapter, "--image-pull-secret NAME")
            hint = "give the adapter a pull secret that is valid for it"
            return ended_so("image-unauthorized", message, _UNAUTHORIZED, hint=hint, command=command)
        if re.search(_NO_IMAGE, log):
            message, hint = f"there is no image of adapter {adapter}", "correct the image, or push it"
            command = _set_adapter(case, adapter, "--image IMAGE:TAG")
            return ended_so("adapter-image-bad", message, _NO_IMAGE, hint=hint, command=command)
    if adapter and (re.search(_NO_FILES, log) or (not log and code == 1)):
        message = f"the image of adapter {adapter} has no files in /data"
        hint = "build it with adapter_config.json and the weights in /data"
        command = _set_adapter(case, adapter, "--image IMAGE:TAG")
        return ended_so("adapter-empty", message, _NO_FILES, hint=hint, command=command)
    if adapter and code in (126, 127):
        return _without_shell(case, pod, item, adapter, [*told, *_log_lines(log, None)])
    killed = [
        event
        for event in case.seen.events_of(pod)
        if event.get("reason") in ("Killing", "Unhealthy")
        and re.search(r"liveness|startup", str(event.get("message")), re.I)
    ]
    if code in (137, 143) and (killed or _has_killing_probe(pod, name)):
        told += [told_by(event) for event in killed[:2]]
        message = f"a probe kills {name} before it has loaded"
        hint = "give it a startupProbe with more time"
        return ended_so("probe-kills-slow-start", message, hint=hint)
    what = _EXITS.get(
        code, f"killed by signal {code - 128}" if 128 < code < 160 else "the program's own error"
    )
    copied = f"adapter {adapter} cannot be copied: " if adapter else ""
    if error := of_logs.last_error(log):
        what = error
        told.append(("log", error))
    return ended_so("crash-loop", f"{copied}{name} ends with exit code {code}: {what}", hint="read its log")


def _has_killing_probe(pod: Object, name: str) -> bool:
    probes = ("startupProbe", "livenessProbe")
    return any(
        spec.get("name") == name and any(spec.get(probe) for probe in probes)
        for spec in pods_.container_specs(pod)
    )


def _log_lines(log: str, pattern: str | None) -> list[tuple[str, str]]:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if pattern is not None and (told := [line for line in lines if re.search(pattern, line)]):
        return [("log", of_logs.shown(told[-1]))]
    return [("log", line) for line in of_logs.last_lines(log)]


def evicted(case: Case) -> Iterator[Cause]:
    """Pods that a node threw out."""
    for pod in case.seen.pods:
        if dig(pod, "status", "phase") == "Failed" and dig(pod, "status", "reason") == "Evicted":
            words = str(dig(pod, "status", "message") or "Evicted")
            code = "disk-full" if re.search(r"disk|ephemeral-storage", words, re.I) else "pod-evicted"
            yield blame(
                code,
                title_of(pod),
                f"its node evicted it: {words}",
                [("pod", words)],
                hint="see the node's pressure conditions",
                command=f"kubectl describe node {word(str(dig(pod, 'spec', 'nodeName') or ''))}",
                weight="fault" if len(case.pods) <= 1 and pod in case.pods else "note",
            )


def tuned(case: Case) -> Iterator[Cause]:
    """A tuning job that failed."""
    if not case.seen.jobs:
        return
    from kaitoctl.kaito import tuning

    for job in case.seen.jobs:
        failure = tuning.failure(job, case.seen.pods)
        if failure is not None and failure.final and case.workspace.get("tuning"):
            yield blame(
                "tuning-failed",
                title_of(job),
                failure.message,
                told_of(case),
                hint="mend the cause, then change the Workspace or delete the Job",
                command=f"kaitoctl logs {case.name} {case.namespace}",
            )


def given_up(case: Case) -> Iterator[Cause]:
    """Deployments that Kubernetes has given up."""
    for workload in case.seen.workloads:
        if why := stalled(workload):
            yield blame(
                "progress-deadline",
                title_of(workload),
                f"Kubernetes has given the rollout up: {why}",
                [("condition Progressing", why)],
                hint="see the pods",
                command=f"kaitoctl status {case.name} {case.namespace}",
            )


def slow(case: Case) -> Iterator[Cause]:
    """Servers that load for longer than their preset may take."""
    budget_s = budget_of(case.workspace)
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            running_s = case.age_s(dig(item, "state", "running", "startedAt"))
            if (
                running_s > budget_s
                and not pods_.is_ready(pod)
                and not item.get("ready")
                and not _ended(item)
            ):
                yield blame(
                    "slow-start",
                    f"{title_of(pod)}, container {item['name']}",
                    f"it loads for {span(running_s)}, and the budget is {span(budget_s)}",
                    [told_by(event) for event in case.seen.events_of(pod)[:1]],
                    hint="see whether it still moves",
                    command=f"kaitoctl logs {case.name} {case.namespace}",
                )


def service(case: Case) -> Iterator[Cause]:
    """Ready pods that nobody can reach."""
    if case.workspace.get("tuning") or not case.seen.workloads or {"services"} & set(case.seen.unseen):
        return
    if not all(map(is_rolled_out, case.seen.workloads)) or dig(case.workspace, "inference", "template"):
        return
    main = [item for item in case.seen.services if item["metadata"]["name"] == case.name]
    if not main:
        message, evidence = (
            f"Service {case.name} is missing",
            [("cluster", "there is no Service of the name")],
        )
    elif "endpointslices" not in case.seen.unseen and case.seen.slices and not endpoints(case.seen):
        message = f"Service {case.name} reaches no ready pod"
        evidence = [("Service", f"selector {dig(main[0], 'spec', 'selector')}")]
    else:
        return
    yield blame(
        "no-endpoints",
        f"Service {case.name}",
        message,
        evidence,
        hint="compare its selector with the pods' labels",
        command=f"kubectl get endpointslices {case.namespace} -l kubernetes.io/service-name={case.name}",
        weight="wait",
    )


def endpoints(seen: Snapshot) -> list[str]:
    """The addresses of the ready pods behind the Service."""
    return [
        str(address)
        for item in seen.slices
        for endpoint in item.get("endpoints") or ()
        if dig(endpoint, "conditions", "ready") is not False
        for address in endpoint.get("addresses") or ()
    ]


def _image_of(pod: Object, name: str) -> str:
    return next(
        (str(spec.get("image")) for spec in pods_.container_specs(pod) if spec.get("name") == name), ""
    )


def _is_creating(pod: Object) -> bool:
    if not dig(pod, "spec", "nodeName") or pods_.is_finished(pod):
        return False
    words = {str(dig(item, "state", "waiting", "reason")) for item in pods_.container_statuses(pod)}
    return words <= {"ContainerCreating", "PodInitializing"}
