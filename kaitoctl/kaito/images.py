"""What a cluster without a way to the Internet has to be given: images and models of what is made. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from kaitoctl.errors import InputError
from kaitoctl.kaito.validation import image_fault
from kaitoctl.kube.objects import Object, copy_of, dig

_DOCKER_HUB = "docker.io"

ChosenBy = Literal["registry", "workspace", "controller"]


class Image(Struct, frozen=True):
    """An image that pods will pull.

    Args:
        name: as the pod names it.
        chosen_by: who writes its name: the `registry` that the controller is given, the `workspace`, or the
            `controller` by itself.
        users: who needs it: Workspaces, each once.
    """

    name: str
    chosen_by: ChosenBy
    users: tuple[str, ...]

    def copied_to(self, registry: str) -> str:
        """Where a copy of it goes; a preset's image keeps its last part alone, any other its whole path."""
        path = self.name.rpartition("/")[2] if self.chosen_by == "registry" else _path(self.name)
        return f"{registry.rstrip('/')}/{path}"


def named_by(workspace: Object) -> Iterator[str]:
    """The images that a Workspace names: of adapters, of tuning data, of its own pod template."""
    for adapter in dig(workspace, "inference", "adapters") or ():
        if image := dig(adapter, "source", "image"):
            yield str(image)
    for source in (dig(workspace, "tuning", "input"), dig(workspace, "inference", "preset", "presetOptions")):
        if image := dig(source or {}, "image"):
            yield str(image)
    template = dig(workspace, "inference", "template")
    if template is not None:
        yield from images_of([{"spec": {"template": template}}])


def insist_on_registry(text: str | None, *, option: str = "--registry") -> None:
    """Refuse what images cannot be taken from.

    Raises:
        InputError: it is neither HOST nor HOST/PATH.
    """
    if text is not None and (not text.strip("/") or image_fault(f"{text.rstrip('/')}/image:1")):
        hint = "use HOST or HOST/PATH, as registry.example/kaito"
        raise InputError(f"{option} names no registry: {text[:80]!r}", hint=hint)


def with_mirrored_images(workspace: Object, registry: str) -> Object:
    """The same with the copies in a registry in the place of the images that it names; see `Image.copied_to`.

    What is in that registry already stays, and so does the image that tuning pushes.

    Args:
        workspace: or the template of an InferenceSet's replicas.
        registry: such as `registry.example/kaito`.
    """
    prefix = registry.rstrip("/") + "/"

    def copied(holder: Object, key: str = "image") -> None:
        name = holder.get(key)
        if isinstance(name, str) and name and not name.startswith(prefix):
            holder[key] = Image(name, "workspace", ()).copied_to(registry)

    made = copy_of(workspace)
    for adapter in dig(made, "inference", "adapters") or ():
        copied(dig(adapter, "source") or {})
    copied(dig(made, "tuning", "input") or {})
    copied(dig(made, "inference", "preset", "presetOptions") or {})
    pod = dig(made, "inference", "template", "spec") or {}
    for part in ("initContainers", "containers"):
        for container in pod.get(part) or ():
            copied(container)
    for volume in pod.get("volumes") or ():
        copied(volume.get("image") or {}, "reference")
    return made


def needed_by(workspace: Object, objects: Iterable[Object], registry: str) -> Iterator[tuple[str, ChosenBy]]:
    """The images that a Workspace's pods pull, and who chooses each.

    KAITO v0.12 fetches adapters with a program of its own, so that no container has their images.

    Args:
        workspace: with its defaults.
        objects: that the controller makes of it.
        registry: of preset images, as the controller is configured.
    """
    named = set(named_by(workspace))
    yield from ((image, "workspace") for image in sorted(named))
    for image in images_of(objects):
        if image not in named:
            yield image, "registry" if image.startswith(registry.rstrip("/") + "/") else "controller"


def images_of(objects: Iterable[Object]) -> Iterator[str]:
    """The images of the containers of every workload, init containers and image volumes included."""
    for obj in objects:
        pod = dig(obj, "spec", "template", "spec") or {}
        for part in ("initContainers", "containers"):
            yield from (str(item["image"]) for item in pod.get(part) or () if item.get("image"))
        for volume in pod.get("volumes") or ():
            if reference := dig(volume, "image", "reference"):
                yield str(reference)


def source(image: str) -> str:
    """The image with its registry, as `skopeo` wants it; Docker Hub is meant where none is named."""
    if _has_host(image):
        return image
    return f"{_DOCKER_HUB}/{image if '/' in image else 'library/' + image}"


def _path(image: str) -> str:
    return image.partition("/")[2] if _has_host(image) else image


def _has_host(image: str) -> bool:
    """Whether the first part is a registry: Docker's rule, a dot, a colon or `localhost`."""
    first, slash, _ = image.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
