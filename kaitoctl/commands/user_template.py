"""A template of the user's own, and the variables that --values and --set give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.commands.files import text_of
from kaitoctl.commands.workspace_options import WorkspaceOptions
from kaitoctl.errors import InputError
from kaitoctl.kaito import manifest, template_schema, template_variables
from kaitoctl.kaito.template_variables import GivenVariable, by_options, by_set
from kaitoctl.kube.documents import load_yaml

if TYPE_CHECKING:
    from kaitoctl.kube.objects import Object


def variables(given: WorkspaceOptions) -> tuple[Object, list[GivenVariable]]:
    """What --values and --set give (--set wins), and which option gives each variable.

    Raises:
        InputError: the file cannot be read, or is not one map; an item of --set is not valid.
    """
    of_file, items = _values(given.values), given.set_value or ()
    named = [*by_set(items), *(GivenVariable(f"--values {given.values}", str(key)) for key in of_file)]
    return manifest.merge_deeply(of_file, template_variables.set_values(items)), named


def insist_on_values(path: str | None, text: str | None, values: Object, named: list[GivenVariable]) -> None:
    """Refuse variables that the template does not read, and values that the JSON Schema beside it forbids.

    Args:
        path: of the template, or its name; None for the default.
        text: of the template; None for the default.
        values: of all variables.
        named: the variables of --values and --set.

    Raises:
        InputError: with the variable.
    """
    template_variables.insist(named, text)
    if path and (schema := template_schema.beside(path)) is not None:
        template_schema.insist(values, schema)


def insist_on_options(given: WorkspaceOptions, template: str) -> None:
    """Refuse options whose variable a template of the user's own does not read.

    Raises:
        InputError: an option would be given for nothing.
    """
    flags = {
        "preset": given.preset,
        "instance_type": given.instance_type,
        "count": given.count,
        "labels": given.label,
        "preferred_nodes": given.preferred_node,
        "adapters": given.adapter,
        "private_image": given.private_image,
        "image_pull_secrets": given.image_pull_secret,
    }
    template_variables.insist(by_options(flags), template)


def _values(path: str | None) -> Object:
    if path is None:
        return {}
    documents = load_yaml(text_of(path, option="--values"), path)
    if len(documents) > 1:
        raise InputError(f"--values {path}: {len(documents)} documents; one is expected")
    return documents[0] if documents else {}
