"""What a judgement is made of: `Problem`, and the `Setting` that decides which rules hold.

The shapes at the end let a rule look at what has the right type and leave the rest to the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from kaitoctl.advice import Advice, shortened, text
from kaitoctl.kaito import catalog
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.validation.releases import RELEASES, V1BETA1, Release, is_preset_name, nearest
from kaitoctl.kube.objects import Object, ObjectKey

if TYPE_CHECKING:
    from kaitoctl.kaito.settings import Rights

Severity = Literal["error", "warning"]

Answer = Literal["refuses", "crashes", "never-ready", "ignores", "admits", ""]
"""What the KAITO that is judged for does with a problem: its admission says no (or its webhook dies of it);
admitted, and its controller dies of it; admitted, and cannot work; admitted, and the field does nothing;
admitted, and works there: the rule is ours. Empty where no KAITO is judged for."""

TARGETS = tuple(release.name for release in RELEASES)
"""The KAITO releases that have rules of their own, as `--target-version` calls them."""

OWN = "kaitoctl"
"""The target that is no KAITO but kaitoctl's own controller: it has no webhook and serves on transformers."""

_LONGEST_MESSAGE = 300  # it quotes what the user wrote, which may be a megabyte


class Problem(Struct, frozen=True):
    """Something about a Workspace that will not work, or not as written.

    Args:
        path: where, as in the user's file: `inference.adapters[0].strength`.
        code: a key of `CODES`.
        severity: `error` (will not work) or `warning` (works, but not as one would think).
        message: what is wrong, with the values concerned.
        hint: what to do; empty when the message says it.
        kaito: what the KAITO that is judged for does.
    """

    path: str
    code: str
    severity: Severity
    message: str
    hint: Advice = ""
    kaito: Answer = ""

    @property
    def text(self) -> str:
        """Where, if that can be said, and what."""
        return f"{self.path}: {self.message}" if self.path else self.message

    @property
    def in_full(self) -> str:
        """Where, what, and what to do about it, in sentences."""
        hint = text(self.hint)
        return f"{self.text}. {hint[:1].upper()}{hint[1:]}" if hint else self.text

    @property
    def line(self) -> str:
        """Where, what, and what to do about it."""
        return f"{self.text} ({text(self.hint)})" if self.hint else self.text


def error(path: str, code: str, message: str, hint: Advice = "") -> Problem:
    """A problem that forbids."""
    return Problem(path, code, "error", shortened(message, _LONGEST_MESSAGE), hint)


def warning(path: str, code: str, message: str, hint: Advice = "") -> Problem:
    """A problem that the user should know of."""
    return Problem(path, code, "warning", shortened(message, _LONGEST_MESSAGE), hint)


def refusal(path: str, code: str, message: str, hint: Advice = "") -> Problem:
    """A problem that KAITO's admission refuses."""
    return Problem(path, code, "error", shortened(message, _LONGEST_MESSAGE), hint, "refuses")


class Setting(Struct, frozen=True):
    """Where a Workspace is to live.

    Args:
        target: one of `TARGETS`, or another release of KAITO, or `OWN`; None goes by the apiVersion and the
            preset: see `release_choice.unnamed`; a preset of this machine (`Preset.local_model`) is `OWN`.
        cloud: `azure` or `aws`, KAITO's CLOUD_PROVIDER; None takes the instance type's own.
        byo: whether the nodes are the user's own (`nodeProvisioner: byo` of v0.12); None when not known.
        config_maps: all ConfigMaps that there will be; None when not known.
        gates: KAITO v0.12's feature gates that are on, such as `enableMIG`; None when not known.
        nodes: all nodes of the cluster, for `byo`; None when not known.
        catalog: of presets, models and instance types.
        provisioner: KAITO's `--node-provisioner`; None when not known.
        gates_off: gates that are switched off; of those that are on by default only vLLM matters here.
        named: Secrets and claims that Workspaces name, by kind and key: the object, or None when it does not
            exist; those that could not be looked for are not there. None when nobody looked.
        image_generation: for `OWN`, the one that is pinned; empty for the newest that has the preset.
        rights: for `OWN`, what its controller lets custom pods and volumes have; None when not known.
    """

    target: str | None = None
    cloud: str | None = None
    byo: bool | None = None
    config_maps: Mapping[ObjectKey, Object] | None = None
    gates: frozenset[str] | None = None
    nodes: Sequence[Object] | None = None
    catalog: Catalog = SHIPPED
    provisioner: str | None = None
    gates_off: frozenset[str] = frozenset()
    named: Mapping[tuple[str, ObjectKey], Object | None] | None = None
    image_generation: str = ""
    rights: Rights | None = None

    def target_of(self, workspace: Mapping[str, Any]) -> str:
        """The target that counts for a Workspace."""
        release = self.release_of(workspace)
        return release.name if release else self.target or OWN

    def release_of(self, workspace: Mapping[str, Any]) -> Release | None:
        """The row of the release that counts for a Workspace; None for kaitoctl's own controller."""
        if self.target is not None:
            return None if self.target == OWN else nearest(self.target)
        served, tuned = (
            as_text(as_map(as_map(workspace.get(use)).get("preset")).get("name"))
            for use in ("inference", "tuning")
        )
        if self.catalog.is_local(served):
            return None
        version, name = as_text(workspace.get("apiVersion")), served or tuned
        usual = next(row for row in RELEASES if row.name == ("v0.12" if version == V1BETA1 else "v0.4"))
        if not name or is_preset_name(usual, name, self.catalog):
            return usual
        from kaitoctl.kaito.validation import release_choice  # most name what the usual release has

        return release_choice.unnamed(usual, version, name, self.catalog)


# --- shapes ------------------------------------------------------------------------------------------------


def as_map(value: Any) -> dict[str, Any]:
    """The value if it is a map, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The value if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


def as_whole(value: Any) -> int | None:
    """The value if it is a whole number of a sane size, else None."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if is_whole else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known names; empty when none is near."""
    matches = catalog.close_matches(name, known)
    return f"Did you mean {' or '.join(matches)}?" if matches else ""
