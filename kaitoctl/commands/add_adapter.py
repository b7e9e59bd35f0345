"""`kaitoctl add-adapter`: add a LoRA adapter to a Workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands import adapter_change
from kaitoctl.commands.adapter_options import AdapterOptions
from kaitoctl.commands.adapter_settings import settings_of
from kaitoctl.commands.target import Target
from kaitoctl.errors import InputError
from kaitoctl.kaito import adapters
from kaitoctl.kube.objects import dig

if TYPE_CHECKING:
    from kaitoctl.kaito.adapters import Change
    from kaitoctl.kube.objects import Object


def add_adapter(
    *,
    workspace: str | None,
    name: str | None,
    image: str | None,
    volume_claim: str | None,
    from_tuning: str | None,
    strength: str | None,
    image_pull_secret: list[str] | None,
    replace: bool,
    given: AdapterOptions,
    target: Target,
) -> None:
    """Add a LoRA adapter to a Workspace, and follow until the model serves with it."""
    settings = settings_of(given)
    sources = {"--image": image, "--volume-claim": volume_claim, "--from-tuning": from_tuning}
    chosen = [option for option, value in sources.items() if value is not None]
    if not chosen:
        raise InputError(
            f"the source of the adapter is missing: give one of {', '.join(sources)}",
            hint="such as --image registry.example/style:1",
        )
    if len(chosen) > 1:
        raise InputError(
            f"{' and '.join(chosen)} exclude each other: an adapter comes from one place",
            hint=f"give one of {', '.join(chosen)}",
        )
    if not (name or from_tuning):
        raise InputError("the adapter's --name is missing", hint="such as --name style")

    def make(found: Object, wants_strength: bool, tuned: Object | None) -> Change:
        source = {"image": image} if tuned is None else adapters.from_tuning(found, tuned)
        default = "1.0" if wants_strength else None
        claim = dig(source, "volumeSource", "persistentVolumeClaim", "claimName")
        wanted = adapters.entry(
            name or (from_tuning or "").rpartition("/")[2],
            image=source.get("image") or "",
            volume_claim=volume_claim or claim or "",
            strength=default if strength is None else strength,
            pull_secrets=image_pull_secret or source.get("imagePullSecrets") or (),
        )
        return adapters.adding(wanted, may_replace=replace)

    adapter_change.run(target, workspace, make, settings, tuning=from_tuning)
