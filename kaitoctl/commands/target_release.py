"""The KAITO that Workspaces are judged for, as `--target-version` and `--node-provisioner` name it."""

from __future__ import annotations

from kaitoctl.commands import option_values
from kaitoctl.commands.option_values import PROVISIONERS, ManagedBy
from kaitoctl.errors import InputError
from kaitoctl.kaito.validation import OWN, TARGETS
from kaitoctl.kaito.validation.releases import judged_as, nearest
from kaitoctl.screens import output


def target_option(text: str) -> str:
    """The value of --target-version, and a note where another release than it was measured.

    Raises:
        InputError: it is no release that can be validated for.
    """
    if text == OWN:
        return text
    release = nearest(text)
    if release is None:
        known = ", ".join(TARGETS)
        raise InputError(
            f"--target-version {text[:40]!r}: not a release of KAITO",
            hint=f"use {OWN}, or a release since v0.3; with rules of their own: {known}",
        )
    if note := judged_as(text, release):
        output.step(f"{text}: {note}")
    return text


def check_manager(said: ManagedBy) -> None:
    """Refuse what is no release and no provisioner; say by which release another one is judged.

    Raises:
        InputError: a value is none of those that its option takes.
    """
    if said.target_version is not None:
        target_option(said.target_version)
    if said.node_provisioner is not None:
        option_values.one_of(said.node_provisioner, PROVISIONERS, option="--node-provisioner")
