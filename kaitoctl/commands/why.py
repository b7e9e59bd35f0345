"""`kaitoctl why`: the root cause that keeps a Workspace from being ready, with evidence and how to fix it."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaitoctl.advice import NO_FLAGS, ClusterFlags, shortened_inside, text
from kaitoctl.commands import option_values
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.name_lookup import each, say_missing, workspace_or_fleet
from kaitoctl.commands.observe_deeply import with_evidence
from kaitoctl.commands.observe_workspace import snapshot_of
from kaitoctl.commands.option_values import ManagedBy, Named
from kaitoctl.commands.target import Target
from kaitoctl.commands.target_release import check_manager
from kaitoctl.commands.why_answer import Answer
from kaitoctl.errors import ExitCode
from kaitoctl.kaito import catalog_file
from kaitoctl.kaito.diagnosis import diagnose
from kaitoctl.kaito.rollout import standing
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kaito.view_json import cause_json
from kaitoctl.kube.objects import ObjectKey, key_of
from kaitoctl.screens import output
from kaitoctl.screens.layout import BLANK, Block, Command, Paragraph
from kaitoctl.screens.output import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.diagnosis import Cause, Diagnosis
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Object

_OUTPUTS = ("text", "json", "yaml", "short", "name")
_LONGEST_EVIDENCE = 240
_MARKS = {"fault": "✗", "wait": "!", "note": "-"}


def why(
    *, names: Sequence[str], output_format: str, catalog: str | None, managed: ManagedBy, target: Target
) -> int:
    """Explain why Workspaces are not ready: of each one root cause, its evidence, and how to fix it."""
    known = catalog_file.read(catalog)
    option_values.output_format(output_format, _OUTPUTS)
    check_manager(managed)
    return asyncio.run(_why(target, option_values.parse_names(names), output_format, known, managed))


async def _why(
    target: Target, names: Sequence[Named], output_format: str, known: Catalog, managed: ManagedBy
) -> int:
    async with connected(target) as client:
        answers, missing = await each(names, lambda asked: _answer(client, target, asked, known, managed))
        if answers:
            _show(answers, output_format, is_list=[asked for asked, _ in answers] != list(names[:1]))
        say_missing(missing)
    return ExitCode.DONE if all(answer.is_well for _, answer in answers) else ExitCode.NEGATIVE


def _show(answers: Sequence[tuple[Named, Answer]], output_format: str, *, is_list: bool) -> None:
    if option_values.is_structured(output_format):
        found = [answer.structured for _, answer in answers]
        output.write_structured({"workspaces": found} if is_list else found[0], output_format)
    elif output_format == "name":
        for _, answer in answers:
            if not answer.is_well:
                output.data(answer.name)
    elif output_format == "short":
        for asked, answer in answers:
            output.data(f"{asked}: {answer.short}" if is_list else answer.short)
    else:
        first, *others = (answer.blocks for _, answer in answers)
        output.show([*first, *(block for blocks in others for block in (BLANK, *blocks))])


async def _answer(client: Client, target: Target, asked: Named, known: Catalog, managed: ManagedBy) -> Answer:
    async def read(client: Client, key: ObjectKey) -> Snapshot:
        return await snapshot_of(client, key, catalog=known)

    seen = await workspace_or_fleet(client, asked, read)
    if not isinstance(seen, Snapshot):
        from kaitoctl.commands import why_fleet  # most names are those of Workspaces

        answer = await why_fleet.look_at(client, target, seen)
        if isinstance(answer, Answer):
            return answer
        seen = await read(client, answer)
    workspace = seen.workspace
    assert workspace is not None
    key = key_of(workspace)
    seen = await with_evidence(client, seen, is_sandbox=target.sandbox, managed=managed)
    found = diagnose(seen, datetime.now(UTC))
    return Answer(
        output.resource_name(workspace),
        found.cause is None,
        as_json(found, key, seen, target.flags),
        short(found, target.flags),
        report(found, key, seen, target.flags),
    )


def as_json(found: Diagnosis, key: ObjectKey, seen: Snapshot, flags: ClusterFlags = NO_FLAGS) -> Object:
    """The diagnosis as documented in docs/status.md."""
    first = found.cause
    return {
        "workspace": str(key),
        "ready": found.is_ready,
        "phase": found.progress.words,
        "detail": found.progress.detail,
        "cause": None if first is None else cause_json(first, flags),
        "others": [cause_json(cause, flags) for cause in found.causes if cause is not first],
        "unseen": dict(seen.unseen),
    }


def short(found: Diagnosis, flags: ClusterFlags = NO_FLAGS) -> str:
    """One line."""
    if found.cause is None:
        return visible(standing(found.progress.words, found.progress.detail))
    cause = found.cause
    command = f" -> {text(cause.command, flags)}" if cause.command else ""
    return visible(f"{cause.code}: {cause.about}: {cause.message}{command}")


def report(found: Diagnosis, key: ObjectKey, seen: Snapshot, flags: ClusterFlags = NO_FLAGS) -> list[Block]:
    """The verdict, the root cause with its evidence, the other findings, and what could not be read."""
    where = standing(found.progress.words, found.progress.detail)
    if found.is_ready:
        mark, head = "✔", f"Workspace {key} is {where}"
    elif found.cause is None:
        mark, head = "-", f"Workspace {key} is progressing ({where}); nothing blocks it"
    else:
        mark, head = _MARKS[found.cause.weight], f"Workspace {key} is not ready: {found.progress.words}"
    blocks: list[Block] = [Paragraph(head, mark=mark)]
    if found.cause is not None:
        blocks += [BLANK, *_root_cause(found.cause, flags)]
    others = [cause for cause in found.causes if cause is not found.cause]
    if others:
        blocks += [BLANK, Paragraph("Also found:")]
        for cause in others:
            blocks += _other_cause(cause, flags)
    if seen.unseen:
        blocks += [BLANK, Paragraph("Unavailable:")]
        blocks += [Paragraph(f"{what}: {reason}", indent=2) for what, reason in seen.unseen.items()]
    return blocks


def _root_cause(cause: Cause, flags: ClusterFlags) -> Iterator[Block]:
    yield Paragraph(f"{cause.about}  [{cause.code}]")
    yield Paragraph(_sentence(cause.message, cause.about), indent=2)
    if cause.evidence:
        yield BLANK
        for source, words in cause.evidence:
            yield Paragraph(f"{source}: {shortened_inside(words, _LONGEST_EVIDENCE)}", indent=2, hang=2)
    yield BLANK
    if cause.hint:
        yield Paragraph(_sentence(text(cause.hint, flags)), indent=2)
    if cause.command:
        yield Command(text(cause.command, flags))
    yield Command(f"kaitoctl explain {cause.code}", lead="More: ", indent=2)


def _other_cause(cause: Cause, flags: ClusterFlags) -> Iterator[Block]:
    yield Paragraph(f"{cause.about}: {cause.message} [{cause.code}]", indent=2)
    if cause.command:
        yield Command(text(cause.command, flags))


def _sentence(words: str, about: str = "") -> str:
    """A capital at the beginning, and a full stop; what is a name, such as an image's, keeps its letters."""
    first = words.partition(" ")[0].rstrip(":,.")
    is_name = first in re.split(r"[\s,]+", about) or re.search(r"[A-Z./:@_=]", first)
    begun = words if is_name else words[:1].upper() + words[1:]
    return begun + ("" if words.endswith((".", "!", "?")) else ".")
