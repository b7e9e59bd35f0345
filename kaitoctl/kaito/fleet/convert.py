"""An InferenceSet of one API version as one of the other, and what that loses. Pure.

Source: KAITO v0.12.0, `api/v1alpha1` and `api/v1beta1`: v1beta1 has `template.resource.partition` besides.
"""

from __future__ import annotations

from kaitoctl.errors import InputError
from kaitoctl.kaito import api
from kaitoctl.kaito.convert import Conversion, Remark, out_of_the_cluster
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kube.objects import Object, copy_of


def convert(inference_set: Object, to: str) -> Conversion:
    """The set as one of another API version; the object given is not changed.

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
    return Conversion(schema_defaults.prune(made, structure), tuple(remarks))
