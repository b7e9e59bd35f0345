"""Rules about images: those that a node cannot have, and those that it waits for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis.case import (
    NO_RUNTIME,
    Case,
    adapter_of,
    blame,
    event_words,
    events_about,
    is_creating,
    span,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kaito.snapshot import Named, event_time
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.diagnosis.of_registries import Asked

UNAUTHORIZED = (
    r"(?i)\b(?:status|code|error)\b\D{0,12}40[13]\b|unauthorized|forbidden|denied|"
    r"authentication required|may require|authorization failed|no basic auth credentials"
)
NO_IMAGE = r"(?i)not found|manifest unknown|name unknown|does not exist|no such image"
_READ_ONLY = r"(?i)read-only file system"
_NO_SPACE = r"(?i)no space left on device|disk quota exceeded"
# Source: containerd v2.1 core/images, docker/distribution, CRI-O's containers/image; runc and the kernel.
OTHER_CPU = (
    r"(?i)no match for platform|no matching manifest (for|was found)|does not match the "
    r"(specified|detected host|"
    r"expected) platform|no image found in (image index|manifest list) for architecture|exec format error|"
    r"image operating system .* cannot be used"
)
"""In whichever words: a server's log, too."""
WRONG_PLATFORM = rf"{OTHER_CPU}|unsupported (platform|architecture)|not supported on this platform"
"""What a container runtime says of an image; of its own parts a server says such things, too."""
_PULL_CODES = frozenset({"image-pull-failed", "image-name-invalid", "registry-unreachable"})
_PULLS_WITHIN_S = 900.0
_PULLS_AT_MOST_S = 2400.0


