"""The documents of `plan` and `apply`: of files, folders, stdin; one that cannot be read is one problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.commands import files
from kaitoctl.errors import InputError
from kaitoctl.kaito import convert
from kaitoctl.kube.objects import ObjectKey, dig

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.kube.objects import Object

_MOST_DOCUMENTS = 5000
# Written by servers; what `kubectl get -o yaml` has saved is meant without.
_SERVERS_OWN = (
    "managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink",
    "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "ownerReferences",
)  # fmt: skip


class Written(Struct, frozen=True):
    """An object that somebody has written.

    Args:
        source: the file, and the number of the document.
        kind: `Workspace`, `ConfigMap`, or another one.
        key: which one; the namespace is empty where none is written.
        obj: what is to be sent.
        fault: why it cannot be read; empty when it can.
    """

    source: str
    kind: str
    key: ObjectKey
    obj: Object
    fault: str = ""


def documents_of(given: Manifests) -> list[Written]:
    """Everything in the manifests, in their order; those of a folder by name.

    Raises:
        InputError: one cannot be read at all, or there is nothing in any.
    """
    found: list[Written] = []
    manifests = list(files.sources(given))
    for manifest in manifests:
        for document in manifest.documents():
            source = f"{manifest.name}: document {document.index + 1}"
            fault = document.fault
            _insist_on_object(document.obj, manifest.name)
            words = "" if fault is None else f"line {fault.line}, column {fault.column}: {fault.message}"
            found.append(_document(source, document.obj, words))
            if len(found) > _MOST_DOCUMENTS:
                raise InputError(f"more than {_MOST_DOCUMENTS} documents")
    if not found:
        raise files.nothing_in(manifests)
    if all(one.fault for one in found):  # no cluster need be asked about what nobody can read
        faults = [f"{one.source}: {one.fault}" for one in found]
        raise InputError("not all documents can be read", problems=faults)
    return found


def _insist_on_object(obj: Object, source: str) -> None:
    """Refuse what `status -o json` has written: it looks like a manifest to who knows `kubectl get`.

    Raises:
        InputError: it is that.
    """
    workspace, rows = obj.get("workspace"), obj.get("workspaces")
    if "kind" in obj or not (isinstance(rows, list) or ("phase" in obj and isinstance(workspace, str))):
        return
    namespace, _, name = workspace.rpartition("/") if isinstance(workspace, str) else ("", "", "")
    words = (name, *(("-n", namespace) if namespace else ())) if name else ()
    prints = Command("kaitoctl get", *words, "-o", "yaml")
    one = "the object" if name else "the objects"
    raise InputError(f"{source} is what `status` writes, not {one}", hint=prints + f" prints {one}")


def _document(source: str, obj: Object, fault: str) -> Written:
    name, namespace = dig(obj, "metadata", "name"), dig(obj, "metadata", "namespace")
    key = ObjectKey(namespace if isinstance(namespace, str) else "", name if isinstance(name, str) else "")
    nothing = "a document" if fault else "an object without kind"
    kind = "Workspace" if convert.is_workspace(obj) else str(obj.get("kind") or nothing)[:63]
    return Written(source, kind, key, _as_meant(obj), fault)


def _as_meant(obj: Object) -> Object:
    metadata = obj.get("metadata")
    made = {key: value for key, value in obj.items() if key != "status"}
    if isinstance(metadata, dict):
        made["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVERS_OWN}
    return made
