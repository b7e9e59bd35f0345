"""Rules about what pods refer to: ConfigMaps, Secrets, their keys, and claims that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis.case import Case, blame, controller_words, event_words, is_creating, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.snapshot import Named
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, as_map, dig

NOT_FOUND = r"(?i)(configmap|secret|persistentvolumeclaim)s? \"([^\"]+)\" not found"
_NO_KEY = r"(?i)couldn't find key|non-existent config key|references non-existent"
_KINDS = {"configmap": "ConfigMap", "secret": "Secret", "persistentvolumeclaim": "PersistentVolumeClaim"}
_CODES = {
    "ConfigMap": "config-map-missing",
    "Secret": "secret-missing",
    "PersistentVolumeClaim": "volume-claim-missing",
}


def is_reference_missing(words: str) -> bool:
    """Whether a message says that an object or one of its keys does not exist."""
    return bool(re.search(NOT_FOUND, words) or re.search(_NO_KEY, words))


def configuration(case: Case) -> Iterator[Cause]:
    """ConfigMaps, Secrets and volumes that a pod waits for."""
    for pod in case.pods:
        evidence = [
            (f"container {item['name']}", f"{reason}: {dig(item, 'state', 'waiting', 'message')}")
            for item in pod_state.container_statuses(pod)
            if (reason := str(dig(item, "state", "waiting", "reason") or "")) == "CreateContainerConfigError"
        ]
        if is_creating(pod):
            evidence += [
                event_words(event)
                for event in case.seen.events_of(pod)
                if event.get("reason") == "FailedMount"
            ]
        for source, words in evidence:
            if found := re.search(NOT_FOUND, words):
                named = Named(_KINDS[found[1].lower()], found[2])
                evidence = [(source, words)]
                if named in case.seen.missing:
                    evidence.append(("cluster", f"there is no {named.kind} {named.name} in this namespace"))
                yield _missing(case, named, title_of(pod), evidence)
                break
            if re.search(_NO_KEY, words):
                message = f"an entry is missing{_whose(pod, words)}: {words.partition(': ')[2]}"
                yield blame(
                    "key-missing",
                    title_of(pod),
                    message,
                    [(source, words)],
                    hint="add the key",
                    command=kubectl_hints.describe(pod),
                )
                break
        else:
            if is_creating(pod):
                yield from _mount_failures(case, pod)
    if not case.seen.pods:
        for path, named in references(case.workspace):
            if named in case.seen.missing and path != "pull":
                evidence = [("Workspace", f"{path} names it"), *controller_words(case)]
                yield _missing(case, named, title_of(case.workspace), evidence)


def _whose(pod: Object, words: str) -> str:
    """The object that a volume takes its entries from: a kubelet names the volume and the key alone."""
    volume = re.search(r'for volume "([^"]{1,253})"', words)
    for item in dig(pod, "spec", "volumes") or ():
        if volume and item.get("name") == volume[1]:
            for kind, field, name in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
                if found := dig(item, field, name):
                    return f" in {kind} {found}"
    return ""


def _mount_failures(case: Case, pod: Object) -> Iterator[Cause]:
    for item in pod_state.references(pod):
        named = Named(item.kind, item.name)
        if item.use != "pull" and named in case.seen.missing:
            evidence = [("pod", f"{item.use} {item.by} needs it"), ("cluster", "it does not exist")]
            yield _missing(case, named, title_of(pod), evidence)


def _missing(case: Case, named: Named, about: str, evidence: list[tuple[str, str]]) -> Cause:
    from kaitoctl.kaito import tuning

    path = next((path for path, one in references(case.workspace) if one == named), "")
    command = Command("kubectl get pvc", *case.in_namespace)
    if named.kind in ("ConfigMap", "Secret"):
        command = kubectl_hints.create(named.kind, named.name, case.namespace, path=path)
    if named.kind == "Secret" and named.name == tuning.push_secret(case.workspace):
        image = str(dig(case.workspace, "tuning", "output", "image") or "")
        from kaitoctl.kaito.diagnosis import of_registries  # most images can be pulled

        registry = of_registries.registry_of(image)
        command = of_registries.for_registry(case, named.name, registry)
    hint = "create it; the pod then starts automatically" if case.seen.pods else "create it"
    if named.kind == "ConfigMap" and (publisher := _PUBLISHED.get(named.name)):
        hint = f"{publisher} writes it into every namespace: check that it runs, and its log"
        command = Command("kubectl get configmaps -A --field-selector", f"metadata.name={named.name}")
    return blame(
        _CODES[named.kind],
        about,
        f"{named.kind} {named.name} does not exist in namespace {case.namespace}",
        evidence,
        hint=hint,
        command=command,
    )


# Source: Kubernetes v1.37.2 pkg/controller/certificates/rootcacertpublisher; openshift/service-ca-operator;
# istio 1.28 pilot/pkg/bootstrap/namespacecontroller.go.
_PUBLISHED = {
    "kube-root-ca.crt": "kube-controller-manager",
    "openshift-service-ca.crt": "OpenShift's service CA operator",
    "istio-ca-root-cert": "istiod",
}


def references(workspace: Object) -> list[tuple[str, Named]]:
    """What a Workspace itself names: where (`pull` for pull secrets), and what."""
    found: list[tuple[str, Named]] = []

    def note(path: str, kind: str, name: object) -> None:
        if isinstance(name, str) and name:
            found.append((path, Named(kind, name)))

    options = [dig(workspace, part, "preset", "presetOptions") for part in ("inference", "tuning")]
    note("inference.config", "ConfigMap", dig(workspace, "inference", "config"))
    for one in options:
        note("presetOptions.modelAccessSecret", "Secret", dig(one, "modelAccessSecret"))
    note("tuning.config", "ConfigMap", dig(workspace, "tuning", "config"))
    note("tuning.output.imagePushSecret", "Secret", dig(workspace, "tuning", "output", "imagePushSecret"))
    sources = [("tuning.input", dig(workspace, "tuning", "input"))]
    for index, adapter in enumerate(dig(workspace, "inference", "adapters") or ()):
        sources.append((f"inference.adapters[{index}].source", dig(adapter, "source")))
    for name in chain(
        *(dig(one, "imagePullSecrets") or () for one in (*options, *(of for _, of in sources)))
    ):
        note("pull", "Secret", name)
    for path, source in (*sources, ("tuning.output", dig(workspace, "tuning", "output"))):
        volumes = [volume] if (volume := dig(source, "volumeSource")) else []
        for ref in pod_state.references({"spec": {"volumes": volumes}}):
            note(f"{path}.volumeSource", ref.kind, ref.name)
    for ref in pod_state.references(as_map(dig(workspace, "inference", "template"))):
        note("pull" if ref.use == "pull" else "inference.template", ref.kind, ref.name)
    return found
