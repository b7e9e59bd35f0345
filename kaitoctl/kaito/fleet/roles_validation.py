"""The rules of a MultiRoleInference: those of its schema's expressions and of its webhook."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.kaito import api
from kaitoctl.kaito.fleet.roles import ROLES, node_labels
from kaitoctl.kaito.fleet.set_validation import type_problems
from kaitoctl.kaito.validation import Problem, Setting
from kaitoctl.kaito.validation.problem import as_list, as_map, as_text, refusal, warning
from kaitoctl.kube.objects import Object, dig

_ROLES = "spec.roles"


def roles_problems(multi_role: Object, setting: Setting, old: Object | None) -> Iterator[Problem]:
    """What the rules find in a MultiRoleInference."""
    spec = as_map(multi_role.get("spec"))
    if dig(spec, "model", "name") == "":
        yield refusal("spec.model.name", "KW320", "no model is named")
    selector = spec.get("labelSelector")
    if isinstance(selector, dict) and not (selector.get("matchLabels") or selector.get("matchExpressions")):
        yield refusal("spec.labelSelector", "KW321", "it selects by no label", "use matchLabels")
    roles = spec.get("roles")
    if isinstance(roles, list):
        yield from _roles(roles, setting)
    yield from _node_labels(multi_role, setting)
    if old is not None:
        was, will = (as_text(dig(side, "spec", "model", "name")) for side in (old, multi_role))
        if was != will:
            hint = "delete the MultiRoleInference and recreate it"
            yield refusal("spec.model.name", "KW323", f"is immutable ({was[:80]} -> {will[:80]})", hint)


def _roles(roles: list[object], setting: Setting) -> Iterator[Problem]:
    types = [as_text(as_map(role).get("type")) for role in roles]
    if len(roles) != len(ROLES) or set(types) != set(ROLES):
        found = ", ".join(name or "?" for name in types[:5]) or "none"
        yield refusal(_ROLES, "KW322", f"there must be exactly one prefill and one decode, not: {found}")
    for index, role in enumerate(as_list(roles)[: len(ROLES)]):
        where = f"{_ROLES}[{index}].instanceType"
        yield from type_problems(as_map(role).get("instanceType"), where, setting)


def _node_labels(multi_role: Object, setting: Setting) -> Iterator[Problem]:
    """With nodes of one's own, nobody puts the two labels on them that KAITO asks for besides."""
    if not (setting.byo or setting.provisioner == "byo"):
        return
    for role in ROLES:
        wanted = node_labels(multi_role, role)
        if setting.nodes is not None and any(
            wanted.items() <= as_map(dig(node, "metadata", "labels")).items() for node in setting.nodes
        ):
            continue
        name, by_role = wanted[api.LABEL_CREATED_BY_ROLES], f"{api.LABEL_INFERENCE_ROLE}={role}"
        message = f"its nodes must also have {api.LABEL_CREATED_BY_ROLES}={name[:80]} and {by_role}"
        if setting.nodes is None:
            hint = Command("kubectl label node NODE", f"{api.LABEL_CREATED_BY_ROLES}={name[:80]}", by_role)
            yield replace(warning("spec.labelSelector", "KW324", message, hint), kaito="never-ready")
        else:
            message = f"no node has what {role} asks for: {message}"
            yield replace(refusal("spec.labelSelector", "KW324", message), kaito="never-ready")
