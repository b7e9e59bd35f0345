"""The Secrets and PersistentVolumeClaims that a Workspace names, and what is wrong with those of a cluster.

ConfigMaps are in `config_maps`, which looks into them. A Secret's values are never read, only its keys.

Source: KAITO v0.12.0 `presets/workspace/models/vllm_model.go` (HF_TOKEN), `pkg/workspace/manifests`;
Kubernetes v1.37 `pkg/credentialprovider/secrets` (the types of pull secrets).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.kubectl_hints import HUB_KEY
from kaitoctl.kaito.validation.problem import Problem, as_list, as_map, as_text, error, warning
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import Object, ObjectKey, dig

SECRET, CLAIM = "Secret", "PersistentVolumeClaim"
_LOGIN, _OLD_LOGIN = ".dockerconfigjson", ".dockercfg"


class Reference(NamedTuple):
    """An object that a Workspace names: its kind and name, where it does, and the key that is read of it."""

    kind: str
    name: str
    path: str
    key: str = ""


def references(workspace: Mapping[str, Any]) -> list[Reference]:
    """What a Workspace names, in the order of its fields; names of a wrong type are left out."""
    return [item for item in _references(workspace) if item.name and len(item.name) <= 253]


def _references(workspace: Mapping[str, Any]) -> Iterator[Reference]:
    for part in ("inference", "tuning"):
        section = as_map(workspace.get(part))
        options = as_map(dig(section, "preset", "presetOptions"))
        where = f"{part}.preset.presetOptions"
        yield Reference(
            SECRET, as_text(options.get("modelAccessSecret")), f"{where}.modelAccessSecret", HUB_KEY
        )
        yield from _logins(f"{where}.imagePullSecrets", options.get("imagePullSecrets"))
        for index, adapter in enumerate(as_list(section.get("adapters"))):
            source = as_map(as_map(adapter).get("source"))
            yield from _of_source(f"{part}.adapters[{index}].source", source)
    for side in ("input", "output"):
        source = as_map(dig(workspace.get("tuning"), side))
        yield from _of_source(f"tuning.{side}", source)
        push = as_text(source.get("imagePushSecret"))
        yield Reference(SECRET, push, f"tuning.{side}.imagePushSecret", _LOGIN)


def _of_source(where: str, source: Mapping[str, Any]) -> Iterator[Reference]:
    yield from _logins(f"{where}.imagePullSecrets", source.get("imagePullSecrets"))
    claim = as_text(dig(source.get("volumeSource"), "persistentVolumeClaim", "claimName"))
    yield Reference(CLAIM, claim, f"{where}.volumeSource.persistentVolumeClaim.claimName")


def _logins(where: str, names: Any) -> Iterator[Reference]:
    for index, name in enumerate(as_list(names)):
        yield Reference(SECRET, as_text(name), f"{where}[{index}]", _LOGIN)


def problems(subject: Subject) -> Iterator[Problem]:
    """What is missing; nothing where the cluster was not asked, or did not tell."""
    known = subject.setting.named
    if known is None:
        return
    for item in references(subject.workspace):
        place = subject.config_map_key(item.name)
        if (item.kind, place) not in known:
            continue  # it may not be read
        found = known[item.kind, place]
        if found is None:
            yield _missing(item, place)
        elif item.kind == SECRET and not _has(found, item.key):
            message = f"Secret {place} has no key {item.key}"
            hint = kubectl_hints.put_into_secret(place.name, place.namespace, item.key)
            yield error(item.path, "KW187", message, hint if item.key == HUB_KEY else "")


def _missing(item: Reference, place: ObjectKey) -> Problem:
    code = "KW188" if item.kind == CLAIM else "KW186"
    is_pull = item.path.rpartition("[")[0].endswith("imagePullSecrets")
    # A public image is pulled without its Secret.
    finding = warning if is_pull else error
    return finding(item.path, code, f"there is no {item.kind} {place}")


def _has(secret: Object, key: str) -> bool:
    keys = as_map(secret.get("data")).keys()
    return key in keys or (key == _LOGIN and _OLD_LOGIN in keys)
