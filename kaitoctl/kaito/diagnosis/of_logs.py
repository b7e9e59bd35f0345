"""What a container's log says of its end: the root cause among its lines, or its last error.

`log_patterns` has the lines that are known. Several of them stand in most logs: the error itself, what
others made of it while it was handed on, and what the other workers saw. The row nearest to the root is
chosen, and of several the first in the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from kaitoctl.advice import Command, shortened
from kaitoctl.kaito.diagnosis.case import Case, preset_name
from kaitoctl.kaito.secrecy import without_secrets
from kaitoctl.kube.objects import Object, dig

if TYPE_CHECKING:
    from kaitoctl.kaito.diagnosis.log_patterns import Reading

_LINES, _WIDTH, _CHARACTERS, _SHOWN, _NEXT = 400, 700, 64 * 1024, 400, 6
_ESCAPES = r"\x1b\[[0-9;?]{0,20}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]"
# Before a line: the process (vLLM V1, Ray), the rank (torchrun), and level, time and place (vLLM's logging).
# Source: vLLM 0.33.0 logger.py (`(EngineCore pid=12) ERROR 11-02 10:00:00 [core.py:700] `), before 0.12
# without the process; PyTorch 2.x torch/distributed/elastic (`[rank0]: `).
_PROCESS = r"\((?:\w[\w.:-]{0,60} )?(?:rank=\d+ )?(?:ip=[\w.:]+, )?pid=\d+(?:, ip=[\w.:]+)?\)\s?"
_RANK = r"\[(?:rank)?\d+\]:? ?"
_LEVEL = r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\b:? {0,9}"
_TIME = r"(?:(?:\d{4}-)?\d\d-\d\d[ T])?\d\d:\d\d:\d\d(?:[.,]\d+)?Z?,? ?"
_PLACE = r"\[?[\w./-]{1,60}\.py:\d+\]? ?"
_PREFIX = (
    rf"\s{{0,4}}(?:{_PROCESS})?(?:{_RANK})?(?:{_TIME})?(?:[-|] )?"
    rf"(?:{_LEVEL})?(?:{_TIME})?(?:{_PLACE})?(?:[-|] )?"
)
# Levels that stand elsewhere: NCCL's (`host:9:9 [0] NCCL INFO ...`), glog's (`[W1102 10:00:00 ...`), JSON's.
_NCCL_INFO = r".{0,120}\bNCCL (?:INFO|TRACE)\b"
_GLOG = r"\[?(?P<letter>[IWEF])\d{4} \d\d:"
# A line that is an object (zap, structlog, pino), or pairs (logrus, slog, hclog): level, words and error.
_PAIR = r"(?:^|[ {,])\"?(?P<key>level|lvl|levelname|severity|msg|message|event|error|err)\"?(?::|=) ?"
_VALUE = r"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s\",}]+))"
_STRUCTURED = r"\{.{0,200}\"(?:level|lvl|levelname|severity)\":|(?:\w{1,9}=\S{1,40} )?level=\w{3,8} "
_LEVELS = {"WARN": "WARNING", "ERR": "ERROR", "DPANIC": "FATAL", "PANIC": "FATAL", "TRACE": "DEBUG"}
_LETTERS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}
_ASIDE = "ASIDE"
_UNIMPORTANT = ("DEBUG", "INFO", "WARNING", _ASIDE)
# As Python writes it; Java's main thread (`thread "main" x.E: words`) ends its program.
_THREAD = r"Exception in thread [^\"]{1,120}:$"
_CHAINED = r"During handling of the above|The above exception was the direct cause"
# A try of several, which a library tells without a level. Source: huggingface_hub 1.x utils/_http.py
# (http_backoff), urllib3 2.x connectionpool.py; vLLM 0.33.0 transformers_utils/repo_utils.py (with_retry).
_TRIED = (
    r"'?.{0,600} thrown while requesting [A-Z]{3,6} |Retrying in \d|Retrying \(Retry\(|"
    r".{0,600}, retrying \d{1,3} of \d{1,3}$"
)
_FRAME = r"  +File \"|    \S|\s*\^[\^~ ]*$|\t+at \S|\t\S+\.go:\d+|goroutine \d+ \["
_OF_TRACE = rf"Traceback |{_FRAME}"
# Python 3.11 draws the exceptions of a group behind bars.
_GROUP = r" {2,40}(?:\| ?)+(?=\S| {2})| {2,40}\+[-+]+[ \d-]*"
# What stands at the end of a log and says only that something else went wrong.
# Source: vLLM 0.33.0 v1/engine/utils.py, exceptions.py, core.py, v1/executor/multiproc_executor.py; V0
# engine/multiprocessing; uvicorn 0.3x lifespan; PyTorch 2.x elastic; Python 3.12 traceback.
_WRAPPERS = (
    r"(?i)See (?:root cause|stack trace)|check the stack trace above|Engine ?(?:core|process).{0,20} "
    r"(?:failed|"
    r"initialization failed|died)|"
    r"EngineDeadError|encountered a fatal error|WorkerProc (?:failed|hit an exception|initialization)|"
    r"Exception: (?:WorkerProc|Call to \w{1,40} method failed)|Application startup failed|"
    r"During handling of the above|was the direct cause of|Traceback \(most recent|ProcessRaisedException|"
    r"ChildFailedError|CalledProcessError|RayTaskError|resource_tracker|SystemExit|KeyboardInterrupt|"
    r"destroy_process_group|Exiting due to|Executor failed|RPCServer process died|nanobind: leaked|"
    r"Compile with `?TORCH_USE_CUDA_DSA|CUDA kernel errors might be asynchronously|"
    r"For debugging consider passing|Exception ignored in|Fatal error detected|error_file: <N/A>|"
    r"To enable traceback see|MQEngineDeadError|ExceptionGroup: |note: run with `RUST_BACKTRACE|"
    r"^(?:UserWarning|FutureWarning|DeprecationWarning): |warnings\.warn\("
)
# An exception as Python prints it at the end of a traceback, and the sentence in one of pydantic's.
_EXCEPTION = (
    r"(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60}(?:Error|Exception|Exit|Interrupt|Timeout)(?:_\w{1,40})?"
    r"(?:\([^)]{0,80}\))?(?::|$)"
)
_VALUE_ERROR = r"\s{0,4}(?:Value|Assertion) error, (?P<words>.+?)(?: \[type=.*)?$"
_ERRORISH = (
    r"(?i)\b(?:error|fatal|critical|panic|segmentation fault|segfault|nccl warn|aborted|abort|"
    r"terminate called|core dumped|"
    r"exception|assertion|failed|cannot|could not|unable to|no such file|not found|denied|killed|"
    r"panicked|unbound variable|parameter not set|syntax error|bad substitution|usage:)\b|"
    r"^(?:[a-z_]\w{0,60}\.){1,8}(?-i:[A-Z])\w{1,60}(?::|$)"  # `queue.Empty`, `triton...OutOfResources: ...`
)

_HUB_MODEL = (
    r"https?://[\w.:-]{3,253}/(?:api/models/(?P<asked>[\w.-]{1,96}/[\w.-]{0,95}\w)|"
    r"(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})/(?:resolve|tree|revision)/)"
)
_STEPS = {
    "cuda-out-of-memory": "fit",
    "gpu-too-old": "fit",
    "gpu-count-misfit": "fit",
    "gpu-driver-misfit": "node",
    "gpu-not-visible": "node",
    "gpu-broken": "node",
    "disk-full": "node",
    "adapter-misfit": "adapter",
}


_GOES_ON = 4
"""Lines over which an exception may go on after its first one."""


class Finding(Struct, frozen=True):
    """What a log says.

    Args:
        code: a key of `codes.CODES`.
        message: the cause, one sentence.
        line: the line that says so, without what looks like a secret.
        hint: what to do, in words.
        adapter: the adapter that it is about; empty for none, or when it may be any of several.
        step: which command helps: `fit`, `node`, `adapter`, or none.
    """

    code: str
    message: str
    line: str
    hint: str
    adapter: str = ""
    step: str = ""


def finding(case: Case, log: str, *, among: Sequence[str] = ()) -> Finding | None:
    """The root cause in a container's log; None when it has no line that is known.

    Args:
        case: what was seen.
        log: the last lines.
        among: the codes that may be; empty for all.
    """
    from kaitoctl.kaito.diagnosis.log_patterns import readings

    lines = lines_of(log)
    for passing in (False, True):
        if passing and last_error(log):
            break  # what was said in passing is less likely the cause than an error that is not known
        text = "\n".join(_candidates(lines, passing=passing))
        known = [
            (reading.depth, text.count("\n", 0, start), number, reading, groups)
            for number, (start, reading, groups) in enumerate(readings(text))
            if not among or reading.code in among
        ]
        if known:
            _, first, _, best, _ = min(known, key=lambda item: item[:3])
            # An exception goes on over some lines, and the particular one of its rows may be found on any.
            same = (item for item in known if item[3].code == best.code and 0 <= item[1] - first <= _GOES_ON)
            _, line, _, reading, groups = min(same, key=lambda item: (item[0], item[2]))
            return _finding(case, log, reading, groups, printable_line(text.split("\n")[line]))
    return None


def last_error(log: str) -> str:
    """The last error that a log tells, without its prefix and without what looks like a secret; or nothing.

    An exception of Python's comes before any other line that speaks of an error, and what merely hands
    another error on is neither.
    """
    lines = lines_of(log)
    spoken = [
        (number, level, line)
        for number, (level, line) in reversed(list(enumerate(lines)))
        if line.strip() and not re.match(_FRAME, line) and not re.search(_WRAPPERS, line)
    ]
    for number, level, line in spoken:
        if found := re.match(_VALUE_ERROR, line):
            return printable_line(found["words"])
        if level != _ASIDE and re.match(_EXCEPTION, line.strip()):
            return printable_line(line + _rest(lines[number + 1 :], line))
    for number, level, line in spoken:
        if level in ("ERROR", "CRITICAL", "FATAL"):
            return printable_line(line + _rest(lines[number + 1 :], line))
    for number, level, line in spoken:
        if level not in _UNIMPORTANT and re.search(_ERRORISH, line):
            return printable_line(line + _rest(lines[number + 1 :], line))
    return ""


def _rest(after: list[tuple[str, str]], line: str) -> str:
    """What an error says on its next lines, when its own ends with a colon: the first of them that tells."""
    if not line.rstrip().endswith(":"):
        return ""
    said = [text.strip() for _, text in after[:_NEXT] if text.strip() and not re.search(_WRAPPERS, text)]
    return f" {next((text for text in said if re.search(_ERRORISH, text)), said[0])}" if said else ""


def handed_on(log: str) -> str:
    """The last line that only says that something else went wrong, for a log that does not say what."""
    lines = (line for _, line in reversed(lines_of(log)) if re.match(_EXCEPTION, line.strip()))
    return printable_line(next(lines, ""))


def last_lines(log: str, count: int = 2) -> list[str]:
    """The last lines of a log that say anything, fit to be shown."""
    said = [line for _, line in lines_of(log) if line.strip() and not re.match(_FRAME, line)]
    telling = [line for line in said if not re.search(_WRAPPERS, line)]
    return [printable_line(line) for line in (telling or said)[-count:]]


def printable_line(line: str) -> str:
    """A line of a log as it may be printed: on one line, not too long, without what looks like a secret."""
    return shortened(" ".join(str(without_secrets(line)).split()), _SHOWN)


def lines_of(log: str) -> list[tuple[str, str]]:
    """Level (mostly empty) and text of the last lines, without colours and prefixes."""
    found: list[tuple[str, str]] = []
    for raw in log.splitlines()[-_LINES:]:
        # A secret that is cut in two is none that would be recognised: it goes before anything is cut off.
        line = str(without_secrets(re.sub(_ESCAPES, "", raw[: 2 * _WIDTH])))[:_WIDTH]
        prefix = re.match(_PREFIX, line)
        level = (prefix["level"] or "") if prefix else ""
        # The indentation of a traceback belongs to it, whether a prefix stands before it or not.
        text = line[prefix.end() :] if prefix and prefix.end() and line[:1] != " " else line
        text = re.sub(rf"^(?:{_GROUP})", "", text)
        text = _with_option(found, text)
        level = "WARNING" if re.match(_TRIED, text) else level  # vLLM calls a try of several an error
        found.append(_structured(text) or (level or _level_within(text), text))
    return _with_threads_aside(found)


def _with_threads_aside(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The tracebacks of threads at a level of their own: one that ends so does not end its process."""
    found: list[tuple[str, str]] = []
    is_aside = has_ended = False
    for level, line in lines:
        is_between = not line.strip() or bool(re.match(_CHAINED, line))
        if re.match(_THREAD, line):
            is_aside, has_ended = True, False
        elif is_aside:
            is_exception = bool(re.match(_EXCEPTION, line.strip()))
            is_aside = is_between or (not has_ended and (is_exception or bool(re.match(_OF_TRACE, line))))
            has_ended = is_exception or (has_ended and not re.match(_CHAINED, line))
        found.append((_ASIDE, line) if is_aside else (level, line))
    return found


