"""What users type as option values, and what it means: labels, durations, formats, files of saved lists."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from kaitoctl.advice import Advice, Command, file_word
from kaitoctl.errors import InputError
from kaitoctl.kube.names import is_address, is_label, is_qualified, is_subdomain, without_user

_DURATION = r"(?a)(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?"


def labels(items: Iterable[str], *, option: str = "--label") -> dict[str, str]:
    """`KEY=VALUE` items as a dict.

    Raises:
        InputError: an item without `=`, not a label, or a key given twice with different values.
    """
    result: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"{option} {item!r}: write it as KEY=VALUE")
        prefix, slash, own = key.rpartition("/")
        if not is_qualified(own) or (slash and not is_subdomain(prefix)):
            raise InputError(f"{option} {item!r}: {key!r} is not a label key", hint="such as apps=falcon-7b")
        if value and not is_qualified(value):
            hint = "letters, digits, '-', '_' and '.', at most 63, a letter or digit at both ends"
            raise InputError(f"{option} {item!r}: {value!r} is not a label value", hint=hint)
        if result.setdefault(key, value) != value:
            raise InputError(f"{option} {item!r}: {key} has the value {result[key]!r} already")
    return result


def duration_s(text: str, *, option: str = "--timeout") -> float:
    """Seconds from `90`, `90s`, `30m`, `1h30m`.

    Raises:
        InputError: not a duration, or none at all.
    """
    found = re.fullmatch(_DURATION, text.strip())
    parts = found.groupdict() if found else {}
    seconds = sum(float(parts.get(unit) or 0) * size for unit, size in (("h", 3600), ("m", 60), ("s", 1)))
    if seconds <= 0:
        raise InputError(f"{option} {text!r} is not a duration", hint="such as 90s, 30m or 1h30m")
    return seconds


def request_timeout_s(text: str) -> float:
    """Seconds from what kubectl's option takes: `0` for no end, `10`, `10s`, `1m30s`, `500ms`.

    Raises:
        InputError: not a duration.
    """
    option = "--request-timeout"
    if re.fullmatch(r"0+(?:ms|s|m|h)?", text.strip()):
        return math.inf
    if found := re.fullmatch(r"(?a)(\d+(?:\.\d+)?)ms", text.strip()):
        return float(found[1]) / 1000 or math.inf
    return duration_s(text, option=option)


def http_url(text: str, *, option: str) -> str:
    """The text, if it is the address of a server.

    Raises:
        InputError: it is not; the message leaves user and password out.
    """
    if not is_address(text) or not text.isascii() or not text.isprintable() or " " in text:
        shown = without_user(text)[:200]
        hint = "such as http://127.0.0.1:8080"
        raise InputError(f"{option} {shown!r} is not an http(s) address", hint=hint)
    return text


def node_name(text: str) -> str:
    """The text, if it can name a node.

    Raises:
        InputError: it cannot.
    """
    if not is_subdomain(text):
        hint = "lower-case letters, digits, '-' and '.', at most 253, a letter or digit at both ends"
        raise InputError(f"{text[:80]!r} cannot name a node", hint=hint)
    return text


def namespace_name(text: str) -> str:
    """The text, if it can name a namespace.

    Raises:
        InputError: it cannot.
    """
    if not is_label(text):
        hint = "lower-case letters, digits and '-', at most 63, a letter or digit at both ends"
        raise InputError(f"--namespace {text[:80]!r} cannot name a namespace", hint=hint)
    return text


_WORKSPACE = ("workspace", "workspaces", "wk", "wks")
"""What kubectl names the kind, its short names among it."""
_SETS = ("inferenceset", "inferencesets", "is", "isets")
_OF_ROLES = ("multiroleinference", "multiroleinferences", "mri")
KINDS = frozenset((*_WORKSPACE, *_SETS, *_OF_ROLES))
"""What may stand before the name of something of ours."""


def workspace_name(text: str) -> str:
    """The name in `falcon`, `workspace/falcon` or `workspace.kaito.sh/falcon`, as kubectl writes it.

    Raises:
        InputError: the text is no such name.
    """
    kind, slash, name = text.rpartition("/")
    if slash and kind.removesuffix(".kaito.sh") not in _WORKSPACE:
        hint: Advice = "such as workspace/falcon"
        if kind.removesuffix(".kaito.sh") in _SETS:
            hint = (
                "the replicas of a set are Workspaces: "
                + Command("kaitoctl status", text[:80])
                + " lists them"
            )
        raise InputError(f"{text[:80]!r}: this is about Workspaces", hint=hint)
    if not is_subdomain(name):
        raise InputError(f"{text[:80]!r} does not name a Workspace", hint="such as falcon")
    return name


class Named(NamedTuple):
    """A name, and the kind that is written before it; the kind is empty for a bare name."""

    kind: Literal["", "workspace", "inferenceset", "multiroleinference"]
    name: str

    def __str__(self) -> str:
        return self.name if self.kind in ("", "workspace") else f"{self.kind}/{self.name}"


def parse_name(text: str) -> Named:
    """The name in `falcon`, `workspace/falcon`, `inferenceset/phis` or `inferenceset.kaito.sh/phis`.

    Raises:
        InputError: the text is no such name.
    """
    kind, slash, name = text.rpartition("/")
    if (kind := kind.removesuffix(".kaito.sh")) in _SETS:
        return Named("inferenceset", workspace_name(name))
    if kind in _OF_ROLES:
        return Named("multiroleinference", workspace_name(name))
    return Named("workspace" if slash else "", workspace_name(text))


def parse_names(texts: Iterable[str]) -> list[Named]:
    """The names, each once, in the order in which they were given."""
    return list(dict.fromkeys(map(parse_name, texts)))


def one_of(value: str, choices: Sequence[str], *, option: str) -> str:
    """The value, if it is one of the choices.

    Raises:
        InputError: it is not.
    """
    if value not in choices:
        raise InputError(f"{option} {value!r}: choose {', '.join(choices[:-1])} or {choices[-1]}")
    return value


def dry_run_note(dry_run: str) -> str:
    """What a line about a write says of `--dry-run`: nothing, or that nothing was written."""
    return "" if dry_run == "none" else f" ({dry_run} dry run)"


# --- output ------------------------------------------------------------------------------------------------

_CHOOSING = ("jsonpath=", "custom-columns=")  # what an expression finds in the JSON


def output_format(value: str, choices: Sequence[str]) -> None:
    """Refuse what a command cannot write; where it has JSON, kubectl's formats that choose from it are right.

    Raises:
        InputError: the format is not among the choices, or its expression is no JSONPath.
    """
    if "json" in choices and value.startswith(_CHOOSING):
        from kaitoctl.screens import output_templates

        output_templates.check(value)
        return
    if value not in choices:
        every = [*choices, *(["jsonpath=...", "custom-columns=..."] if "json" in choices else [])]
        one_of(value, every, option="--output")


def is_structured(value: str) -> bool:
    """Whether the format is of the whole answer, not of a screen."""
    return value in ("json", "yaml") or value.startswith(_CHOOSING)


class SavedLists(Struct, frozen=True):
    """Where saved lists are.

    Args:
        nodes: file of nodes, `-` for stdin; None for those of the cluster.
        pods: file of pods, `-` for stdin; None when it is unknown which GPUs are in use.
    """

    nodes: str | None = None
    pods: str | None = None

    def require_sense(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: pods without nodes, or both from stdin.
        """
        if self.pods is not None and self.nodes is None:
            raise InputError("--pods requires --nodes: a saved list of pods says nothing about today's nodes")
        if self.nodes == self.pods == "-":
            raise InputError("only one of --nodes and --pods can be stdin")


