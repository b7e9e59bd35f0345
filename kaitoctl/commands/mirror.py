"""`kaitoctl mirror list`: images and models that manifests need, and the commands that copy them."""

from __future__ import annotations

import shlex

from kaitoctl.commands import option_values
from kaitoctl.commands.controller_options import ControllerOptions
from kaitoctl.commands.controller_settings import settings_of
from kaitoctl.commands.option_values import Manifests
from kaitoctl.commands.render import rendered_of
from kaitoctl.kaito import images
from kaitoctl.kaito.desired import model_of
from kaitoctl.kube.objects import Object, key_of
from kaitoctl.screens import output


def list_images(
    *, given: Manifests, to: str | None, output_format: str, namespace: str, controller: ControllerOptions
) -> None:
    """List all images and models that Workspaces need, or print the commands that copy the images."""
    option_values.output_format(output_format, ("table", "json", "yaml"))
    images.insist_on_registry(to, option="--to")
    settings = settings_of(controller)
    users: dict[tuple[str, images.ChosenBy], dict[str, None]] = {}
    models: dict[str, Object] = {}
    for made in rendered_of(given, namespace, settings):
        who = str(key_of(made.workspace)) if made.workspace["metadata"].get("name") else "a replica"
        for needed in images.needed_by(made.workspace, made.objects, settings.registry):
            users.setdefault(needed, {})[who] = None
        if (model := model_of(made.workspace, settings)) is not None:
            first = {"id": model.id, "gib": model.weights_gib, "gated": model.gated, "workspaces": []}
            models.setdefault(model.id, first)["workspaces"].append(who)
    found = [images.Image(*needed, tuple(names)) for needed, names in sorted(users.items())]
    if to is not None and output_format == "table":
        _print_copies(found, to)
    elif output_format == "table":
        _print_tables(found, list(models.values()))
    else:
        output.structured(
            {
                "images": [
                    {"image": one.name, "chosenBy": one.chosen_by, "workspaces": list(one.users)}
                    | ({"copy": one.copied_to(to)} if to is not None else {})
                    for one in found
                ],
                "models": list(models.values()),
            },
            output_format,
        )
    if models:
        size = sum(one["gib"] for one in models.values())
        output.note(
            f"the weights of {len(models)} model{'s' if len(models) > 1 else ''}, {size:.0f} GiB, come from "
            "Hugging Face when a pod starts: mirror them with a hub of your own, or a PersistentVolumeClaim"
        )


def _print_tables(found: list[images.Image], models: list[Object]) -> None:
    output.table(("IMAGE", "WORKSPACES"), [(one.name, ", ".join(one.users)) for one in found])
    if models:
        output.data("")
        rows = [
            (
                one["id"],
                f"{one['gib']:.1f} GiB",
                "token" if one["gated"] else "",
                ", ".join(one["workspaces"]),
            )
            for one in models
        ]
        output.table(("MODEL", "SIZE", "NEEDS", "WORKSPACES"), rows)


def _print_copies(found: list[images.Image], to: str) -> None:
    for one in found:
        words = [
            "skopeo",
            "copy",
            "--all",
            f"docker://{images.source(one.name)}",
            f"docker://{one.copied_to(to)}",
        ]
        output.data(shlex.join(words))
    if any(one.chosen_by == "registry" for one in found):
        output.note(f"the controller takes preset images from there with: --registry {to}")
    for one in found:
        if one.chosen_by == "workspace":
            output.note(f"{', '.join(one.users)}: write {one.copied_to(to)} in place of {one.name}")
        elif one.chosen_by == "controller":
            output.note(f"{one.name} is the controller's choice: let the nodes' runtime mirror its registry")
