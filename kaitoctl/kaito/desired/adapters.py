"""How adapters reach the model server."""

from __future__ import annotations

from collections.abc import Iterable

from kaitoctl.kaito.desired.children import COPY_DATA, NO_NEW_PRIVILEGES, literal
from kaitoctl.kaito.desired.volumes import ADAPTER_PATH, ADAPTER_VOLUME
from kaitoctl.kaito.settings import Settings
from kaitoctl.kube.objects import Object, dig


def strength_of(adapter: Object) -> str:
    """The adapter's strength as written; KAITO's controller crashes where it is absent, we take 1.0."""
    return str(adapter.get("strength") or "1.0")


def strength_variable(adapter: Object) -> Object:
    """The environment variable that tells KAITO's model servers the strength, named like the adapter."""
    return {"name": adapter_name(adapter), "value": literal(strength_of(adapter))}


def adapter_name(adapter: Object) -> str:
    """What the adapter is called, also in the model server."""
    return str(adapter["source"]["name"])


def copier(adapter: Object, mounts: list[Object]) -> Object:
    """The init container that is the adapter's image and copies its data, up to KAITO v0.4."""
    name = adapter_name(adapter)
    return {
        "name": name,
        "image": adapter["source"]["image"],
        "imagePullPolicy": "Always",
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["/bin/sh", "-c", COPY_DATA, "copy-adapter", literal(f"{ADAPTER_PATH}/{name}")],
        "volumeMounts": mounts,
    }


def pull_secrets(workspace: Object) -> list[str]:
    """The preset's and all adapters' pull secrets; KAITO drops the latter for private images."""
    options = dig(workspace, "inference", "preset", "presetOptions") or {}
    names = list(options.get("imagePullSecrets") or ())
    for adapter in dig(workspace, "inference", "adapters") or ():
        names += dig(adapter, "source", "imagePullSecrets") or ()
    return list(dict.fromkeys(names))


# --- KAITO v0.4.6 and v0.12 --------------------------------------------------------------------------------

PULLER_IMAGE = "mcr.microsoft.com/aks/skopeo:1.14.4-6"
"""Has `sh`, `skopeo` and `tar`. Source: KAITO v0.12.0 pkg/workspace/image/puller.go."""

# $1 is the image, $2 the directory that its /data becomes. Each pull secret is tried, as nobody says which
# one is for this registry; the first try does without. KAITO writes both into the text of its script.
_PULL = """\
set -eu
image=$1 folder=$2
work=$(mktemp -d)
mkdir -p "$work/root"
pull() { rm -rf "$work/image"; skopeo copy --dest-decompress "$@" "docker://$image" "dir:$work/image"; }
done=
if pull; then done=yes; fi
for file in $(find -L "$HOME/.docker/config.d" -type f 2>/dev/null); do
  if [ -z "$done" ] && pull --authfile="$file"; then done=yes; fi
done
if [ -z "$done" ]; then echo "$image could not be pulled" >&2; exit 1; fi
layers='{{ range .Layers }}{{ slice . 7 }} {{ end }}'
for layer in $(skopeo inspect --format "$layers" "dir:$work/image"); do
  tar -x -f "$work/image/$layer" -C "$work/root"
done
if [ -z "$(ls -A "$work/root/data" 2>/dev/null)" ]; then
  echo "no files in /data of this image" >&2
  exit 1
fi
mkdir -p -- "$folder"
cp -a "$work/root/data/." "$folder/"
"""


def refusal(workspace: Object, runtime: str, settings: Settings) -> str:
    """Why the adapters cannot be brought to a model server of KAITO v0.12; empty when they can.

    KAITO asks for the strength on creation alone, and admits sources of nothing, which it then never makes.
    """
    for index, adapter in enumerate(dig(workspace, "inference", "adapters") or ()):
        where, source = f"inference.adapters[{index}]", adapter.get("source") or {}
        if adapter.get("strength") is not None and runtime == "vllm":
            return f"{where}.strength: vLLM has no strength of adapters"
        if bool(source.get("image")) == bool(source.get("volumeSource")):
            return f"{where}.source: exactly one of image and volumeSource must be set"
        if volume := source.get("volumeSource"):
            from kaitoctl.kaito import custom_pod  # most bring none

            if why := custom_pod.volume_refusal(f"{where}.source.volumeSource", volume, settings):
                return why
    return ""


def add_pullers(workspace: Object, spec: Object, *, image: str = PULLER_IMAGE, always: bool = False) -> None:
    """Give the pod what brings its adapters: an init container for each image, a mount for each volume.

    Args:
        workspace: the Workspace.
        spec: of the pod, its main container first.
        image: that pulls.
        always: whether there is a volume for pull secrets although there are none, as in KAITO v0.4.6.
    """
    main = spec["containers"][0]
    entries = dig(workspace, "inference", "adapters") or ()
    pulled = [item for item in entries if not item["source"].get("volumeSource")]
    mount = {"name": ADAPTER_VOLUME, "mountPath": ADAPTER_PATH}
    if pulled:
        spec["volumes"].append({"name": ADAPTER_VOLUME, "emptyDir": {}})
        main["volumeMounts"].append(dict(mount))
    for item in pulled:
        name, names = adapter_name(item), item["source"].get("imagePullSecrets") or ()
        container = puller(item["source"]["image"], f"{ADAPTER_PATH}/{name}", mount, image)
        container["name"] += f"-{name}"
        spec.setdefault("initContainers", []).append(container)
        if names or always:
            spec["volumes"].append(with_pull_secrets(container, f"{name}-inference-adapter", names))
    for item in entries:
        name = adapter_name(item)
        if volume := item["source"].get("volumeSource"):
            spec["volumes"].append({"name": f"adapter-volume-{name}", **volume})
            main["volumeMounts"].append(
                {"name": f"adapter-volume-{name}", "mountPath": f"{ADAPTER_PATH}/{name}"}
            )
        if item.get("strength") is not None:
            main["env"].append(strength_variable(item))
    names = [name for item in entries for name in item["source"].get("imagePullSecrets") or ()]
    if names:
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(names)]


def puller(reference: str, folder: str, mount: Object, image: str = PULLER_IMAGE) -> Object:
    """The init container that fetches what is in `/data` of an image.

    Args:
        reference: of that image.
        folder: which it becomes.
        mount: of the volume that has the folder.
        image: that pulls.
    """
    return {
        "name": "puller",
        "image": image,
        "securityContext": dict(NO_NEW_PRIVILEGES),
        "command": ["/bin/sh", "-c", _PULL, "pull-adapter"],
        "args": [literal(reference), literal(folder)],
        "volumeMounts": [dict(mount)],
    }


def with_pull_secrets(container: Object, suffix: str, names: Iterable[str]) -> Object:
    """The volume with the pull secrets of a puller, which gets its mount."""
    volume = f"docker-config-{suffix}"
    container["volumeMounts"].append({"name": volume, "mountPath": f"/root/.docker/config.d/{suffix}"})
    sources = [
        {"secret": {"name": name, "items": [{"key": ".dockerconfigjson", "path": f"{name}.json"}]}}
        for name in names
    ]
    return {"name": volume, "projected": {"sources": sources}}
