"""By which release a Workspace is judged where nobody names one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaitoctl.kaito.validation.releases import (
    RELEASES,
    V1BETA1,
    Release,
    preset,
)

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog


def unnamed(usual: Release, api_version: str, name: str, known: Catalog) -> Release:
    """The measured release by which a Workspace is judged without one: v1beta1 by v0.12, v1alpha1 by v0.4.

    Where that one lacks the preset, the nearest that serves it in this version counts: nobody's manifest is
    wrong for naming what another release has. What no release has, the usual one says.

    Args:
        usual: the release of the API version.
        api_version: of the manifest.
        name: of its preset, which that release lacks.
        known: the catalog.
    """
    is_new = api_version == V1BETA1
    having = [release for release in RELEASES if preset(release, name, known) is not None]
    serving = [one for one in having if api_version in one.versions and (is_new or not one.dies_of(name))]
    if serving:
        return serving[-1] if is_new else serving[0]
    return usual if is_new or not having else having[-1]
