"""Rules about images: those that a node cannot have, and those that it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.kaito.diagnosis.case import (
    Case,
    adapter_of,
    blame,
    describe,
    events_about,
    is_creating,
    span,
    title_of,
    told_by,
    word,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kaito.snapshot import Named, event_time
from kaitoctl.kube import pods as pods_
from kaitoctl.kube.objects import Object, dig

UNAUTHORIZED = (
    r"(?i)\b(?:status|code|error)\b\D{0,12}40[13]\b|unauthorized|forbidden|denied|"
    r"authentication required|may require|authorization failed"
)
NO_IMAGE = r"(?i)not found|manifest unknown|name unknown|does not exist|no such image"
_NO_SPACE = r"(?i)no space left on device|disk quota exceeded"
# What a registry answers, or what is between: a pattern, the same in words, what to do.
# Source: containerd v2.1 core/remotes/docker; Docker Hub's answers; Go's net, net/http, crypto/x509.
_REGISTRY = (
    (
        r"(?i)too ?many ?requests|\b429\b|rate limit",
        "{registry} limits how often images are pulled from it, {image} now",
        "wait, and give the pods a pull secret (who is known may pull more often), or a registry of your own",
    ),
    (
        r"(?i)server gave HTTP response to HTTPS client",
        "{registry} speaks plain HTTP, and the node asks it for {image} by HTTPS",
        "give the registry a certificate, or let the container runtime of the nodes speak HTTP with it",
    ),
    (
        r"(?i)x509|certificate",
        "the node cannot reach {registry} for {image}: it does not trust its certificate",
        "give the container runtime of the nodes the registry's CA",
    ),
    (
        r"(?i)\b50[0234]\b.{0,8}(internal|bad|service|gateway|not implemented)|\bstatus\b\D{0,12}5\d\d\b",
        "{registry} answers with an error of its own when it is asked for {image}",
        "see how the registry is; the kubelet tries again by itself",
    ),
    (
        r"(?i)i/o timeout|no such host|connection refused|connection reset|deadline exceeded|TLS handshake|"
        r"dial tcp|EOF$",
        "the node cannot reach {registry} for {image}",
        "try the registry from the node",
    ),
)
# Source: containerd v2.1 core/images, docker/distribution, CRI-O's containers/image; runc and the kernel.
WRONG_PLATFORM = (
    r"(?i)no match for platform|no matching manifest (for|was found)|does not match the "
    r"(specified|detected host|"
    r"expected) platform|no image found in (image index|manifest list) for architecture|exec format error|"
    r"image operating system .* cannot be used|unsupported (platform|architecture)|not supported on this "
    r"platform"
)
_PULL_CODES = frozenset({"image-pull-failed", "image-name-invalid", "registry-unreachable"})
_PULLS_WITHIN_S = 900.0
_PULLS_AT_MOST_S = 2400.0


def images(case: Case) -> Iterator[Cause]:
    """Images that a node cannot have."""
    for pod in case.pods:
        for item in pods_.container_statuses(pod):
            reason = str(dig(item, "state", "waiting", "reason") or "")
            if code_of("waiting", reason) in _PULL_CODES:
                yield _unpulled(case, pod, item, reason)
            elif reason in ("ContainerCreating", "PodInitializing"):
                yield from _slow_pull(case, pod, item)
        told = [
            told_by(event)
            for event in case.seen.events_of(pod)
            if code_of("event", str(event.get("reason"))) == "image-pull-failed"
        ]
        if told and is_creating(pod):
            message, hint = f"an image cannot be used: {told[0][1]}", "see the message"
            yield blame(
                "image-pull-failed", title_of(pod), message, told, hint=hint, command=describe(case, pod)
            )


def _slow_pull(case: Case, pod: Object, item: Object) -> Iterator[Cause]:
    """A pull that has begun and neither ended nor failed for long."""
    name = str(item["name"])
    image = str(item.get("image") or _image_of(pod, name))
    events = [event for event in events_about(case, pod, name) if image in str(event.get("message"))]
    if not events or events[0].get("reason") != "Pulling":
        return
    since_s = case.age_s(events[0].get("firstTimestamp") or event_time(events[0]))
    if since_s <= _PULLS_WITHIN_S:
        return
    node = str(dig(pod, "spec", "nodeName") or "")
    yield blame(
        "image-pull-slow",
        f"{title_of(pod)}, container {name}",
        f"node {node} has been pulling {image} for {span(since_s)}",
        [told_by(events[0])],
        hint=f"see the network between the node and {registry_of(image)}; a registry near the cluster is "
        f"faster",
        command=f"kubectl describe node {word(node)}",
        weight="fault" if since_s > _PULLS_AT_MOST_S else "wait",
    )


def set_adapter(case: Case, adapter: str, change: str) -> str:
    """The command that changes an adapter."""
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
    # What stands in the image's own name is no answer of its registry.
    words = " ".join(text for _, text in told).replace(image or "\n", "IMAGE")
    secrets = sorted({ref.name for ref in pods_.references(pod) if ref.use == "pull"})
    gone = [secret for secret in secrets if Named("Secret", secret) in case.seen.missing]
    registry = registry_of(image)
    create = for_registry(case, gone[0] if gone else "NAME", registry)
    adapter = adapter_of(case, name)
    of = f" of adapter {adapter}" if adapter else ""
    if reason == "InvalidImageName":
        message = f"{image} cannot be read as an image's name"
        hint = "write it as REGISTRY/REPOSITORY:TAG"
        command = f"kubectl edit workspace {case.name} {case.namespace}"
        if adapter:
            command = set_adapter(case, adapter, "--image IMAGE:TAG")
        return blame("image-name-invalid", about, message, told, hint=hint, command=command)
    if re.search(WRONG_PLATFORM, words):
        return wrong_platform(case, pod, name, image, told)
    if reason == "ErrImageNeverPull":
        message = f"image {image} is not on the node, and imagePullPolicy Never forbids to pull it"
        hint = "load the image onto the node, or set imagePullPolicy IfNotPresent"
        return blame("image-pull-failed", about, message, told, hint=hint, command=describe(case, pod))
    if reason == "SignatureValidationFailed":
        message = f"the node does not trust the signature of {image}"
        hint = "sign the image, or change the signature policy of the node's container runtime"
        return blame("image-pull-failed", about, message, told, hint=hint, command=describe(case, pod))
    if re.search(_NO_SPACE, words):
        node = str(dig(pod, "spec", "nodeName") or "")
        return blame(
            "disk-full",
            about,
            f"the disk of node {node} is full: the image{of}, {image}, does not fit",
            told,
            hint="take nodes with a larger disk, or see what else fills it",
            command=f"kubectl describe node {word(node)}" if node else describe(case, pod),
        )
    if re.search(UNAUTHORIZED, words) and gone:
        told.append(("cluster", f"there is no Secret {gone[0]} in this namespace"))
        message = f"pull secret {gone[0]} does not exist, and {registry} wants credentials for {image}"
        return blame("pull-secret-missing", about, message, told, hint="create it", command=create)
    if re.search(UNAUTHORIZED, words):
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
            command = set_adapter(case, adapter, "--image-pull-secret NAME")
        return blame("image-unauthorized", about, message, told, hint=hint, command=command)
    if answer := _answered(reason, words):
        message, hint = answer[0].format(registry=registry, image=image), answer[1]
        return blame("registry-unreachable", about, message, told, hint=hint, command=describe(case, pod))
    if re.search(NO_IMAGE, words):
        code = "adapter-image-bad" if adapter else "image-not-found"
        hint = f"correct the image{of}, or push it"
        command = f"kubectl edit workspace {case.name} {case.namespace}"
        if adapter:
            command = set_adapter(case, adapter, "--image IMAGE:TAG")
        return blame(code, about, f"there is no image {image}{of}", told, hint=hint, command=command)
    code = "adapter-image-bad" if adapter else "image-pull-failed"
    return blame(
        code,
        about,
        f"the image{of}, {image}, cannot be pulled: {_said(item, told)}",
        told,
        hint="see the message",
        command=describe(case, pod),
    )


def _answered(reason: str, words: str) -> tuple[str, str] | None:
    """What a registry answered, or why it did not, in words; and what to do. None when nobody knows it."""
    for pattern, says, hint in _REGISTRY:
        if re.search(pattern, words):
            return says, hint
    return _REGISTRY[-1][1:] if reason == "RegistryUnavailable" else None


def _said(item: Object, told: list[tuple[str, str]]) -> str:
    """The most telling words about a failed pull: an event's, for a back-off says nothing."""
    of_pull = (text for source, text in told[1:] if source.startswith("event Failed"))
    waiting = dig(item, "state", "waiting") or {}
    return next(of_pull, str(waiting.get("message") or waiting.get("reason")))


def wrong_platform(case: Case, pod: Object, name: str, image: str, told: list[tuple[str, str]]) -> Cause:
    """The image is there, for machines of another kind."""
    adapter = adapter_of(case, name)
    of = f" of adapter {adapter}" if adapter else ""
    return blame(
        "image-wrong-platform",
        f"{title_of(pod)}, container {name}",
        f"the image{of}, {image}, exists for another CPU architecture or operating system than the node's",
        told,
        hint="build it for linux/amd64 (docker build --platform linux/amd64), and push it",
        command=set_adapter(case, adapter, "--image IMAGE:TAG") if adapter else describe(case, pod),
    )


def registry_of(image: str) -> str:
    """The registry that an image's name leads to."""
    first = image.split("/")[0]
    return first if "." in first or ":" in first else "docker.io"


def for_registry(case: Case, name: str, registry: str) -> str:
    """The command that creates a pull secret."""
    return (
        f"kubectl create secret docker-registry {word(name)} {case.namespace} "
        f"--docker-server={word(registry)} --docker-username=USER --docker-password=PASSWORD"
    )


def _image_of(pod: Object, name: str) -> str:
    return next(
        (str(spec.get("image")) for spec in pods_.container_specs(pod) if spec.get("name") == name), ""
    )
