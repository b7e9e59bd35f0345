"""KAITO's pods, where they do the same as ours would: they are left as they are, so that none restarts.

What KAITO has made differs in bytes from what we make: flags in the order of the moment, volumes in another
order, a token of the API. None of it is worth a model that is away while it loads. Such a workload keeps its
pod template, and a note says so, for as long as the Workspace asks for what these pods do; with the next
change of that it gets ours.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from msgspec.structs import replace

from kaitoctl.kube.objects import STATEFUL_SET, Object, annotations_of, dig
from kaitoctl.reconcile.planner import Child
from kaitoctl.workspace_controller.take_over import is_ours

ADOPTED = "kaitoctl.dev/adopted-template"
_NO_ADAPTERS = "--enable-lora"  # without any, it does nothing: KAITO never takes it away


def with_adopted_template(wanted: Object, live: Object | None) -> Object:
    """The workload as wanted, with KAITO's pod template where that does the same.

    Args:
        wanted: a workload as we make it.
        live: the one that there is; None for none.
    """
    if live is None or (is_ours(live) and ADOPTED not in annotations_of(live)):
        return wanted
    template = dig(live, "spec", "template") or {}
    asked, does = _does(dig(wanted, "spec", "template") or {}, wanted), _does(template, live)
    if _NO_ADAPTERS in str(does["command"]) and _NO_ADAPTERS not in str(asked["command"]):
        does["command"] = [[word for word in line if word != _NO_ADAPTERS] for line in does["command"]]
    if asked != does or not _brings_the_same(wanted, live):
        return wanted
    metadata = wanted["metadata"]
    notes = {**annotations_of(wanted), ADOPTED: "true"}
    kept = {key: value for key, value in (template.get("metadata") or {}).items() if value is not None}
    return {
        **wanted,
        "metadata": {**metadata, "annotations": notes},
        "spec": {**wanted["spec"], "template": {**template, "metadata": kept}},
    }


def adopted_child(child: Child, workload: Object | None) -> Child:
    """The child as it is, or, if it is the workload, with the template of `with_adopted_template`."""
    if child.kind != STATEFUL_SET or workload is None or "serviceName" not in (workload.get("spec") or {}):
        return child
    return replace(child, manifest=with_adopted_template(child.manifest, workload))


_GOES_ON = re.compile(r"[\w.:/@-]")  # the name of an image, and of a file


def _brings_the_same(wanted: Object, live: Object) -> bool:
    """Whether KAITO's init containers fetch what ours would: theirs name it in their script."""
    asked, there = (
        {item["name"]: item for item in dig(one, "spec", "template", "spec", "initContainers") or ()}
        for one in (wanted, live)
    )
    for name, item in asked.items():
        line = " ".join([*(there[name].get("command") or ()), *(there[name].get("args") or ())])
        (*sources, _) = item.get("args") or [""]
        behind = (line.split(one)[1:] for one in sources if one)
        if not all(any(not _GOES_ON.match(rest) for rest in several) for several in behind):
            return False
    return True


def _does(template: Object, workload: Object) -> Any:
    """What the pods of a template do, whatever order it is written in."""
    pod = template.get("spec") or {}
    main, *others = pod.get("containers") or [{}]
    claims = {item["metadata"]["name"] for item in dig(workload, "spec", "volumeClaimTemplates") or ()}
    volumes = [_volume(item) for item in pod.get("volumes") or () if item["name"] not in claims]
    return {
        "labels": dig(template, "metadata", "labels"),
        "image": main.get("image"),
        "command": _line(main.get("command") or []),
        "arguments": main.get("args") or [],
        "devices": dig(main, "resources", "limits"),
        "env": _set({**item, "valueFrom": _reference(item)} for item in main.get("env") or ()),
        "mounts": sorted((item["name"], item["mountPath"]) for item in main.get("volumeMounts") or ()),
        "volumes": sorted([*((name, "") for name in claims), *volumes]),
        "probes": {name: _probe(main.get(f"{name}Probe")) for name in ("startup", "liveness", "readiness")},
        "others": [(item["name"], item.get("image")) for item in others],
        "inits": [(item["name"], item.get("image")) for item in pod.get("initContainers") or ()],
        "secrets": sorted(item["name"] for item in pod.get("imagePullSecrets") or ()),
        "tolerations": _set(pod.get("tolerations") or ()),
        "nodes": [_set(term.get("matchExpressions") or ()) for term in _terms(pod)],
    }


def _line(command: list[str]) -> list[list[str]]:
    """The words of a shell line, command by command: KAITO writes flags in the order of a Go map."""
    if command[:2] != ["/bin/sh", "-c"]:
        return [command]
    try:
        return [sorted(shlex.split(part)) for part in " ".join(command[2:]).split(";")]
    except ValueError:
        return [command]


def _volume(item: Object) -> tuple[str, str]:
    """Its name, and what is in it, without what an API server fills in."""
    source: Object = next((value for key, value in item.items() if key != "name" and value), {})
    names = [source.get(key) for key in ("name", "secretName", "claimName", "path", "medium")]
    names += sorted(dig(one, "secret", "name") or "" for one in source.get("sources") or ())
    return item["name"], " ".join(map(str, filter(None, names)))


def _reference(item: Object) -> Object | None:
    """Where a variable comes from, without what an API server fills in."""
    found = item.get("valueFrom")
    if not found:
        return None
    return {
        kind: {key: value for key, value in below.items() if key != "apiVersion"}
        for kind, below in found.items()
    }


def _probe(probe: Object | None) -> Any:
    ask = dig(probe, "httpGet") or {}
    return _line(dig(probe, "exec", "command") or []), ask.get("path"), ask.get("port")


def _terms(pod: Object) -> list[Object]:
    way = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    return list(dig(pod, *way) or ())


def _set(items: Any) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)