PROVISIONERS = ("azure-gpu-provisioner", "karpenter", "byo")
"""The values of KAITO's `--node-provisioner`."""


class ManagedBy(Struct, frozen=True):
    """Who manages Workspaces, and by what they get nodes, as far as the user says it.

    Args:
        target_version: a release of KAITO, or `kaitoctl`; None for what the cluster shows.
        node_provisioner: one of `PROVISIONERS`; None for what the cluster shows.
    """

    target_version: str | None = None
    node_provisioner: str | None = None

    @property
    def is_said(self) -> bool:
        """Whether the user says anything."""
        return self.target_version is not None or self.node_provisioner is not None

    @property
    def options(self) -> dict[str, str | None]:
        """The same as options of a command."""
        return {"--target-version": self.target_version, "--node-provisioner": self.node_provisioner}

    @property
    def byo(self) -> bool | None:
        """Whether nodes must be brought; None when the user does not say."""
        return None if self.node_provisioner is None else self.node_provisioner == "byo"


NOT_SAID = ManagedBy()


class Manifests(Struct, frozen=True):
    """Which manifests a command is about; `files.sources` finds them.

    Args:
        files: names that are arguments: files, folders, URLs, `-` for stdin.
        filename: the same, of -f.
        recursive: whether the folders below a folder count.
        kustomize: folder of a kustomization, or whatever else kustomize takes.
    """

    files: list[str] | None = None
    filename: list[str] | None = None
    recursive: bool = False
    kustomize: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether any is named."""
        return bool(self.files or self.filename or self.kustomize is not None)

    @property
    def reads_stdin(self) -> bool:
        """Whether stdin is one of them."""
        return "-" in (*(self.files or ()), *(self.filename or ()))

    @property
    def words(self) -> tuple[str, ...]:
        """How another command is pointed at the same; FILE where that is `advice.file_word`'s."""
        if self.kustomize is not None:
            return ("-k", self.kustomize)
        names = dict.fromkeys((*(self.files or ()), *(self.filename or ())))
        is_deep = self.recursive and any(os.path.isdir(name) for name in names if "\0" not in name)  # noqa: PTH112 - no more than a stat
        return (*(word for name in names for word in ("-f", file_word(name))), *(("-R",) if is_deep else ()))

    @property
    def are_files(self) -> bool:
        """Whether files and folders are named, and nothing else."""
        names = (*(self.files or ()), *(self.filename or ()))
        return bool(names) and not any(name == "-" or "://" in name for name in names)


class Which(Struct, frozen=True):
    """Which Workspaces to list.

    Args:
        names: only these; none for all.
        everywhere: whether of all namespaces.
        labels: a label selector; empty for all.
    """

    names: tuple[str, ...] = ()
    everywhere: bool = False
    labels: str = ""
