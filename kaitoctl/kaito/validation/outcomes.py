"""What the KAITO that is judged for does with a problem: refuse it, crash on it, never get ready, ignore it.

`admission` says what is refused. `ADMITTED` says what becomes of the rest, code by code. A rule that only
repeats the webhook has no row for what the webhook admits, and then has nothing to say.

Source: the controllers of KAITO v0.3.2, v0.4.0, v0.4.6, v0.9.4 and v0.12.0, the first and the last of which
were seen with each kind of manifest that they admit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from kaitoctl.kaito.validation.grammar import is_dns_name, is_service_name
from kaitoctl.kaito.validation.problem import OWN, Answer, Problem
from kaitoctl.kaito.validation.subject import Subject


def _name(subject: Subject, problem: Problem) -> Answer:
    if not is_dns_name(subject.name):
        return "refuses"  # the API server does
    # Kubernetes takes a digit in front of a Service's name since its gate RelaxedServiceNameValidation.
    return "admits" if is_service_name("a" + subject.name[:62]) else "never-ready"


def _no_label(subject: Subject, problem: Problem) -> Answer:
    if problem.path == "resource":
        return "never-ready"
    return "never-ready" if subject.is_old else "admits"


def _count(subject: Subject, problem: Problem) -> Answer:
    is_estimated = subject.has_estimator and subject.runtime == "vllm"
    return "ignores" if is_estimated and subject.inference.get("preset") else "never-ready"


def _selector(subject: Subject, problem: Problem) -> Answer:
    return "ignores" if subject.tuning else "never-ready"


def _label(subject: Subject, problem: Problem) -> Answer:
    return "refuses" if problem.path.startswith("metadata.") else "never-ready"


def _type(subject: Subject, problem: Problem) -> Answer:
    # A preset's command and the estimate of its nodes need the type's figures, a template does not.
    is_sized = subject.has_estimator and bool(subject.inference.get("preset") or subject.tuning)
    return "never-ready" if is_sized and problem.severity == "error" else "admits"


def _image(subject: Subject, problem: Problem) -> Answer:
    is_read = subject.is_old or not problem.path.startswith("inference.preset.")
    return "never-ready" if is_read else "ignores"


def _tuned(subject: Subject, problem: Problem) -> Answer:
    return "never-ready" if subject.has_estimator else "crashes"


def _partition(subject: Subject, problem: Problem) -> Answer:
    is_asked = subject.is_new and not subject.is_update and bool(subject.inference)
    return "refuses" if is_asked and problem.path.startswith("resource.partition") else "never-ready"


def _length(subject: Subject, problem: Problem) -> Answer:
    # The webhook does not look again, and running pods do not either.
    return "ignores" if subject.is_update else "never-ready"


def _schema(subject: Subject, problem: Problem) -> Answer:
    # The status is a subresource: create and update drop it before anybody looks at it. Of a field that the
    # schema does not have, strict decoding hears before that (KW102).
    return "ignores" if is_of_status(problem.path) else "refuses"


def _unread(subject: Subject, problem: Problem) -> Answer:
    return problem.kaito or "refuses"  # see `of_unread`


def _pod_key(subject: Subject, problem: Problem) -> Answer:
    return problem.kaito or "refuses"  # see `pod_keys`


def is_of_status(path: str) -> bool:
    """Whether a path is the status or below it."""
    return path == "status" or path.startswith(("status.", "status["))


def of_unread(read: Sequence[Sequence[Problem]]) -> Answer:
    """The answer to a document that cannot be read safely.

    Args:
        read: the problems of each object that kubectl takes it for; none where kubectl refuses it, too.
    """
    is_refused = any(problem.kaito == "refuses" for problems in read for problem in problems)
    return "refuses" if not read or is_refused else "admits"


_Judge = Callable[[Subject, Problem], Answer]

_CASES: Mapping[_Judge, tuple[Answer, ...]] = {
    _schema: ("refuses", "ignores"),
    _unread: ("refuses", "admits"),
    _pod_key: ("refuses", "never-ready"),
    _name: ("refuses", "admits", "never-ready"),
    _no_label: ("never-ready", "admits"),
    _count: ("never-ready", "ignores"),
    _selector: ("never-ready", "ignores"),
    _label: ("refuses", "never-ready"),
    _type: ("never-ready", "admits"),
    _image: ("never-ready", "ignores"),
    _tuned: ("crashes", "never-ready"),
    _partition: ("refuses", "never-ready"),
    _length: ("never-ready", "ignores"),
}
"""What each of these may say."""

REFUSABLE = frozenset(
    (
        "KW110", "KW117", "KW120", "KW127", "KW128", "KW129", "KW130", "KW134", "KW135", "KW136", "KW138",
        "KW139", "KW140", "KW141", "KW142", "KW143", "KW144", "KW145", "KW150", "KW151", "KW152", "KW153",
        "KW155", "KW156", "KW158", "KW161", "KW162", "KW165", "KW166", "KW170", "KW171", "KW172", "KW173",
        "KW174", "KW175", "KW177", "KW180", "KW181", "KW182", "KW190", "KW191", "KW192", "KW193", "KW194",
        "KW195", "KW196", "KW197", "KW198", "KW200", "KW201",
    )
)  # fmt: skip
"""The codes of which some release's webhook refuses some case."""

