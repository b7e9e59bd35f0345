"""An object on its way in: its defaults first, then its rules."""

from __future__ import annotations

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.admission.defaults import DEFAULTS
from kaitoctl.sandbox.admission.metadata import metadata_causes
from kaitoctl.sandbox.admission.rules import RULES
from kaitoctl.sandbox.admission.typed import as_typed
from kaitoctl.sandbox.builtin import Resource
from kaitoctl.sandbox.error_status import invalid


def admit(resource: Resource, obj: Object, live: Object | None) -> None:
    """Fill in the defaults of a built-in object and check it.

    Raises:
        Failure: 422, with one cause per problem.
    """
    kind = resource.kind
    name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    causes = metadata_causes(resource, obj["metadata"])
    with as_typed(resource):
        if (fill := DEFAULTS.get(name)) is not None:
            fill(obj, live)
        if (rules := RULES.get(name)) is not None:
            causes += rules(obj, live)
    if causes:
        raise invalid(kind.kind, kind.group, obj["metadata"].get("name", ""), causes)
