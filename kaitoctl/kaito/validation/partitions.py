"""The rules for parts of nodes that a Workspace asks for (`resource.partition`): MIG slices, or some GPUs.

Source: KAITO v0.12.0, `api/v1beta1/workspace_validation.go`. kaitoctl's own controller, which has no gates,
makes the same pods.
"""

from __future__ import annotations

from collections.abc import Iterator

from kaitoctl.kaito.api import ANNOTATION_BYPASS
from kaitoctl.kaito.validation.grammar import MIG_PROFILES, mig_memory_gb
from kaitoctl.kaito.validation.problem import OWN, Problem, as_map, as_text, did_you_mean, error, warning
from kaitoctl.kaito.validation.subject import Subject

_GATES = {"mig": "enableMIG", "accelerator": "enableAccelerator"}


def problems(subject: Subject) -> Iterator[Problem]:
    """What is wrong with the partition of a Workspace that has one."""
    partition, where = as_map(subject.resource.get("partition")), "resource.partition"
    is_own = subject.target == OWN
    if is_own and not subject.is_made_as_model:
        return  # it has no parts then, and says so in FieldsIgnored
    mode, profile, count = (partition.get(key) for key in ("mode", "profile", "count"))
    # Of kaitoctl's own, a node that it buys has GPUs to count, and no slices.
    has_type = bool(subject.resource.get("instanceType")) and not is_own
    if has_type or (subject.setting.byo is False and (mode == "mig" or not is_own)):
        message = f"GPUs of nodes that {'the controller' if is_own else 'KAITO'} makes cannot be divided"
        yield error(where, "KW129", message, "leave out instanceType, and say --node-provisioner byo")
    if subject.tuning:
        yield error(where, "KW129", "tuning does not run on parts of GPUs")
    gate = _GATES.get(as_text(mode))
    gates = subject.setting.gates
    if gate and not is_own and (gates is None or gate not in gates):
        finding = warning if gates is None else error
        yield finding(f"{where}.mode", "KW129", f"mode {mode} works only while KAITO's gate {gate} is on")
    if mode == "mig":
        if count is not None:
            yield error(f"{where}.count", "KW129", "count belongs to mode accelerator", "leave it out")
        yield from _mig_profile(subject, f"{where}.profile", as_text(profile))
    elif mode == "accelerator":
        if profile:
            yield error(f"{where}.profile", "KW129", "profile belongs to mode mig", "leave it out")
        if count is None:
            yield error(f"{where}.count", "KW129", "mode accelerator requires a count")


def _mig_profile(subject: Subject, where: str, profile: str) -> Iterator[Problem]:
    if not profile:
        yield error(where, "KW129", "mode mig requires a profile", "for example 1g.10gb")
        return
    memory_gb = mig_memory_gb(profile)
    if memory_gb is None:
        yield error(where, "KW129", f"{profile[:80]!r} is not a MIG profile", "for example 1g.10gb")
    elif profile not in MIG_PROFILES:
        hint = did_you_mean(profile, MIG_PROFILES) or f"known are {', '.join(MIG_PROFILES)}"
        yield error(where, "KW129", f"KAITO does not know the MIG profile {profile[:80]}", hint)
    elif (
        subject.target != OWN  # it tells why, by all that the slice is to hold
        and (model := subject.model)
        and memory_gb < model.weights_gib
        and ANNOTATION_BYPASS not in subject.annotations
    ):
        message = f"{profile} has {memory_gb} GiB of GPU memory, {model.id} needs {model.weights_gib:.0f}"
        yield error(where, "KW136", message)
