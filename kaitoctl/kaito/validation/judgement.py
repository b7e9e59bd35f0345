"""A Workspace's problems put together: its schema's first, then the rules'. Pure.

`judge` is the whole answer; `problems` and `update_problems` are the rules alone.
"""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from kaitoctl.advice import shortened
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.validation import object_meta
from kaitoctl.kaito.validation.admission import refusals
from kaitoctl.kaito.validation.create import API_VERSIONS, create_problems
from kaitoctl.kaito.validation.ignored_fields import annotation_problems, field_problems, hint_for
from kaitoctl.kaito.validation.outcomes import is_of_status, with_answers
from kaitoctl.kaito.validation.problem import (
    OWN,
    Problem,
    Setting,
    as_map,
    as_text,
    error,
    warning,
)
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import Object

MOST_PROBLEMS = 100
"""What is said of one document: a file of nonsense must not take minutes."""


def judge(workspace: Object, setting: Setting | None = None, *, old: Object | None = None) -> list[Problem]:
    """Everything that is wrong with a Workspace: its schema's view first, then the rules'.

    Args:
        workspace: the object, defaults filled in or not.
        setting: where it is to live; by default the KAITO version that its apiVersion suggests.
        old: what it is to replace, None when it is to be created.

    Guarantee: never raises, whatever JSON the objects are made of; at most a hundred and one problems.
    """
    from kaitoctl.kube import schema

    setting = setting or Setting()
    version = as_text(as_map(workspace).get("apiVersion"))
    found: list[Problem] = []
    workspace = as_map(workspace)
    if version in API_VERSIONS:
        workspace = schema.without_nulls(workspace, schema_of(version))
        for problem in schema.problems(workspace, schema_of(version), unknown="error", most=MOST_PROBLEMS):
            is_unknown = problem.rule == "unknown"
            if not is_unknown and is_of_status(problem.path):
                hint = "leave status out: it is dropped, and a server-side apply may refuse it"
                found.append(warning(problem.path, "KW101", problem.message, hint))
                continue
            hint = hint_for(problem.path) if is_unknown else ""
            found.append(error(problem.path, "KW102" if is_unknown else "KW101", problem.message, hint))
    found += object_meta.problems(workspace.get("metadata"))
    said = {problem.path for problem in found}
    below = tuple(path + mark for path in said if path for mark in ".[")
    subject = Subject(workspace, setting, is_update=old is not None)
    before = None if old is None else Subject(_plain(old), setting)
    rules = list(islice(create_problems(subject), MOST_PROBLEMS))
    if before is not None:
        from kaitoctl.kaito.validation.update import changes

        rules += changes(before, subject)
    rest = [
        problem
        for problem in with_answers(rules, refusals(subject, before), subject)
        if problem.path not in said and not problem.path.startswith(below)
    ]
    found = [_unrendered(problem, workspace) for problem in (*with_answers(found, (), subject), *rest)]
    if len(found) > MOST_PROBLEMS:
        del found[MOST_PROBLEMS:]
        found.append(error("", "KW104", f"more than {MOST_PROBLEMS} problems"))
    return found


_PLACEHOLDER = re.compile(r"\{\{.{0,200}?\}\}|\$\{\w{1,80}\}|\$\(\w{1,80}\)", re.DOTALL)


def _unrendered(problem: Problem, workspace: Object) -> Problem:
    """The problem, with what to do where its value is a placeholder that nobody filled in."""
    value: object = workspace
    for step in re.findall(r"[^.\[\]]+", problem.path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and re.fullmatch(r"[0-9]{1,5}", step):
            value = next(islice(value, int(step), int(step) + 1), None)
    found = _PLACEHOLDER.search(value[:2000]) if isinstance(value, str) else None
    if found is None:
        return problem
    words = shortened(found[0], 80)
    return replace(problem, hint=f"{words} was not filled in: render the template (Helm, envsubst) first")


def problems(workspace: Object, setting: Setting | None = None) -> list[Problem]:
    """What the rules find in a Workspace to be created; values of a wrong type are left to the schema.

    Args:
        workspace: the object, defaults filled in or not.
        setting: where it is to live; by default kaitoctl's own controller.

    Guarantee: never raises, whatever JSON the object is made of; the order is that of the fields.
    """
    subject = Subject(as_map(workspace), setting or Setting(OWN))
    return list(with_answers(create_problems(subject), refusals(subject), subject))


def not_used(workspace: Object, known: Catalog) -> list[Problem]:
    """What kaitoctl's own controller accepts of a Workspace and does not use.

    Guarantee: never raises, whatever JSON the object is made of.
    """
    subject = Subject(as_map(workspace), Setting(OWN, catalog=known))
    found = (*annotation_problems(subject), *field_problems(subject))
    return list({problem.path: problem for problem in found}.values())


def update_problems(old: Object, new: Object, setting: Setting | None = None) -> list[Problem]:
    """What forbids turning the Workspace `old` into `new`; the rules for `new` by itself are not repeated.

    Fields left out count as their defaults, as they do for the API server.

    Guarantee: never raises, whatever JSON the objects are made of.
    """
    setting = setting or Setting()
    from kaitoctl.kaito.validation.update import CHANGES, changes

    before, after = Subject(_plain(old), setting), Subject(_plain(new), setting, is_update=True)
    found = with_answers(changes(before, after), refusals(after, before), after)
    return [problem for problem in found if problem.code in CHANGES or setting.target == OWN]


def _plain(workspace: Object) -> Object:
    """The object as the API server stores it: without unknown fields, and nulls that mean nothing."""
    version, found = as_text(as_map(workspace).get("apiVersion")), as_map(workspace)
    if version not in API_VERSIONS:
        return found
    from kaitoctl.kube import schema, schema_defaults

    known = schema_of(version)
    stored: Object = schema_defaults.prune(schema.without_nulls(found, known), known)
    return stored


def schema_of(api_version: str) -> Object:
    """The OpenAPI v3 schema of Workspaces of an API version, `v1alpha1` or `kaito.sh/v1alpha1`.

    Raises:
        KeyError: KAITO has no such version.
    """
    return _schemas()[api_version.rpartition("/")[2]]


@cache
def _schemas() -> dict[str, Object]:
    """What schemas/kaito.sh_workspaces.yaml has under each version, as JSON, which loads sooner."""
    table = Path(__file__).parent.parent / "tables" / "workspace_schemas.json"
    schemas: dict[str, Object] = json.loads(table.read_text("utf-8"))
    return schemas
