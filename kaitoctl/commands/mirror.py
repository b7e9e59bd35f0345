"""`kaitoctl mirror list`: images and models that manifests need, and the commands that copy them."""

from __future__ import annotations

import shlex

from kaitoctl.commands import invocation, listing, option_values
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
    option_values.output_format(output_format, listing.FORMATS)
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

    def plain(one: images.Image) -> Object:
        copy = {"copy": one.copied_to(to)} if to is not None else {}
        return {"image": one.name, "chosenBy": one.chosen_by, "workspaces": list(one.users), **copy}

    every = [images.Image(*needed, tuple(names)) for needed, names in sorted(users.items())]
    found = invocation.sort_for_output(every, plain)
    if option_values.is_structured(output_format):
        value = {"images": list(map(plain, found)), "models": list(models.values())}
        output.write_structured(value, output_format, rows="images")
    elif output_format == "name":
        for one in found:
            output.data(one.name)
    elif to is not None:
        _print_copies(found, to)
    else:
        _print_tables(found, list(models.values()), wide=output_format == "wide")
    if models:
        size = sum(one["gib"] for one in models.values())
        output.note(
            f"the weights of {len(models)} model{'s' if len(models) > 1 else ''}, {size:.0f} GiB, come from "
            "Hugging Face when a pod starts: mirror them with a hub of your own, or a PersistentVolumeClaim"
        )


def _print_tables(found: list[images.Image], models: list[Object], *, wide: bool) -> None:
    rows = [(one.name, one.chosen_by, ", ".join(one.users)) for one in found]
    if wide:
        output.table(("IMAGE", "CHOSEN BY", "WORKSPACES"), rows, wide=True)
    else:
        output.table(("IMAGE", "WORKSPACES"), [(name, users) for name, _, users in rows])
    if models:
        output.data("")
        of_models = [
            (
                one["id"],
                f"{one['gib']:.1f} GiB",
                "token" if one["gated"] else "",
                ", ".join(one["workspaces"]),
            )
            for one in models
        ]
        output.table(("MODEL", "SIZE", "NEEDS", "WORKSPACES"), of_models, wide=wide)


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
