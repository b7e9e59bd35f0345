"""An InferenceSet of one API version as one of the other, and what that loses. Pure.

Source: KAITO v0.12.0, `api/v1alpha1` and `api/v1beta1`: v1beta1 has `template.resource.partition` besides;
`config/crd/bases/kaito.sh_inferencesets.yaml` of v0.7.0 to v0.12.0: since when there is what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog
from kaitoctl.kaito.convert import Conversion, Remark, of_replica, out_of_the_cluster
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.fleet.replicas import workspace_of
from kaitoctl.kube.objects import Object, copy_of, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.validation.releases import Release

_SERVED_SINCE: Mapping[str, tuple[int, int, int]] = {"v1alpha1": (0, 8, 0), "v1beta1": (0, 11, 0)}
_FIELD_SINCE: Mapping[str, tuple[int, int, int]] = {
    "spec.autoUpgrade": (0, 11, 0),
    "spec.template.resource.partition": (0, 12, 0),
}


def convert(
    inference_set: Object, to: str, *, known: Catalog = catalog.SHIPPED, release: Release | None = None
) -> Conversion:
    """The set as one of another API version; the object given is not changed.

    Args:
        inference_set: an InferenceSet of any version.
        to: `v1alpha1` or `v1beta1`.
        known: where presets and instance types are looked up.
        release: of the KAITO that is to read it; None for the one whose version it is.

    Raises:
        InputError: there is no such version.

    Guarantee: never raises otherwise, whatever JSON the object is made of; a second time changes nothing.
    """
    from kaitoctl.kube import schema_defaults

    versions = kinds.VERSIONS[api.INFERENCE_SET.kind]
    if to not in versions:
        raise InputError(
            f"there is no API version {to!r} of InferenceSets", hint=f"use {' or '.join(versions)}"
        )
    made = copy_of({key: value for key, value in inference_set.items() if key != "status"})
    remarks = list(out_of_the_cluster(made, api.SET_FINALIZER))
    made["apiVersion"] = f"{api.GROUP}/{to}"
    structure = kinds.schema_of(api.INFERENCE_SET.kind, to)
    unknown = schema_defaults.unknown_fields(made, structure)
    remarks += [Remark(path, f"{to} has no such field; dropped") for path in unknown]
    made = schema_defaults.prune(made, structure)
    if release is not None and inference_set.get("apiVersion") != made["apiVersion"]:
        remarks += _of_the_release(made, to, known, release)
    return Conversion(made, tuple(remarks))


def _of_the_release(made: Object, to: str, known: Catalog, release: Release) -> Iterator[Remark]:
    """What a release does not know of the set, and of the Workspaces that it would make of it."""
    kaito = f"KAITO {release.version}"
    served = [name for name, since in _SERVED_SINCE.items() if since <= release.since]
    if not served:
        yield Remark(
            "kind", f"{kaito} has no InferenceSets: v0.8 brought them, v0.11 switches them on by itself"
        )
        return
    if to not in served:
        yield Remark(
            "apiVersion", f"{kaito} does not serve InferenceSets of {to}; it serves {' and '.join(served)}"
        )
    for path, since in _FIELD_SINCE.items():
        if since > release.since and dig(made, *path.split(".")) is not None:
            yield Remark(path, f"{kaito} has no such field, and drops it")
    for remark in of_replica(workspace_of(made, "replica"), known, release):
        yield Remark(f"spec.template.{remark.path}", remark.message, remark.commands)