ADMITTED: Mapping[str, Answer | _Judge] = {
    "KW100": _unread,
    "KW101": _schema,
    **dict.fromkeys(("KW102", "KW103", "KW104", "KW106", "KW107", "KW108"), "refuses"),
    "KW105": _pod_key,
    "KW109": "admits",
    "KW110": _name,
    "KW111": "never-ready",
    "KW112": "refuses",
    "KW113": _label,
    **dict.fromkeys(("KW114", "KW115", "KW116", "KW117"), "ignores"),
    "KW119": "never-ready",
    "KW120": _no_label,
    "KW121": "ignores",
    "KW122": "ignores",
    "KW123": _count,
    **dict.fromkeys(("KW124", "KW125", "KW126", "KW127"), "ignores"),
    "KW128": _selector,
    "KW129": _partition,
    "KW130": _type,
    **dict.fromkeys(("KW131", "KW132", "KW133", "KW134", "KW135", "KW137"), "never-ready"),
    "KW136": _partition,
    "KW138": "admits",
    "KW141": "never-ready",
    "KW145": _image,
    "KW146": "ignores",
    "KW147": "never-ready",
    "KW148": _image,
    "KW149": "admits",
    "KW150": "admits",
    **dict.fromkeys(("KW151", "KW152", "KW154", "KW155", "KW156"), "never-ready"),
    "KW157": "crashes",
    **dict.fromkeys(("KW158", "KW159", "KW160", "KW161", "KW162", "KW163", "KW164"), "ignores"),
    "KW166": "never-ready",
    **dict.fromkeys(("KW167", "KW168", "KW169"), "ignores"),
    "KW170": "never-ready",
    "KW171": _tuned,
    **dict.fromkeys(("KW172", "KW173", "KW174"), "never-ready"),
    "KW175": "admits",
    "KW176": "ignores",
    "KW181": "admits",
    "KW183": "ignores",
    "KW184": "refuses",
    "KW185": "ignores",
    **dict.fromkeys(("KW186", "KW187", "KW188", "KW189"), "never-ready"),
    **dict.fromkeys(("KW190", "KW191", "KW192", "KW193", "KW194"), "never-ready"),
    **dict.fromkeys(("KW195", "KW196", "KW197"), _length),
    "KW199": "ignores",
    "KW202": _length,
    "KW203": "crashes",
}
"""What becomes of a problem that the admission lets through; a code that is missing is then no problem."""

FIXED = frozenset(
    (
        "KW123", "KW130", "KW131", "KW132", "KW133", "KW134", "KW135", "KW136", "KW137", "KW138", "KW147",
        "KW149", "KW166", "KW170", "KW171",
    )
)  # fmt: skip
"""What is said of the instance type, the number of nodes and the preset, which cannot change: of a Workspace
that exists nobody judges it again, and no edit could help."""

_ORDER: tuple[Answer, ...] = ("refuses", "crashes", "never-ready", "ignores", "admits")


def possible(code: str) -> tuple[Answer, ...]:
    """What KAITO releases do about a code, each in some case: the worst first."""
    rest = ADMITTED.get(code, "")
    found = set(_CASES[rest]) if callable(rest) else {rest}
    found |= {"refuses"} if code in REFUSABLE else set()
    return tuple(answer for answer in _ORDER if answer in found)


def with_answers(
    rules: Iterable[Problem], refusals: Iterable[Problem], subject: Subject
) -> Iterator[Problem]:
    """The problems with what KAITO does about each; those that are refused and nobody named come last."""
    if subject.target == OWN:
        yield from rules
        return
    refused = {(problem.code, problem.path): problem for problem in refusals}
    for problem in rules:
        if refused.pop((problem.code, problem.path), None):
            yield replace(problem, kaito="refuses", severity="error")
        elif found := _admission_problem(subject, problem):
            yield found
    yield from refused.values()


def _admission_problem(subject: Subject, problem: Problem) -> Problem | None:
    answer = ADMITTED.get(problem.code)
    if answer is None or (subject.is_update and problem.code in FIXED):
        return None
    if callable(answer):
        answer = answer(subject, problem)
    is_mild = answer in ("ignores", "admits")
    severity = "warning" if is_mild else problem.severity
    return replace(problem, kaito=answer, severity=severity)