def _with_option(before: list[tuple[str, str]], line: str) -> str:
    """What pydantic says of an option, with its name, which stands on the line before."""
    if not before or not re.match(r"  \S.{0,400}\[type=\w{1,40}, input_value=", line):
        return line
    name = before[-1][1]
    return f"{name}: {line.strip()}" if re.fullmatch(r"[\w.\[\]-]{1,80}", name) else line


def _structured(line: str) -> tuple[str, str] | None:
    """Level and words of a line that a program wrote for programs; None for any other."""
    if not re.match(_STRUCTURED, line):
        return None
    said = {one["key"]: one["bare"] or (one["quoted"] or "") for one in re.finditer(_PAIR + _VALUE, line)}
    named = next((said[key] for key in ("level", "lvl", "levelname", "severity") if key in said), "").upper()
    words = [said[key] for key in ("msg", "message", "event", "error", "err") if said.get(key)]
    text = re.sub(r"\\([\"\\])", r"\1", ": ".join(words))
    return (_LEVELS.get(named, named), text) if words else None


def _level_within(line: str) -> str:
    """The level that a line gives in its own way, or an empty string."""
    if re.match(_NCCL_INFO, line):
        return "INFO"
    letter = re.match(_GLOG, line)
    return _LETTERS[letter["letter"]] if letter else ""


