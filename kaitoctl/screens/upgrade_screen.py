"""What an upgrade does to Workspaces, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito.node_check import plural
from kaitoctl.kaito.planning import span
from kaitoctl.kaito.upgrade import WORDS, is_reached

if TYPE_CHECKING:
    from kaitoctl.kaito.upgrade import Effect


def lines(
    found: Sequence[Effect],
    release: str,
    to: str,
    *,
    where: Sequence[str],
    are_files: bool,
    provisioner: str = "",
) -> Iterator[Advice]:
    """An entry for each Workspace, the order of work, and the sum.

    Args:
        found: what becomes of each.
        release: that there is.
        to: the one to come.
        where: options that name the manifests; none for those of a cluster.
        are_files: whether they can be changed in place.
        provisioner: of the new KAITO, where it was said.
    """
    for one in found:
        mark = "✗" if one.breaks else "=" if one.is_fine else "~"
        yield f"{mark} Workspace {one.key}: {WORDS[one.outcome]}"
        yield from ("    " + line for line in _details(one))
    way = ("--node-provisioner", provisioner) if provisioner else ()
    yield from _steps(found, release, to, where, way, are_files=are_files)
    counts = {
        "break": sum(one.breaks for one in found),
        "restart": sum(bool(one.outage.pods) for one in found),
        "without a workload": sum(one.outcome == "nothing" for one in found),
        "to be rewritten": sum(one.is_rewritten for one in found),
        "as they should be": sum(one.is_fine for one in found),
    }
    words = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    yield f"{len(found)} {plural('Workspace', len(found))} from {release} to {to}: {words or 'none'}"


def _details(one: Effect) -> Iterator[Advice]:
    if one.source != "cluster":
        yield f"in {one.source}"
    # What conversion finds refused is mostly the same fact once more: its commands are what to do about it.
    of_refusals = {remark.path: remark.commands for remark in one.remarks if remark.is_refusal}
    refused = set()
    for line in one.problems:
        yield f"refused: {line}"
        refused.add(path := line.partition(": ")[0])
        yield from (f"    {command}" for command in of_refusals.pop(path, ()))
    for remark in one.remarks:
        if not (remark.is_refusal and remark.path in refused):
            yield f"{remark.path}: {remark.message}"
            yield from (f"    {command}" for command in remark.commands)
    if one.outage.pods:
        yield one.outage.words
    if one.nodes_asked:
        least = "at least " if one.unsized else ""
        words = f"nodes asked for: {least}{one.nodes_asked}, as those that there are are not recognised"
        if one.outcome == "nothing":
            words = f"nodes asked for: {least}{one.nodes_asked}, if the new release accepts it"
        elif one.source != "cluster":
            most = least or "at most "
            words = f"nodes asked for: {most}{one.nodes_asked}, as preferredNodes are not read any more"
        yield words + ("; " + one.unsized if one.unsized else "")
    elif one.unsized:
        yield "nodes asked for: how many is not known: " + one.unsized
    yield from one.machines
    if one.clients:
        yield f"clients: {one.clients}"


def _steps(
    found: Sequence[Effect],
    release: str,
    to: str,
    where: Sequence[str],
    way: Sequence[str],
    *,
    are_files: bool,
) -> Iterator[Advice]:
    """In which order; only what is needed, and the commands for it."""
    steps: list[tuple[str, tuple[Advice, ...]]] = []
    if any(one.breaks for one in found):
        words = "decide about the Workspaces marked ✗: another model or instance type, or their end"
        steps.append((words, ()))
    if not is_reached(release, to):
        keeping = Command("kubectl get workspaces -A -o yaml") + " > workspaces-before.yaml"
        steps.append(("keep what there is:", (keeping,)))
        words = f"apply the CRDs of KAITO {to} (helm upgrade leaves CRDs as they are), then upgrade its chart"
        steps.append((words, ()))
    if restarting := [one for one in found if one.outage.pods]:
        most = max(one.outage.most_s for one in restarting)
        words = (
            f"wait: {len(restarting)} {plural('Workspace', len(restarting))} will restart, all at once, when "
            f"the new controller starts: {span(most)} at most"
        )
        steps.append((words, ()))
    if any(one.is_rewritten for one in found):
        rewrite = Command("kaitoctl convert", *where, "--to", "v1beta1", *way, "--in-place")
        printing = Command("kaitoctl upgrade plan --to", to, *where, *way, "-o", "manifests")
        first: Advice = rewrite if are_files else printing + " > workspaces.yaml"
        second = Command("kaitoctl plan", *(where if are_files else ("-f", "workspaces.yaml")))
        steps.append(("rewrite the manifests, and look at what they change:", (first, second)))
    if is_reached(release, to):
        yield f"KAITO is {release} already: there is nothing to upgrade"
        if not steps:
            return
    steps.append(("verify:", (Command("kaitoctl upgrade verify --to", to, *(where if are_files else ())),)))
    yield "Order:"
    for number, (words, commands) in enumerate(steps, start=1):
        yield f"  {number}. {words}"
        yield from ("       " + command for command in commands)
