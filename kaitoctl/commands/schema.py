"""`kaitoctl schema`: what a Workspace or a fleet may say, for clusters and for editors."""

from __future__ import annotations

from kaitoctl import packaged
from kaitoctl.commands import option_values
from kaitoctl.errors import InputError
from kaitoctl.kaito import admission_policy, api, catalog_file
from kaitoctl.kaito.fleet import kinds
from kaitoctl.kaito.json_schema import of_fleets, of_workspaces
from kaitoctl.kube.documents import load_yaml
from kaitoctl.screens import output

_KINDS = {kind.kind.lower(): kind for kind in (api.WORKSPACE, *kinds.KINDS)}


FORMATS = ("crd", "json-schema", "admission-policy")


def schema(*, kind: str, api_version: str | None, form: str, catalog: str | None) -> None:
    """Print the CustomResourceDefinition of a kind, a JSON Schema for editors, or its rules as CEL."""
    option_values.one_of(form, FORMATS, option="--format")
    option_values.one_of(kind.lower(), tuple(_KINDS), option="--kind")
    chosen = _KINDS[kind.lower()]
    known = kinds.VERSIONS.get(chosen.kind, api.VERSIONS)
    if api_version is not None:
        option_values.one_of(api_version, known, option="--api-version")
    if form == "admission-policy":
        if chosen != api.WORKSPACE or api_version is not None:
            raise InputError("--format admission-policy: there is one, for Workspaces of all API versions")
        output.objects(admission_policy.policy(catalog_file.read(catalog)), "yaml")
        return
    if form == "json-schema":
        versions = [api_version] if api_version else known
        of_catalog = catalog_file.read(catalog)
        if chosen == api.WORKSPACE:
            output.document(of_workspaces(versions, known=of_catalog))
        else:
            output.document(of_fleets(chosen.kind, versions, known=of_catalog))
        return
    file = f"{chosen.group}_{chosen.plural}.yaml"
    text = (packaged.folder("schemas") / file).read_text("utf-8")
    if api_version is None:
        output.data(text.rstrip("\n"))
        return
    crd = load_yaml(text, file)[0]
    served = [version for version in crd["spec"]["versions"] if version["name"] == api_version]
    crd["spec"]["versions"] = [{**version, "storage": True} for version in served]
    output.objects([crd], "yaml")