def images(case: Case) -> Iterator[Cause]:
    """Images that a node cannot have."""
    for pod in case.pods:
        for item in pod_state.container_statuses(pod):
            reason = str(dig(item, "state", "waiting", "reason") or "")
            if code_of("waiting", reason) in _PULL_CODES:
                yield _pull_failure(case, pod, item, reason)
            elif reason in ("ContainerCreating", "PodInitializing"):
                yield from _slow_pull(case, pod, item)
        evidence = [
            event_words(event)
            for event in case.seen.events_of(pod)
            if code_of("event", str(event.get("reason"))) == "image-pull-failed"
        ]
        if evidence and is_creating(pod):
            message, hint = f"an image cannot be used: {evidence[0][1]}", "check the message"
            yield blame(
                "image-pull-failed",
                title_of(pod),
                message,
                evidence,
                hint=hint,
                command=kubectl_hints.describe(pod),
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
    from kaitoctl.kaito.diagnosis import of_registries  # most images can be pulled

    node, registry = str(dig(pod, "spec", "nodeName") or ""), of_registries.registry_of(image)
    yield blame(
        "image-pull-slow",
        f"{title_of(pod)}, container {name}",
        f"node {node} has been pulling {image} for {span(since_s)}",
        [event_words(events[0])],
        hint=f"check the network between the node and {registry}; a registry near the cluster is faster",
        command=Command("kubectl describe node", node),
        weight="fault" if since_s > _PULLS_AT_MOST_S else "wait",
    )


def set_adapter(case: Case, adapter: str, *change: str) -> Command:
    """The command that changes an adapter."""
    return Command("kaitoctl set-adapter", case.name, *case.in_namespace, "--name", adapter, *change)


class _Pull(Struct, frozen=True):
    """An image that cannot be had.

    Args:
        case: what was seen.
        pod: the one that needs it.
        item: the status of its container.
        reason: why the container waits.
        image: the name.
        evidence: what is said of it.
        words: the evidence without the image's name: what stands in that is no answer of its registry.
        adapter: the adapter that the image is, if it is one.
    """

    case: Case
    pod: Object
    item: Object
    reason: str
    image: str
    evidence: list[tuple[str, str]]
    words: str
    adapter: str

    def blamed(self, code: str, message: str, hint: Advice, command: Command) -> Cause:
        about = f"{title_of(self.pod)}, container {self.item['name']}"
        return blame(code, about, message, self.evidence, hint=hint, command=command)

    @property
    def asked(self) -> Asked:
        """Whom the node asked last: an event says it, a back-off does not."""
        from kaitoctl.kaito.diagnosis import of_registries  # most images can be pulled

        return of_registries.asked_for(
            self.image, [text for _, text in (*self.evidence[1:], *self.evidence[:1])]
        )

    @property
    def of(self) -> str:
        return f" of adapter {self.adapter}" if self.adapter else ""

    @property
    def describe(self) -> Command:
        return kubectl_hints.describe(self.pod)

    @property
    def another_image(self) -> Command:
        """The command that names another image."""
        if self.adapter:
            return set_adapter(self.case, self.adapter, "--image", "IMAGE:TAG")
        return Command("kubectl edit workspace", self.case.name, *self.case.in_namespace)


def _pull_failure(case: Case, pod: Object, item: Object, reason: str) -> Cause:
    name, image = str(item["name"]), str(item.get("image") or _image_of(pod, str(item["name"])))
    evidence = [
        (f"container {name}", f"{reason}: {dig(item, 'state', 'waiting', 'message') or ''}".rstrip(": "))
    ]
    evidence += [
        event_words(event)
        for event in case.seen.events_of(pod)
        if event.get("reason") in ("Failed", "FailedToRetrieveImagePullSecret")
        and (image in str(event.get("message")) or "Secret" in str(event.get("reason")))
    ][:2]
    words = " ".join(text for _, text in evidence).replace(image or "\n", "IMAGE")
    pull = _Pull(case, pod, item, reason, image, evidence, words, adapter_of(case, name))
    return next(cause for rule in _PULL_RULES if (cause := rule(pull)) is not None)


def _of_its_name(pull: _Pull) -> Cause | None:
    if pull.reason != "InvalidImageName":
        return None
    message = f"{pull.image} cannot be read as an image's name"
    return pull.blamed(
        "image-name-invalid", message, "write it as REGISTRY/REPOSITORY:TAG", pull.another_image
    )


def _of_its_platform(pull: _Pull) -> Cause | None:
    if re.search(WRONG_PLATFORM, pull.words) is None:
        return None
    return wrong_platform(pull.case, pull.pod, str(pull.item["name"]), pull.image, pull.evidence)


# Source: containerd 2.1 core/content, core/images; Kubernetes v1.37.2 pkg/kubelet/images/types.go.
_DAMAGED = (
    r"blob sha256:\w{1,64} expected at|content digest sha256:\w{1,64}: not found|"
    r"snapshot \S{1,200} does not exist|extraction snapshot .{0,120}no such file"
)
_OF_OTHERS = r"is present with pull policy of Never"  # from 1.33 on: KubeletEnsureSecretPulledImages
_SHORT_NAME = r"short-name|unqualified-search|did not resolve to an alias"  # CRI-O, containers/image 5
_NO_LAYER = r"/blobs/sha256:\w{1,64}:? (?:not found|404\b)|blob unknown"


def _of_the_node(pull: _Pull) -> Cause | None:
    """What the registry has nothing to do with."""
    node = str(dig(pull.pod, "spec", "nodeName") or "")
    look = Command("kubectl describe node", node) if node else pull.describe
    if re.search(NO_RUNTIME[0], pull.words):
        message = (
            f"the container runtime of node {node} does not answer its kubelet, which is to have {pull.image}"
        )
        return pull.blamed("image-pull-failed", message, NO_RUNTIME[1], look)
    if pull.reason == "ErrImageNeverPull" and re.search(_OF_OTHERS, pull.words):
        message = f"{pull.image} is on node {node} for those who have the credentials that it was pulled with"
        hint = "give the pod that pull secret, or set imagePullPolicy IfNotPresent"
        return pull.blamed("image-unauthorized", message, hint, pull.describe)
    if pull.reason == "ErrImageNeverPull":
        message = f"image {pull.image} is not on the node, and imagePullPolicy Never forbids to pull it"
        hint = "load the image onto the node, or set imagePullPolicy IfNotPresent"
        return pull.blamed("image-pull-failed", message, hint, pull.describe)
    if pull.reason == "SignatureValidationFailed":
        message = f"the node does not trust the signature of {pull.image}"
        hint = "sign the image, or change the signature policy of the node's container runtime"
        return pull.blamed("image-pull-failed", message, hint, pull.describe)
    if re.search(_NO_SPACE, pull.words):
        message = f"the disk of node {node} is full: the image{pull.of}, {pull.image}, does not fit"
        return pull.blamed(
            "disk-full", message, "take nodes with a larger disk, or check what else fills it", look
        )
    if re.search(_READ_ONLY, pull.words):
        message = f"the disk of node {node} is read-only: the image{pull.of}, {pull.image}, cannot be stored"
        return pull.blamed("image-pull-failed", message, "take another node, and repair or replace it", look)
    is_unreadable = pull.reason == "ImageInspectError" and not re.search(_SHORT_NAME, pull.words)
    if is_unreadable or re.search(_DAMAGED, pull.words):
        message = f"what node {node} has stored of the image{pull.of}, {pull.image}, is damaged"
        hint = (
            "check the node's disk; on the node, `crictl rmi IMAGE` takes it off, so that it is pulled again"
        )
        return pull.blamed("image-pull-failed", message, hint, look)
    return None


# Source: Azure Container Registry's answers to who comes from an address that it does not know.
_ADDRESS = r"(?i)client with IP '?(?P<ip>[\w.:]{2,45})'? is not allowed|public network access .{0,40}disabled"


def _of_its_secrets(pull: _Pull) -> Cause | None:
    if re.search(UNAUTHORIZED, pull.words) is None:
        return None
    from kaitoctl.kaito.diagnosis import of_registries  # most images can be pulled

    case, asked = pull.case, pull.asked
    registry = asked.registry
    if found := re.search(_ADDRESS, pull.words):
        whose = f"the address {found['ip']}" if found["ip"] else "the public network"
        to_whom = f"to the nodes: they come from {whose}"
        message = f"the firewall of {asked.words} refuses {pull.image}{pull.of} {to_whom}"
        hint: Advice = (
            "let the nodes' addresses through, or give them a private endpoint; no pull secret helps"
        )
        return pull.blamed("image-unauthorized", message, hint, pull.describe)
    if not asked.takes_secrets:
        message = f"{asked.words} denies access to the image{pull.of}, {pull.image}"
        return pull.blamed("image-unauthorized", message, asked.denial, pull.describe)
    by_identity = of_registries.by_identity(registry)
    or_by_identity = f"; or {by_identity}" if by_identity else ""
    secrets = sorted({ref.name for ref in pod_state.references(pull.pod) if ref.use == "pull"})
    if gone := [secret for secret in secrets if Named("Secret", secret) in case.seen.missing]:
        pull.evidence.append(("cluster", f"there is no Secret {gone[0]} in this namespace"))
        message = (
            f"pull secret {gone[0]} does not exist, and {registry} requires credentials for {pull.image}"
        )
        create = of_registries.for_registry(case, gone[0], registry)
        return pull.blamed("pull-secret-missing", message, f"create it{or_by_identity}", create)
    message = f"{registry} denies access to the image{pull.of}, {pull.image}"
    pull.evidence.append(("pod", f"its pull secrets: {', '.join(secrets) or 'none'}"))
    if secrets:
        hint = f"check whether Secret {secrets[0]} has valid credentials for {registry}{or_by_identity}"
        command = Command("kubectl get secret", secrets[0], *case.in_namespace)
        return pull.blamed("image-unauthorized", message, hint, command)
    create = of_registries.for_registry(case, "NAME", registry)
    if pull.adapter:
        hint = "create a pull secret and give it to the adapter: " + create
        command = set_adapter(case, pull.adapter, "--image-pull-secret", "NAME")
        return pull.blamed("image-unauthorized", message, hint, command)
    hint = "create a pull secret and name it in the Workspace"
    hint = f"{by_identity}; or {hint}" if by_identity else hint
    return pull.blamed("image-unauthorized", message, hint, create)


def _of_its_registry(pull: _Pull) -> Cause | None:
    from kaitoctl.kaito.diagnosis import of_registries  # most images can be pulled

    found = of_registries.answer(pull.asked, pull.reason, pull.words, pull.image)
    if found is None:
        return None
    return pull.blamed("registry-unreachable", found[0], found[1], pull.describe)


def _of_its_absence(pull: _Pull) -> Cause | None:
    if re.search(NO_IMAGE, pull.words) is None:
        return None
    code = "adapter-image-bad" if pull.adapter else "image-not-found"
    if re.search(_NO_LAYER, pull.words):
        message = f"the registry names image {pull.image}{pull.of}, and does not have all of its layers"
        return pull.blamed(code, message, "push it again: a clean-up has removed a part of it", pull.describe)
    hint = f"correct the image{pull.of}, or push it"
    return pull.blamed(code, f"there is no image {pull.image}{pull.of}", hint, pull.another_image)


def _of_what_is_said(pull: _Pull) -> Cause:
    code, said = "adapter-image-bad" if pull.adapter else "image-pull-failed", _failure_words(pull)
    hint = next((what for pattern, what in _PULL_HINTS if re.search(pattern, said)), _SEE)
    message = f"the image{pull.of}, {pull.image}, cannot be pulled: {said}"
    if said in ("ErrImagePull", "ImagePullBackOff"):
        message = f"the image{pull.of}, {pull.image}, cannot be pulled, and nothing says why any more"
        hint = "its events have expired, or may not be read: see those of the next try, some minutes from now"
    return pull.blamed(code, message, hint, pull.describe)


_PULL_RULES: tuple[Callable[[_Pull], Cause | None], ...] = (
    *(_of_its_name, _of_its_platform, _of_the_node, _of_its_secrets, _of_its_registry, _of_its_absence),
    _of_what_is_said,
)
"""The first that applies; the last one always does."""


_SEE = "check the message"
# Source: containerd 2.1 core/content, core/remotes/docker, core/unpack; distribution 3; Kubernetes v1.37.2
# pkg/kubelet/images.
_PULL_HINTS = (
    (
        r"(?i)credential provider|credentialprovider",
        "the kubelet's credential provider fails on the node: check its log there, and the node's identity "
        "in the cloud",
    ),
    (
        r"(?i)pull QPS exceeded",
        "the kubelet holds its own pulls back (registryPullQPS, registryBurst), and tries again",
    ),
    (r"(?i)payment required", "the registry's account is not paid, or over its plan: ask its owner"),
    # Source: goharbor/harbor src/server/middleware/{vulnerable,contenttrust}, PROJECTPOLICYVIOLATION.
    (
        r"(?i)\b412 Precondition|PROJECTPOLICYVIOLATION|current image .{0,40}vulnerab",
        "a policy of the registry withholds it: it is not scanned, not signed, or has vulnerabilities",
    ),
    (_SHORT_NAME, "write the image with its registry: docker.io/OWNER/NAME:TAG"),
    (
        r"(?i)unexpected commit digest|digest mismatch|failed precondition|size validation failed|"
        r"unexpected EOF",
        "what came is not what the registry promised: a proxy or mirror between breaks it",
    ),
    (
        r"(?i)context canceled|deadline exceeded",
        "the pull was aborted, usually by a runtime that restarts or gives up on a large image",
    ),
    (
        r"(?i)media ?type|schema ?1|not an image|layers and diffIDs don't match|"
        r"no children for manifest|config\.mediaType",
        "it is not an image that a node can run (an artifact, or of a format that is no longer read)",
    ),
    (
        r"(?i)invalid reference format|could not parse reference|unsupported digest algorithm|"
        r"invalid checksum digest",
        "it is not the name of an image: write it as REGISTRY/REPOSITORY:TAG, in lower case",
    ),
    (
        r"(?i)mismatched image rootfs|failed to extract layer|Lchown|apply layer|unpack image on snapshotter",
        "the image cannot be unpacked on the node: build it again, and check the container runtime's log",
    ),
    (r"(?i)tls: |remote error|broken pipe", "the connection to the registry broke: see proxies between"),
    (r"(?i)signature|policy", "the node's policy requires a signature that the image does not have"),
)


def _failure_words(pull: _Pull) -> str:
    """The most telling words about a failed pull: an event's, for a back-off says nothing."""
    of_pull = (text for source, text in pull.evidence[1:] if source.startswith("event Failed"))
    waiting = dig(pull.item, "state", "waiting") or {}
    return next(of_pull, str(waiting.get("message") or waiting.get("reason")))


def wrong_platform(case: Case, pod: Object, name: str, image: str, evidence: list[tuple[str, str]]) -> Cause:
    """The image is there, for machines of another kind."""
    adapter = adapter_of(case, name)
    of = f" of adapter {adapter}" if adapter else ""
    return blame(
        "image-wrong-platform",
        f"{title_of(pod)}, container {name}",
        f"the image{of}, {image}, exists for another CPU architecture or operating system than the node's",
        evidence,
        hint="build it for linux/amd64 (docker build --platform linux/amd64), and push it",
        command=set_adapter(case, adapter, "--image", "IMAGE:TAG")
        if adapter
        else kubectl_hints.describe(pod),
    )


def _image_of(pod: Object, name: str) -> str:
    return next(
        (str(spec.get("image")) for spec in pod_state.container_specs(pod) if spec.get("name") == name), ""
    )
