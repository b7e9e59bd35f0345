"""`kaitoctl plan`: what applying manifests would do, before anybody does it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.commands import invocation, make_plan, option_values, plan_documents
from kaitoctl.commands.cluster import connected
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import InputError
from kaitoctl.kaito import catalog_file, planning
from kaitoctl.kaito.prices import read_prices
from kaitoctl.screens import markdown, output, plan_screen
from kaitoctl.screens.layout import indented

if TYPE_CHECKING:
    from kaitoctl.commands.option_values import Manifests
    from kaitoctl.commands.target import Target
    from kaitoctl.kaito.planning import Plan


def plan(
    *,
    given: Manifests,
    output_format: str,
    out: str | None,
    force_conflicts: bool,
    managed: ManagedBy,
    catalog: str | None,
    prices: str | None,
    target: Target,
) -> int:
    """Say what applying the manifests would do."""
    option_values.output_format(output_format, ("text", "json", "yaml", "markdown", "name"))
    costs = read_prices(prices)
    known = catalog_file.read(catalog)
    check_manager(managed)
    asked = make_plan.PlanRequest(target.sandbox, managed, force_conflicts, known, target.flags)
    # All that is read from now on is kept until the plan is shown: looking for garbage among it finds none,
    # and takes a tenth of a plan for hundreds of Workspaces.
    gc.set_threshold(1_000_000)
    written = plan_documents.documents_of(given)
    found = invocation.answer_of(_plan(target, written, asked))
    if option_values.is_structured(output_format):
        output.write_structured(found.as_json(costs), output_format, rows="changes")
    elif output_format == "name":
        for change in found.written:
            output.data(output.resource_name({**change.body, "kind": change.kind}))
    elif output_format == "markdown":
        *entries, summary = map(output.visible, plan_screen.lines(found, target.flags, costs))
        output.data(markdown.comment("plan", summary, entries))
    else:
        output.show([indented(line) for line in plan_screen.lines(found, target.flags, costs)])
    if out is not None and not found.refused:
        _keep(found, given, out, target)
    elif out is not None:
        output.warning(f"--out {out}: not written, as something is refused")
    return found.exit_code


async def _plan(target: Target, written: list[plan_documents.Written], asked: make_plan.PlanRequest) -> Plan:
    async with connected(target) as client:
        return await make_plan.make(client, written, asked)


def _keep(found: Plan, given: Manifests, path: str, target: Target) -> None:
    kept = {**found.as_json(), planning.GIVEN: list(given.words)}
    try:
        Path(path).write_text(output.json_text(kept, 2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror}") from None
    apply = target.text(Command("kaitoctl apply --plan", path))
    output.success(f"kept in {path}; {apply} applies just this")
