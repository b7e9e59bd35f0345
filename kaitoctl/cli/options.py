"""The options that several commands share, and groups of them."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, get_origin, get_type_hints

import typer
from msgspec import Struct

from kaitoctl.cli import complete
from kaitoctl.commands import option_values
from kaitoctl.commands.option_values import Manifests, SavedLists
from kaitoctl.commands.target import Target

CatalogFile = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        help="Your own presets, models and instance types; or ID=FOLDER, a model's own config.json.",
        metavar="FILE",
        envvar="KAITOCTL_CATALOG",
    ),
]
PricesFile = Annotated[
    str | None,
    typer.Option(
        "--prices",
        help="Prices of nodes per hour; samples are in docs/prices.",
        metavar="FILE",
        envvar="KAITOCTL_PRICES",
    ),
]


def formats(*names: str, text: str = "{}.") -> Any:
    """The option --output of a command that writes these formats, the first one by default."""
    choosing = ("jsonpath=", "custom-columns=") if "json" in names else ()
    listed = ", ".join(names[:-1]) + f" or {names[-1]}"
    return typer.Option(
        "--output",
        "-o",
        help=text.format(listed),
        metavar="FORMAT",
        autocompletion=complete.of(*names, *choosing),
    )


def provisioner(words: str) -> Any:
    """The option --node-provisioner, with what is meant by it."""
    return typer.Option(
        "--node-provisioner",
        help=words,
        metavar="NAME",
        autocompletion=complete.of("azure-gpu-provisioner", "karpenter", "byo"),
    )


TargetVersion = Annotated[
    str | None,
    typer.Option(
        "--target-version",
        help="A release of KAITO, such as v0.4, v0.9.4 or v0.12.",
        metavar="VERSION",
        autocompletion=complete.of("v0.3", "v0.4", "v0.12"),
    ),
]
MadeBy = Annotated[
    str | None,
    typer.Option(
        "--target-version",
        help="Who made a server whose command cannot be seen: kaitoctl or a release of KAITO (default: what "
        "the cluster shows).",
        metavar="VERSION",
        autocompletion=complete.of("kaitoctl", "v0.3", "v0.4", "v0.12"),
    ),
]
InstanceType = Annotated[
    str | None,
    typer.Option(
        "--instance-type",
        help="Instance type of the GPU nodes.",
        metavar="TYPE",
        autocompletion=complete.instance_types,
    ),
]
Cloud = Annotated[
    str | None,
    typer.Option(
        "--cloud",
        help="Only instance types of azure, aws or arc.",
        metavar="NAME",
        autocompletion=complete.of("azure", "aws", "arc"),
    ),
]
CatalogOutput = Annotated[str, formats("table", "wide", "json", "yaml", "name")]
DryRun = Annotated[
    str,
    typer.Option(
        "--dry-run",
        help="none, client (send nothing) or server (validate only).",
        metavar="MODE",
        autocompletion=complete.of("none", "client", "server"),
    ),
]
LogFormat = Annotated[
    str,
    typer.Option(
        "--log-format",
        help="text, or json: one object per line.",
        metavar="FORMAT",
        autocompletion=complete.of("text", "json"),
    ),
]
LogLevel = Annotated[
    str,
    typer.Option(
        "--log-level",
        help="debug, info, warning or error.",
        metavar="LEVEL",
        autocompletion=complete.of("debug", "info", "warning", "error"),
    ),
]
WorkspaceOutput = Annotated[
    str | None,
    formats("yaml", "json", "name", text="Print the Workspace as {}."),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt (required without a terminal).")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the rollout until it is ready.")]
SmokeTest = Annotated[
    bool,
    typer.Option("--smoke-test", help="Send one prompt when it is ready (real pods of the sandbox: always)."),
]
FollowTimeout = Annotated[
    str | None,
    typer.Option(
        "--timeout", help="How long to follow (default: the preset's budget and 10m).", metavar="DURATION"
    ),
]
WorkspaceName = Annotated[
    str, typer.Argument(help="Workspace name.", metavar="NAME", autocompletion=complete.workspaces)
]
ServedName = Annotated[
    str,
    typer.Argument(
        help="Workspace or InferenceSet; inferenceset/NAME where both have the name.",
        metavar="NAME",
        autocompletion=complete.served,
    ),
]
ServedNames = Annotated[
    list[str],
    typer.Argument(
        help="Workspaces or InferenceSets; inferenceset/NAME where both have the name.",
        metavar="NAME...",
        autocompletion=complete.served,
    ),
]
WorkspaceNames = Annotated[
    list[str], typer.Argument(help="Workspace names.", metavar="NAME...", autocompletion=complete.workspaces)
]
SetName = Annotated[
    str, typer.Argument(help="InferenceSet name.", metavar="NAME", autocompletion=complete.sets)
]
_Files = Annotated[
    list[str] | None, typer.Argument(help="What -f takes, without it.", metavar="[FILE|DIR|URL]...")
]
_Filename = Annotated[
    list[str] | None,
    typer.Option(
        "--filename",
        "-f",
        help="A manifest, a folder of them or a URL; - for stdin; may be repeated.",
        metavar="FILE|DIR|URL",
    ),
]
_Recursive = Annotated[bool, typer.Option("--recursive", "-R", help="Read the folders below a folder, too.")]
_EachFolder = Annotated[
    bool,
    typer.Option("--recursive/--no-recursive", "-R", help="Read the folders below a folder, too."),
]
_Kustomize = Annotated[
    str | None,
    typer.Option("--kustomize", "-k", help="What kubectl or kustomize builds of this folder.", metavar="DIR"),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace (default: the context's).",
        metavar="NAME",
        autocompletion=complete.namespaces,
    ),
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", metavar="NAME")]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="The kubeconfig file to use.", metavar="FILE")
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Use the cluster simulated on this machine, starting it when needed.",
        envvar="KAITOCTL_SANDBOX",
    ),
]
SandboxName = Annotated[
    str,
    typer.Option(
        "--sandbox-name", help="Name of the sandbox.", metavar="NAME", envvar="KAITOCTL_SANDBOX_NAME"
    ),
]
RequestTimeout = Annotated[
    str | None,
    typer.Option(
        "--request-timeout",
        help="Give up on a request after this long, 0 for never (default: 30s without an answer).",
        metavar="DURATION",
        show_default=False,
    ),
]


NodeProvisioner = Annotated[
    str | None,
    provisioner("Setting of KAITO: azure-gpu-provisioner, karpenter or byo (default: the cluster's)."),
]


class WholeCluster(Target, frozen=True):
    """The options of every command that is about a cluster as a whole."""

    context: Context = None
    kubeconfig: Kubeconfig = None
    request_timeout: RequestTimeout = None
    sandbox: Sandbox = False
    sandbox_name: SandboxName = "default"


class Cluster(WholeCluster, frozen=True):
    """The options of every command that can be pointed at a namespace of a cluster."""

    namespace: Namespace = None


class ManagedBy(option_values.ManagedBy, frozen=True):
    """The options by which a user says what a command would else ask the cluster: which KAITO is there."""

    target_version: Annotated[
        str | None,
        typer.Option(
            "--target-version",
            help="Who manages Workspaces: kaitoctl, or a release of KAITO (default: what the cluster shows).",
            metavar="VERSION",
            autocompletion=complete.of("kaitoctl", "v0.3", "v0.4", "v0.12"),
        ),
    ] = None
    node_provisioner: NodeProvisioner = None


class NodeLists(SavedLists, frozen=True):
    """The options that name saved lists of nodes and pods."""

    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            help="Offline: nodes as `kubectl get nodes -o json` (or yaml) wrote them; - for stdin.",
            metavar="FILE",
        ),
    ] = None
    pods: Annotated[
        str | None,
        typer.Option(
            "--pods",
            help="Offline: pods as `kubectl get pods -A -o json` (or yaml) wrote them; they use GPUs.",
            metavar="FILE",
        ),
    ] = None


class ManifestsToSend(Manifests, frozen=True):
    """The options that name manifests for a cluster: of a folder its own files alone, as kubectl reads it."""

    filename: _Filename = None
    recursive: _Recursive = False
    kustomize: _Kustomize = None


class ManifestsToRead(Manifests, frozen=True):
    """The options that name manifests which no cluster is sent: nothing in a folder is overlooked."""

    filename: _Filename = None
    recursive: _EachFolder = True
    kustomize: _Kustomize = None


class OfflineManifests(ManifestsToRead, frozen=True):
    """The same, or arguments."""

    files: _Files = None


NODE_LISTS = NodeLists()
MANAGED_BY = ManagedBy()
TO_SEND = ManifestsToSend()
TO_READ = ManifestsToRead()
OFFLINE = OfflineManifests()
WHOLE_CLUSTER = WholeCluster()
CLUSTER = Cluster()


def number(value: float | None) -> float | None:
    """The value of an option with a range, unless it is `nan`, which no range excludes.

    Raises:
        typer.BadParameter: it is.
    """
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: a parameter that is a Struct becomes options, its fields.

    Args:
        function: a command whose groups are Structs; fields that are not annotated with an option keep
            their defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {
        name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Struct)
    }
    options_of = {name: _options(group) for name, group in groups.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        own = parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY)
        parameters += options_of.get(name) or [own]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{option.name: values.pop(option.name) for option in options_of[name]})
        function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def hints_of(group: type) -> dict[str, Any]:
    """By field of a group: its type, annotated with its option."""
    return get_type_hints(group, include_extras=True)


def _options(group: type[Struct]) -> list[inspect.Parameter]:
    hints, names = hints_of(group), group.__struct_fields__
    defaults = dict(zip(reversed(names), reversed(group.__struct_defaults__), strict=False))
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name, inspect.Parameter.empty),
            annotation=hints[name],
        )
        for name in names
        if get_origin(hints[name]) is Annotated
    ]


def with_plain_numbers(command: Any) -> None:
    """Let a command's numbers, and those of the commands below it, be of the digits 0 to 9 alone.

    Python reads the digits of every script, Go's flags and the API server only these: what looks like
    another number, or like none, must not count nodes.
    """
    for below in getattr(command, "commands", {}).values():
        with_plain_numbers(below)
    for param in command.params:
        if hasattr(param.type, "_number_class"):
            param.type = copy.copy(param.type)  # one object stands for all numbers of all commands
            param.type.convert = _plain(param.type)


def _plain(number_type: Any) -> Callable[..., Any]:
    convert = number_type.convert

    def converted(value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str) and not value.isascii():
            number_type.fail(f"{value!r} is not a number: write it with the digits 0 to 9", param, ctx)
        return convert(value, param, ctx)

    return converted
