"""The settings of a change of an adapter, and the validation of its result: for clusters and files alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.commands import option_values
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.target_release import check_manager
from kaitoctl.errors import InputError
from kaitoctl.kaito import adapter_rollout, adapters, catalog_file
from kaitoctl.kube.objects import key_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.commands.adapter_options import AdapterOptions
    from kaitoctl.kaito.adapters import Change
    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.validation import Problem, Setting
    from kaitoctl.kube.objects import Object

MakeChange = Callable[["Object", bool, "Object | None"], "Change"]
"""Given the Workspace, whether its server wants strengths, and the tuning Workspace: the change."""


class AdapterSettings(Struct, frozen=True):
    """What is to happen with a change.

    Args:
        filename: of a manifest to edit instead of a cluster.
        dry_run: `none`, `client` or `server`.
        output: `yaml`, `json`, `name` or None.
        yes: whether to skip the confirmation prompt.
        wait: whether to follow the rollout.
        timeout_s: for how long; None for the preset's budget.
        force_conflicts: whether to take the field over.
        rollback_on_failure: whether to roll the change back when it fails.
        managed: who manages Workspaces, as far as the user says it.
        catalog: of presets and instance types.
        smoke_test: whether to send a prompt when it is ready, on whatever cluster.
    """

    filename: str | None
    dry_run: str
    output: str | None
    yes: bool
    wait: bool
    timeout_s: float | None
    force_conflicts: bool
    rollback_on_failure: bool
    managed: ManagedBy
    catalog: Catalog
    smoke_test: bool


def settings_of(given: AdapterOptions) -> AdapterSettings:
    """The options, checked, and the catalog that they name, read.

    Raises:
        InputError: a value is not valid, or two options contradict each other.
    """
    known = catalog_file.read(given.catalog)
    option_values.one_of(given.dry_run, ("none", "client", "server"), option="--dry-run")
    if given.output_format is not None:
        option_values.output_format(given.output_format, ("yaml", "json", "name"))
    managed = ManagedBy(given.target_version, given.node_provisioner)
    check_manager(managed)
    if given.rollback_on_failure and not given.wait:
        raise InputError(
            "--rollback-on-failure and --no-wait exclude each other: without waiting, no failure is seen"
        )
    if given.smoke_test and not given.wait:
        raise InputError("--smoke-test and --no-wait exclude each other: it asks when the model is ready")
    return AdapterSettings(
        filename=given.filename,
        dry_run=given.dry_run,
        output=given.output_format,
        yes=given.yes,
        wait=given.wait,
        timeout_s=option_values.duration_s(given.timeout) if given.timeout else None,
        force_conflicts=given.force_conflicts,
        rollback_on_failure=given.rollback_on_failure,
        managed=managed,
        catalog=known,
        smoke_test=given.smoke_test,
    )


class AdapterCheck:
    """Validates a Workspace before each attempt to write it.

    Args:
        setting: where it lives; None to let everything pass.
        pods: its pods, which show which runtime serves them.
    """

    def __init__(self, setting: Setting | None, pods: Sequence[Object]) -> None:
        self._setting = setting
        self._pods = pods
        self._warnings: list[Problem] = []

    @classmethod
    def of_nothing(cls) -> AdapterCheck:
        """For a rollback: what was there before may return, valid or not."""
        return cls(None, ())

    def __call__(self, before: Object, after: Object) -> None:
        """Validate the Workspace as it would be.

        Raises:
            InputError: it has errors.
        """
        if self._setting is None:
            return
        on_vllm = adapter_rollout.is_on_vllm(self._pods, before)
        problems = adapters.faults(before, after, self._setting, is_on_vllm=on_vllm)
        raise_errors(problems, f"Workspace {key_of(before)}")
        self._warnings = [problem for problem in problems if problem.severity == "warning"]

    def show_warnings(self) -> None:
        """Show the warnings of the last validation."""
        for problem in self._warnings:
            output.warning(f"{problem.path}: {problem.message}", hint=problem.hint)


def raise_errors(problems: Sequence[Problem], what: str) -> None:
    """Refuse a Workspace that has errors.

    Raises:
        InputError: with all errors.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if len(errors) == 1:
        raise InputError(f"{what}: {errors[0].text}; nothing was written", hint=errors[0].hint)
    if errors:
        raise InputError(f"{what}: nothing was written", problems=[item.line for item in errors])