def _candidates(lines: list[tuple[str, str]], *, passing: bool) -> list[str]:
    """The lines that may name a cause, each once; or those of warnings, which are said in passing."""
    told = dict.fromkeys(
        line
        for level, line in lines
        if (level in ("WARNING", _ASIDE) if passing else level not in _UNIMPORTANT)
        and not re.match(_FRAME, line)
    )
    found, length = [], 0
    for line in reversed(told):
        length += len(line) + 1
        if length > _CHARACTERS:
            break
        found.append(line)
    return found[::-1]


def _finding(case: Case, log: str, reading: Reading, groups: dict[str, str], line: str) -> Finding:
    entries = dig(case.workspace, "inference", "adapters") or ()
    names = [str(name) for item in entries if (name := dig(item, "source", "name"))]
    suspects = _suspects(names, log)
    words = {key: printable_line(value) for key, value in groups.items()} | {
        "adapter": f"adapter {' or '.join(suspects)}" if suspects else "an adapter",
        "adapters": ", ".join(names),
        "model": preset_name(case.workspace) or "that is served",
    }
    code, message = reading.code, reading.says.format_map(words)
    # The weights of adapters are the user's own, those of presets are tried: so the adapters come first.
    guessed = reading.adapter == "if any" and bool(names)
    if guessed:
        fits = f"does not fit the model, {words['model']}" if "fit" in message else "is broken"
        code, message = "adapter-misfit", f"{words['adapter']} {fits}: {message}"
    message += _of_which_model(code, log)
    hint = reading.hint.format_map(words)
    if code == "cuda-out-of-memory" and case.workspace.get("tuning"):
        hint = _TUNES_IN
    is_about_one = guessed or reading.adapter == "yes"
    named = suspects[0] if is_about_one and len(suspects) == 1 else ""
    step = reading.step or _STEPS.get(code, "")
    if is_about_one and not names:
        step = ""  # of a pod template's own adapters no command of ours knows anything
    return Finding(code, message, line, hint, named, step)


