"""From the options that say what the controller builds to its settings."""

from __future__ import annotations

from kaitoctl.commands import option_values
from kaitoctl.commands.controller_options import ControllerOptions
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog, catalog_file, node_check
from kaitoctl.kaito.desired import IMAGE_GENERATIONS, Settings
from kaitoctl.kaito.releases_between import UNLIKE
from kaitoctl.kaito.validation import release_detection
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.screens import output


def settings_of(options: ControllerOptions) -> Settings:
    """The controller's settings, the user's catalog among them.

    Raises:
        InputError: there is no such image generation, or the catalog cannot be read.
    """
    known = catalog_file.read(options.catalog)
    if options.node_provisioner:
        option_values.one_of(options.node_provisioner, node_check.PROVISIONERS, option="--node-provisioner")
    return Settings(
        options.registry or catalog.DEFAULT_REGISTRY,
        generation_named(options.kaito_version) if options.kaito_version else "",
        options.most_nodes,
        allows_privileged_templates=options.allow_privileged_templates,
        template_service_accounts=frozenset(options.template_service_accounts or ()),
        template_secrets=frozenset(options.template_secrets or ()),
        allows_template_scheduling=options.allow_template_scheduling,
        provisioner=options.node_provisioner,
        catalog=known,
    )


def generation_named(text: str) -> str:
    """The generation that a release of KAITO is made in; said on stderr where it is another one's.

    Raises:
        InputError: it is no release of KAITO.
    """
    if text in IMAGE_GENERATIONS:
        return text
    name = release_detection.generation_near(text)
    if not name:
        hint = f"use a release since v0.3; objects are made as {', '.join(IMAGE_GENERATIONS)} makes them"
        raise InputError(f"--kaito-version {text[:40]!r}: not a release of KAITO", hint=hint)
    if text.removeprefix("v") != IMAGE_GENERATIONS[name].release.removeprefix("v"):
        output.step(
            f"{text}: objects as KAITO {IMAGE_GENERATIONS[name].release} makes them, the nearest one known"
        )
        release = nearest(text)
        if release is not None and (unlike := UNLIKE.get(release.version)):
            how = "makes" if unlike.was_run else "makes, as far as its source was read,"
            output.note(f"KAITO {release.version} {how}: {unlike.words}")
    return name
