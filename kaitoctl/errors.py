"""The few ways in which kaitoctl can fail.

Each class knows the process's exit code, and each instance may carry a hint: the one thing to do next.
Below `cli/app.py` nobody exits and nobody prints; they raise one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from kaitoctl.advice import NO_FLAGS, Advice


class ExitCode(IntEnum):
    """How the process ends."""

    DONE = 0
    NEGATIVE = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    REFUSED = 4
    TIMED_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


class KaitoctlError(Exception):
    """Root of everything that kaitoctl raises on purpose.

    Args:
        message: what failed, and which object or file.
        hint: what the user can do about it; empty when there is nothing sensible to say.

    Attributes:
        flags: lead the commands of its hint to the cluster that it came from.
        may_be_done: whether what failed may have happened all the same, which the message says.
    """

    exit_code = ExitCode.NEGATIVE

    def __init__(self, message: str, *, hint: Advice = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.flags = NO_FLAGS
        self.may_be_done = False


class NegativeAnswer(KaitoctlError):
    """The question was answered, and the answer is no: a rollout failed, nodes are missing."""


class InputError(KaitoctlError):
    """What the user gave is not usable; nothing was written.

    Args:
        message: a summary, or the only problem.
        problems: one line per problem when there are several.
        hint: what to change.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: Advice = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class Unreachable(KaitoctlError):
    """The cluster could not be asked: no connection, no answer in time, or no valid TLS.

    Args:
        message: which server, and why.
        cause: why, by itself; empty when there was an answer that makes no sense.
        is_broken: there was a connection, and it was lost before the answer was whole.
        hint: what to look at.
    """

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, message: str, *, cause: str = "", is_broken: bool = False, hint: Advice = "") -> None:
        super().__init__(message, hint=hint)
        self.cause = cause
        self.is_broken = is_broken


class ApiError(KaitoctlError):
    """The API server answered with an error Status.

    Args:
        status: the HTTP status code.
        reason: the Status's machine-readable reason, such as `NotFound` or `Conflict`.
        message: the server's own words.
        details: the Status's `details` object, empty when there was none.
        retry_after_s: seconds the server asked to wait, or None.
    """

    exit_code = ExitCode.REFUSED

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        details: dict[str, object] | None = None,
        retry_after_s: float | None = None,
        hint: Advice = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason
        self.details = details or {}
        self.retry_after_s = retry_after_s

    @property
    def causes(self) -> list[dict[str, object]]:
        """The Status's `details.causes`: dicts with `reason`, `message` and `field`, where they are said."""
        said = self.details.get("causes")
        return [item for item in said if isinstance(item, dict)] if isinstance(said, list) else []

    @property
    def is_unknown_resource(self) -> bool:
        """True when the server knows no such resource at all (no CRD), as opposed to no such object."""
        return self.status == 404 and not self.details.get("name")


class TimedOut(KaitoctlError):
    """What was waited for did not happen in the time given."""

    exit_code = ExitCode.TIMED_OUT


class Unread(KaitoctlError):
    """Whoever read the output has gone; nothing went wrong."""

    exit_code = ExitCode.DONE


class Interrupted(KaitoctlError):
    """The user pressed Ctrl-C."""

    exit_code = ExitCode.INTERRUPTED
