"""View <-> JSON: what `status -o json` prints, `--record` writes and `replay` reads. Pure.

It leaves out what looks like a token in somebody's message.
"""

from __future__ import annotations

from typing import Any

from kaitoctl.advice import ClusterFlags, text
from kaitoctl.kaito.diagnosis import Cause
from kaitoctl.kaito.rollout import Phase
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kaito.view import Condition, View
from kaitoctl.kaito.view_tree import Item
from kaitoctl.kube.objects import (
    Object,
)


def as_json(shown: View) -> Object:
    """The view as documented in docs/status.md; `of_json` reads it."""
    made: Object = without_secrets(_as_json(shown))
    return made


def _as_json(shown: View) -> Object:
    return {
        "workspace": shown.workspace,
        "title": shown.title,
        "generation": shown.generation,
        "phase": shown.phase.name.lower(),
        "detail": shown.detail,
        "outcome": shown.outcome,
        "down": shown.down,
        "since": shown.since,
        "budget_s": shown.budget_s,
        "stations": [phase.name.lower() for phase in shown.stations],
        "cause": cause_json(shown.cause, shown.flags) if shown.cause else None,
        "conditions": [
            {
                "type": item.type,
                "status": item.status,
                "reason": item.reason,
                "message": item.message,
                "since": item.since,
                "generation": item.generation,
            }
            for item in shown.conditions
        ],
        "log": shown.log,
        "loaded": shown.loaded,
        "unseen": list(shown.unseen),
        "tree": _item_json(shown.tree),
    }


def cause_json(cause: Cause, flags: ClusterFlags) -> Object:
    """A cause for machines."""
    return {
        "code": cause.code,
        "weight": cause.weight,
        "about": cause.about,
        "message": cause.message,
        "evidence": [{"source": source, "text": text} for source, text in cause.evidence],
        "hint": text(cause.hint, flags),
        "command": text(cause.command, flags),
    }


def _item_json(item: Item) -> Object:
    return {
        "kind": item.kind,
        "name": item.name,
        "mark": item.mark,
        "status": item.status,
        "since": item.since,
        "info": item.info,
        "children": [_item_json(child) for child in item.children],
    }


_DEEPEST = 12


def of_json(value: Any) -> View:
    """The view that `as_json` has written.

    Raises:
        ValueError: it is none.
    """
    try:
        cause = value["cause"]
        found = None
        if cause is not None:
            evidence = tuple((str(item["source"]), str(item["text"])) for item in cause["evidence"])
            texts = {key: str(cause[key]) for key in ("code", "about", "message", "hint", "command")}
            weight = cause["weight"]
            if weight not in ("fault", "wait", "note"):
                raise ValueError(weight)
            found = Cause(evidence=evidence, weight=weight, **texts)
        return View(
            workspace=str(value["workspace"]),
            title=str(value["title"]),
            generation=int(value["generation"]),
            phase=Phase[str(value["phase"]).upper()],
            detail=str(value["detail"]),
            outcome=value["outcome"] if value["outcome"] in ("ready", "failed") else None,
            stations=tuple(Phase[str(name).upper()] for name in value["stations"]),
            since=str(value["since"]),
            budget_s=float(value["budget_s"]),
            tree=_item_of(value["tree"]),
            conditions=tuple(
                Condition(
                    type=str(item["type"]),
                    status=str(item["status"]),
                    reason=str(item["reason"]),
                    message=str(item["message"]),
                    since=str(item["since"]),
                    generation=int(item["generation"]),
                )
                for item in value["conditions"]
            ),
            cause=found,
            trouble=f"{found.code} {found.about}" if found else "",
            unseen=tuple(map(str, value["unseen"])),
            down=value.get("down") is True,
            log=str(value.get("log") or ""),
            loaded=None if value.get("loaded") is None else float(value["loaded"]),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a view of a Workspace: {error}") from error


def _item_of(value: Any, depth: int = 0) -> Item:
    if depth > _DEEPEST or value["mark"] not in ("ok", "busy", "bad", "off"):
        raise ValueError("not a tree of objects")
    return Item(
        kind=str(value["kind"]),
        name=str(value["name"]),
        mark=value["mark"],
        status=str(value["status"]),
        since=str(value["since"]),
        info=str(value["info"]),
        children=tuple(_item_of(child, depth + 1) for child in value["children"]),
    )
