"""What is wrong with a set, a MultiRoleInference or a ModelMirror: schema, KAITO's rules, what nobody reads.

KAITO's webhook makes the Workspace that a set would make, and asks its checks for a new Workspace; so does
this, by the same rules as for Workspaces, with the paths of the set.

Source: KAITO v0.12.0, `api/v1beta1/inferenceset_validation.go`,
`api/v1alpha1/multiroleinference_validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kaitoctl.kaito import api, validation
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.fleet.mirror_validation import mirror_problems
from kaitoctl.kaito.fleet.replicas import free_names, workspace_of
from kaitoctl.kaito.fleet.roles import sets_of
from kaitoctl.kaito.fleet.roles_validation import roles_problems
from kaitoctl.kaito.fleet.set_validation import set_problems
from kaitoctl.kaito.validation import OWN, Problem, Setting, object_meta
from kaitoctl.kaito.validation.create import annotation_key_faults, label_faults
from kaitoctl.kaito.validation.grammar import is_dns_label, is_dns_name
from kaitoctl.kaito.validation.judgement import MOST_PROBLEMS
from kaitoctl.kaito.validation.outcomes import is_of_status
from kaitoctl.kaito.validation.problem import as_map, as_text, error, refusal, warning
from kaitoctl.kube.objects import Object, dig

_GATES = {
    api.INFERENCE_SET.kind: "enableInferenceSetController",
    api.MULTI_ROLE_INFERENCE.kind: "enableMultiRoleInferenceController",
    api.MODEL_MIRROR.kind: "ModelMirror",
}
_DECODED = ("KW105",)  # of the set itself, by its webhook
_OF_SERVER = ("KW113",)  # by the API server, when the Workspace is made
_OF_SETS = ("KW138", "KW139")  # whether there is an instance type: the set has a rule of its own (KW302)
_WITHOUT_SETS = ("v0.3", "v0.4", "v0.4.6")


def judge(fleet: Object, setting: Setting | None = None, *, old: Object | None = None) -> list[Problem]:
    """Everything that is wrong with a fleet: its schema's view first, then the rules'.

    Args:
        fleet: an InferenceSet, a MultiRoleInference or a ModelMirror, defaults filled in or not.
        setting: where it is to live; by default KAITO v0.12.
        old: what it is to replace, None when it is to be created.

    Guarantee: never raises, whatever JSON the objects are made of; at most a hundred and one problems.
    """
    from kaitoctl.kube import schema

    setting = setting or Setting()
    if setting.target is None:
        setting = replace(setting, target="v0.12")
    fleet, found = as_map(fleet), list[Problem]()
    kind, version = as_text(fleet.get("kind")), as_text(fleet.get("apiVersion")).rpartition("/")[2]
    if version in kinds.VERSIONS.get(kind, ()):
        known = kinds.schema_of(kind, version)
        fleet = schema.without_nulls(fleet, known)
        for problem in schema.problems(fleet, known, unknown="error", most=MOST_PROBLEMS):
            code = "KW102" if problem.rule == "unknown" else "KW101"
            if code == "KW101" and is_of_status(problem.path):
                hint = "leave status out: it is dropped, and a server-side apply may refuse it"
                found.append(replace(warning(problem.path, "KW101", problem.message, hint), kaito="ignores"))
            else:
                found.append(refusal(problem.path, code, problem.message))
    served = [*object_meta.problems(fleet.get("metadata")), *_decoded(fleet, setting)]
    found += [replace(problem, kaito=problem.kaito or "refuses") for problem in served]
    said = {problem.path for problem in found}
    below = tuple(path + mark for path in said if path for mark in ".[")
    rules = list(_identity(fleet, setting))
    if not any(problem.path == "kind" and problem.kaito == "refuses" for problem in rules):
        rules += _of_kind(fleet, setting, None if old is None else as_map(old))
    found += [item for item in rules if item.path not in said and not item.path.startswith(below)]
    found = list(dict.fromkeys(found))
    if len(found) > MOST_PROBLEMS:
        del found[MOST_PROBLEMS:]
        found.append(error("", "KW104", f"more than {MOST_PROBLEMS} problems"))
    if setting.target == OWN:
        return [replace(problem, kaito="") for problem in found]
    return found


def _identity(fleet: Object, setting: Setting) -> Iterator[Problem]:
    kind, version = as_text(fleet.get("kind")), as_text(fleet.get("apiVersion"))
    known = [f"{api.GROUP}/{name}" for name in kinds.VERSIONS.get(kind, ())]
    target, gate = setting.target_of(fleet), _GATES.get(kind, "")
    is_mirror = kind == api.MODEL_MIRROR.kind
    if version not in known:
        yield refusal("apiVersion", "KW300", f"{version[:80]!r} is not one of {' and '.join(known)}")
    elif is_mirror and target != OWN and not _has_mirrors(fleet, setting):
        yield refusal("kind", "KW300", f"KAITO {target} has no {kind}", "it came with KAITO v0.11")
    elif target in _WITHOUT_SETS:
        yield refusal("kind", "KW300", f"KAITO {target} has no {kind}", "it came with KAITO v0.8")
    elif target == "v0.9" and (version.endswith("v1beta1") or kind == api.MULTI_ROLE_INFERENCE.kind):
        yield refusal("apiVersion", "KW300", f"KAITO v0.9 does not serve {kind} in {version}")
    elif target == OWN and kind in (api.MULTI_ROLE_INFERENCE.kind, api.MODEL_MIRROR.kind):
        yield warning("kind", "KW300", f"kaitoctl's own controller makes nothing of a {kind}")
    elif target != OWN and _is_off(target, kind, gate, setting):
        message = f"KAITO {target} makes nothing of it unless the gate {gate} is on"
        yield replace(warning("kind", "KW300", message), kaito="ignores")
    name = as_map(fleet.get("metadata")).get("name")
    if name is None or name == "":
        yield refusal("metadata.name", "KW301", f"the {kind} has no name")
    elif is_mirror and isinstance(name, str):
        if not is_dns_name(name):
            yield refusal("metadata.name", "KW301", f"{name[:80]!r} is not a DNS name")
    elif isinstance(name, str) and not is_dns_label(name):
        hint = "use at most 63 lower-case letters, digits and hyphens"
        yield refusal("metadata.name", "KW301", f"{name[:80]!r} is not a DNS label", hint)


def _decoded(fleet: Object, setting: Setting) -> Iterator[Problem]:
    """What the API server refuses of metadata, and the webhook of what the schema lets through."""
    metadata = as_map(fleet.get("metadata"))
    namespace = metadata.get("namespace")
    if isinstance(namespace, str) and namespace and not is_dns_label(namespace):
        yield error("metadata.namespace", "KW112", f"{namespace[:80]!r} is not a namespace's name")
    yield from label_faults("metadata.labels", metadata.get("labels"))
    yield from annotation_key_faults(as_map(metadata.get("annotations")))
    if not kinds.is_set(fleet) or setting.target == OWN:
        return
    from kaitoctl.kaito.validation import pod_keys

    release = setting.release_of(fleet)
    api_types = release.pod_types if release else ""
    strategy, template = (dig(fleet, "spec", key) for key in ("updateStrategy", "template"))
    yield from pod_keys.problems("spec.updateStrategy", strategy, "StatefulSetUpdateStrategy", api_types)
    if isinstance(template, dict):
        yield from pod_keys.problems(
            "spec.template.metadata", template.get("metadata"), "ObjectMeta", api_types
        )


def _has_mirrors(mirror: Object, setting: Setting) -> bool:
    release = setting.release_of(mirror)
    return release is not None and release.since >= (0, 11, 0)


def _is_off(target: str, kind: str, gate: str, setting: Setting) -> bool:
    if gate in setting.gates_off:
        return True
    is_default = kind == api.INFERENCE_SET.kind and target == "v0.12"
    return not is_default and gate not in (setting.gates or ())


def _of_kind(fleet: Object, setting: Setting, old: Object | None) -> Iterator[Problem]:
    if kinds.is_mirror(fleet):
        yield from mirror_problems(fleet, old)
    elif kinds.is_multi_role(fleet):
        yield from roles_problems(fleet, setting, old)
        is_named = bool(dig(fleet, "spec", "model", "name"))
        for index, made in enumerate(sets_of(fleet) if is_named else ()):
            for problem in _of_replica(made, setting):
                if path := _path_in_roles(problem.path, index):
                    is_refused = problem.kaito == "refuses"  # as a Workspace, and not as a MultiRoleInference
                    yield replace(problem, path=path, kaito="never-ready" if is_refused else problem.kaito)
    else:
        yield from set_problems(fleet, setting, old)
        yield from _of_replica(fleet, setting)


def _of_replica(inference_set: Object, setting: Setting) -> Iterator[Problem]:
    """What the rules for a new Workspace say of the one that the set would make, by the set's own fields."""
    metadata = as_map(inference_set.get("metadata"))
    if not is_dns_label(as_text(metadata.get("name"))):
        return
    if not isinstance(as_map(as_map(inference_set.get("spec")).get("template")).get("inference"), dict):
        return  # the schema says so
    provisioner = setting.provisioner or ("byo" if setting.byo else "")
    named = next(free_names({**inference_set, "metadata": {**metadata, "uid": ""}}, ()))
    child = workspace_of(inference_set, named, provisioner=provisioner)
    release = setting.release_of(inference_set)
    # v0.12.0 asks the checks of Workspaces for the one that a set would make, and only in this version.
    is_asked = release is not None and release.has_checked_sets
    is_asked = is_asked and inference_set.get("apiVersion") == api.INFERENCE_SET.api_version
    for problem in validation.problems(child, setting):
        path = "" if problem.code in _OF_SETS else _path_in_set(problem.path)
        if path:
            is_late = problem.kaito == "refuses" and problem.code not in _DECODED
            is_late = is_late and (not is_asked or problem.code in _OF_SERVER)
            yield replace(problem, path=path, kaito="never-ready" if is_late else problem.kaito)


def _path_in_set(path: str) -> str:
    """Where the set has what a Workspace has at a path; empty when it is not the user's."""
    if path.startswith("resource.labelSelector"):
        return path.replace("resource.", "spec.", 1)
    if path.startswith(("resource", "inference")):
        return f"spec.template.{path}"
    if path.startswith(("metadata.annotations", "metadata.labels")):
        return "" if api.LABEL_CREATED_BY_SET in path else f"spec.template.{path}"
    return path if path == "metadata.name" else ""


def _path_in_roles(path: str, index: int) -> str:
    """Where a MultiRoleInference has what its set has at a path; empty when it is not the user's."""
    preset = "spec.template.inference.preset"
    if path.startswith(f"{preset}.presetOptions.modelAccessSecret"):
        return "spec.model.modelAccessSecret"
    if path.startswith(preset):
        return "spec.model.name"
    if path.startswith("spec.template.inference.config"):
        return f"spec.roles[{index}].runtimeConfig"
    if path.startswith("spec.template.metadata.annotations"):
        return path.removeprefix("spec.template.")
    return path if path.startswith(("spec.labelSelector", "metadata.name")) else ""