# Source: KAITO v0.12 presets/workspace/tuning; transformers 5.24 training_args.py; trl, peft (qlora).
_TUNES_IN = (
    "take GPUs with more memory, method qlora, or a smaller per_device_train_batch_size or max_seq_length in "
    "the training_config.yaml of the ConfigMap that tuning.config names"
)


def _of_which_model(code: str, log: str) -> str:
    """The model on the hub that an error is about, by the address that was asked for."""
    found = re.search(_HUB_MODEL, log) if code in ("model-not-found", "model-access-denied") else None
    return f": {found['asked'] or found['repo']}" if found else ""


def _suspects(names: list[str], log: str) -> list[str]:
    """The adapters that a failure may be about: those whose folder the log names, less those loaded well."""
    from kaitoctl.kaito.desired import ADAPTER_PATH

    # Source: KAITO presets/workspace/inference/text-generation/inference_api.py, `Adapter added: NAME`.
    bad = [name for name in names if not re.search(rf"Adapter added: {re.escape(name)}\s*(\||$)", log, re.M)]
    named = [name for name in bad if re.search(rf"{ADAPTER_PATH}/{re.escape(name)}\b", log)]
    return named if len(named) == 1 else bad or names


def next_step(case: Case, pod: Object, known: Finding) -> Command | None:
    """The command for a cause found in a log: what changes it, or where to look; None for the log itself."""
    preset, node = preset_name(case.workspace), str(dig(pod, "spec", "nodeName") or "")
    if known.step == "adapter":
        name = known.adapter or "ADAPTER"
        return Command("kaitoctl remove-adapter", case.name, *case.in_namespace, "--name", name)
    if known.step == "fit" and preset:
        return Command("kaitoctl fit", preset)
    return Command("kubectl describe node", node) if known.step == "node" and node else None
