"""`kaitoctl version`: this program, the cluster, KAITO and its CRD, and whether they go together."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from kaitoctl import __version__
from kaitoctl.commands import option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.target import Target
from kaitoctl.errors import ApiError, ExitCode, KaitoctlError
from kaitoctl.kaito import api, installation
from kaitoctl.kaito.validation.releases import IN_ORDER, nearest
from kaitoctl.kube.objects import DEPLOYMENT
from kaitoctl.kube.request import Request
from kaitoctl.screens import output
from kaitoctl.screens.layout import Paragraph

if TYPE_CHECKING:
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

OLDEST, NEWEST = 22, 37
"""Minor versions of Kubernetes 1.x: where server-side apply became stable, and the newest of the tests."""


def version(*, only_client: bool, output_format: str, target: Target) -> int:
    """Show all versions; 1 when they do not go together, 3 when the cluster does not answer."""
    option_values.output_format(output_format, ("text", "json", "yaml"))
    found: Object = {"client": {"version": __version__}}
    failure: KaitoctlError | None = None
    if not only_client:
        try:
            found |= asyncio.run(_of_cluster(target))
        except KaitoctlError as error:
            failure = error
    if output_format == "text":
        output.show([Paragraph(line, hang=9) for line in _lines(found)])
    else:
        output.write_structured(found, output_format)
    if failure is not None:
        raise failure
    for problem in found.get("skew") or ():
        output.warning(problem)
    return ExitCode.NEGATIVE if found.get("skew") else ExitCode.DONE


async def _of_cluster(target: Target) -> Object:
    async with connected(target) as client:
        server = await client.send(Request("GET", "/version"))
        served = await _served_versions(client)
        controllers = await _controllers(client)
    answer: Object = {
        "server": {"version": str(server.get("gitVersion") or ""), "address": client.host},
        "controllers": controllers,
        "crd": {"group": api.GROUP, "versions": served},
    }
    return {**answer, "skew": list(_skew(answer))}


async def _served_versions(client: Client) -> list[str]:
    try:
        answer = await client.send(Request("GET", f"/apis/{api.GROUP}"))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return []
    return [str(item.get("version")) for item in answer.get("versions") or ()]


async def _controllers(client: Client) -> list[Object] | None:
    """The controllers of Workspaces; None when they may not be seen."""
    try:
        found = installation.controllers((await client.list(DEPLOYMENT)).items)
    except ApiError as error:
        if error.status != 403:
            raise
        return None
    return [
        {"kind": one.kind, "version": one.version, "deployment": f"{one.namespace}/{one.name}"}
        for one in found
        if one.is_alive
    ]


def _skew(answer: Object) -> Any:
    """What does not go together, and what to do."""
    version = answer["server"]["version"]
    found = re.match(r"v?1\.(\d+)", version)
    if found and int(found[1]) < OLDEST:
        yield f"Kubernetes {version} is older than 1.{OLDEST}: server-side apply is not stable there"
    if found and int(found[1]) > NEWEST:
        yield f"Kubernetes {version} is newer than 1.{NEWEST}, the newest that kaitoctl was tested with"
    for one in answer["controllers"] or ():
        if one["kind"] == "KAITO" and one["version"] and not _is_known(one["version"]):
            yield f"KAITO {one['version']} is not known: it is judged by the nearest release; update kaitoctl"
        if one["kind"] == "kaitoctl" and one["version"] and one["version"] != __version__:
            yield f"the controller is kaitoctl {one['version']}, this is {__version__}: update the older one"
    versions = answer["crd"]["versions"]
    if versions and not set(versions) & set(api.VERSIONS):
        known = " and ".join(api.VERSIONS)
        yield f"Workspaces are served as {', '.join(versions)}; kaitoctl supports {known}"


def _is_known(version: str) -> bool:
    """Whether a release of KAITO is of a minor version that was measured or read."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", version)
    newest = IN_ORDER[-1].since[:2]
    return found is not None and nearest(version) is not None and (int(found[1]), int(found[2])) <= newest


def _lines(found: Object) -> Any:
    yield f"Client:  kaitoctl {found['client']['version']}"
    if "server" not in found:
        return
    yield f"Server:  Kubernetes {found['server']['version']} at {found['server']['address']}"
    controllers = found["controllers"]
    if controllers is None:
        yield "KAITO:   unknown: Deployments cannot be listed"
    for one in controllers or ():
        yield f"KAITO:   {one['kind']} {one['version']} (Deployment {one['deployment']})".replace("  (", " (")
    if controllers == []:
        yield "KAITO:   no controller of Workspaces in a Deployment"
    yield f"CRD:     {api.GROUP} {', '.join(found['crd']['versions']) or 'not installed'}"
    yield f"Skew:    {'; '.join(found['skew']) if found['skew'] else 'none'}"
