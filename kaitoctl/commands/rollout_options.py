"""How a Workspace or an InferenceSet is written: brought back to an earlier revision, paused, scaled."""

from __future__ import annotations

from msgspec import Struct, field

from kaitoctl.commands.option_values import NOT_SAID, ManagedBy, dry_run_note
from kaitoctl.kaito.catalog import SHIPPED, Catalog
from kaitoctl.kaito.prices import Prices


class RolloutOptions(Struct, frozen=True):
    """How it is to be written, and whether it is followed.

    Args:
        dry_run: `none`, `client` or `server`.
        output: format of the object that is printed; None for a line.
        yes: whether not to ask.
        wait: whether to follow the rollout.
        timeout_s: for how long; None for the default.
        force: whether to take over fields of other managers.
        catalog: of presets.
        managed: by whom Workspaces are managed.
        prices: of nodes.
    """

    dry_run: str = "none"
    output: str | None = None
    yes: bool = False
    wait: bool = True
    timeout_s: float | None = None
    force: bool = False
    catalog: Catalog = SHIPPED
    managed: ManagedBy = NOT_SAID
    prices: Prices = field(default_factory=Prices)

    @property
    def suffix(self) -> str:
        """What a line says of a dry run."""
        return dry_run_note(self.dry_run)
