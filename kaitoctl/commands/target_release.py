"""The KAITO release that Workspaces are validated for, as `--target-version` names it."""

from __future__ import annotations

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
        output.note(f"{text}: {note}")
    return text
