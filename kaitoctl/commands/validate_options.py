"""What options of `validate` mean that most who use it do not give."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kaitoctl.commands import files, saved_lists
from kaitoctl.commands.option_values import Manifests
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.validation import Setting
from kaitoctl.kaito.validation.release_detection import gates_off, gates_on
from kaitoctl.kube.objects import Object


def objects(filename: str, option: str) -> Iterator[Object]:
    """The objects of a file or folder that is not itself judged.

    Raises:
        InputError: one cannot be read.
    """
    given = Manifests(filename=[filename], recursive=True)
    for source in files.sources(given, option=option, each_once=False):
        for document in source.documents():
            if fault := document.fault:
                raise InputError(f"{document.source}:{fault.line}:{fault.column}: {fault.message}")
            yield document.obj


def added(setting: Setting, *, feature_gates: str | None, nodes: str | None, catalog: str | None) -> Setting:
    """The setting with what --feature-gates, --nodes and --catalog say of it.

    Raises:
        InputError: a file cannot be read, or KAITO looks at no nodes.
    """
    if feature_gates is not None:
        setting = replace(setting, gates=gates_on(feature_gates), gates_off=gates_off(feature_gates))
    if nodes is not None:
        if not setting.byo:
            raise InputError("--nodes requires --node-provisioner byo: KAITO looks at no nodes otherwise")
        setting = replace(setting, nodes=saved_lists.objects(nodes, "Node", option="--nodes"))
    return setting if catalog is None else replace(setting, catalog=catalog_file.read(catalog))
