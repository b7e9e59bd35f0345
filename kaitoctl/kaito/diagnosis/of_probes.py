"""What the kubelet says of a probe that fails: it is misdirected, gives up too early, or nobody is there yet.

Only the first two are the probe's fault, and more time to start helps neither. The messages are an event's,
`Unhealthy`: `Readiness probe failed: ...`, and `errored` where the kubelet could not even ask.

Source: Kubernetes v1.37.2 pkg/kubelet/prober/prober.go (the three kinds, failed and errored, named ports),
pkg/probe/http, tcp, grpc and exec; Go 1.25 net, net/http, crypto/tls; grpc-go 1.72; runc 1.3 and sh.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.case import Case, blame, event_words, events_about, title_of
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.snapshot import times_of
from kaitoctl.kube import pod_state
from kaitoctl.kube.objects import Object, dig

_ANY = re.compile(r"(?P<kind>Liveness|Readiness|Startup) probe (?:failed|errored)\b", re.IGNORECASE)

# What the message holds, what is so, and the part of the probe that is wrong.
_MISDIRECTED = (
    (r"statuscode: 404\b", "the server has no such path", "path"),
    (
        r"statuscode: 40[13]\b",
        "the server requires credentials, and a probe sends none",
        "path or httpHeaders",
    ),
    (r"statuscode: 405\b", "the server takes no GET there", "path"),
    (r"statuscode: 426\b", "the server speaks another version of HTTP there", "scheme"),
    (
        r"remote error: tls: (?:certificate required|bad certificate|unknown certificate)",
        "the server requires a client's certificate, and a probe has none",
        "scheme",
    ),
    (r"remote error: tls: ", "the server refuses the TLS of the probe", "scheme"),
    (r"stopped after 10 redirects", "the server redirects in a circle there", "path"),
    (r"HTTP response to HTTPS client", "the probe speaks HTTPS, and the server HTTP", "scheme"),
    (r"first record does not look like a TLS", "the probe speaks HTTPS, and the server does not", "scheme"),
    # How a TLS alert, and the settings of HTTP/2, begin (RFC 8446 section 6, RFC 9113 section 6.5).
    (r"malformed HTTP response \"\\x15\\x03", "the probe speaks HTTP, and the server HTTPS", "scheme"),
    (
        r"malformed HTTP response \"\\x00\\x00\S{1,9}\\x04",
        "the server speaks HTTP/2 alone, as gRPC does",
        "kind",
    ),
    (r"malformed HTTP (?:response|status|version)", "the server does not speak HTTP there", "port or scheme"),
    (
        r"statuscode: 400\b",
        "the server refuses the request as a bad one, as one that speaks HTTPS does with plain HTTP",
        "scheme or httpHeaders",
    ),
    (
        r"strconv\.Atoi|couldn't find port|invalid port\b",
        "the container has no port of the name that the probe gives",
        "port",
    ),
    (
        r"\bparse \"|invalid URL escape|unsupported protocol scheme",
        "the address that the probe asks cannot be read",
        "host or path",
    ),
    (
        r"lookup \S{1,253}(?: on \S+)?: no such host",
        "there is no host of the name that the probe gives",
        "host",
    ),
    (r"does not implement the grpc health protocol", "the server has no gRPC health service", "kind"),
    (
        r"code = NotFound desc = unknown service|SERVICE_UNKNOWN",
        "the server has no such gRPC service",
        "service",
    ),
    (
        r"error reading server preface|frame too large|HTTP/1\.x|malformed header: missing HTTP content-type|"
        r"unexpected HTTP status code received from server",
        "the probe speaks gRPC, and the server does not",
        "kind",
    ),
    (
        r'exec: "[^"]{1,200}": (?:executable file not found|stat |no such file)|no such file or directory: '
        r"unknown|sh: .{0,80}not found|command not found",
        "the image does not have the program that the probe runs",
        "command",
    ),
    (
        r"permission denied: unknown|exec: .{1,200}: permission denied",
        "the program that the probe runs may not be executed",
        "command",
    ),
)
_NO_ANSWER = re.compile(
    r"Client\.Timeout|context deadline exceeded|i/o timeout|command timed out|"
    r"command .{1,400} timed out after|did not complete within|failed to connect service .{1,253} within|"
    r"DeadlineExceeded"
)
_REFUSED = re.compile(r"connection refused|Failed to connect|Could not connect", re.IGNORECASE)
_UNANSWERED = ("timeoutSeconds", "network")
_CLOSED = re.compile(r"\bEOF\b|connection reset|broken pipe|server closed idle connection")
# Source: uvicorn 0.3x server.py; vLLM 0.33.0 openai/cli_args.py (--ssl-keyfile), llama.cpp (--ssl-key-file).
_HTTPS = re.compile(r"(?i)\b(?:running|listening|started|starting|serving)\b[^\n]{0,80}?https://")
_TLS_ARGUMENTS = re.compile(r"(?:^|\s)--(?:ssl-?key-?file|ssl-?cert-?file|tls-cert|ssl-certfile)\b")
_PORT = re.compile(r"(?::|port )(?P<port>\d{2,5})(?=[\"/: ]|$|[^\d.])")
# Source: uvicorn 0.3x, vLLM 0.33.0, text-generation-inference 3, Triton 2.5x, llama.cpp, gunicorn.
_LISTENS = re.compile(
    r"(?i)\b(?:running|listening|started|starting|serving|bound)\b[^\n]{0,80}?"
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:]*\]|localhost|\*):(?P<port>\d{2,5})\b"
)
# Source: vLLM 0.33.0 openai/cli_args.py, SGLang 0.5 server_args.py, text-generation-inference 3, llama.cpp,
# uvicorn (--port); Triton 2.5x (--http-port); streamlit (--server.port).
_ARGUMENTS = re.compile(r"(?:^|\s)--(?:port|http-port|server[-_.]port)[= ](?P<port>\d{2,5})\b")
_OFTEN = 10  # tries in vain: a server that is up says the same from the first on
# What the kubelet finds without the server, so that it does not change when the server is up.
_OF_SPEC = ("port", "host", "host or path", "command")
# Not the server's to say: nobody there answers even with a refusal. Source: Linux, errno(3).
_NO_WAY = re.compile(r"no route to host|network is unreachable|host is down", re.IGNORECASE)
_PROBES = {"liveness": "livenessProbe", "readiness": "readinessProbe", "startup": "startupProbe"}


class _Asked(NamedTuple):
    """A probe that fails.

    Args:
        kind: `liveness`, `readiness` or `startup`.
        says: what is so.
        part: of the probe, that is to be corrected; `timeoutSeconds` where it gives up too early, `network`
            where it does not arrive.
        event: that says so.
        is_certain: whether that does not change when the server is up.
    """

    kind: str
    says: str
    part: str
    event: Object
    is_certain: bool = False


def keeps_out(case: Case, pod: Object, item: Object, log: str, *, is_early: bool = False) -> Cause | None:
    """Why a container that runs does not become ready, where its probe is to blame.

    Args:
        case: what was seen.
        pod: whose container it is.
        item: the status of the container.
        log: of the container.
        is_early: whether it may still load; then only what a server that is up says again and again counts.
    """
    name = str(item["name"])
    asked = _newest(events_about(case, pod, name), pod, name, log)
    if asked is None:
        return None
    is_often = asked.part != "timeoutSeconds" and times_of(asked.event) >= _OFTEN
    if is_early and not asked.is_certain and not is_often:
        return None
    return _blamed(case, pod, name, asked, log, (), f"it runs, and its {asked.kind} probe does not pass")


def kills(
    case: Case,
    pod: Object,
    name: str,
    events: Iterable[Object],
    log: str,
    evidence: Iterable[tuple[str, str]],
    *,
    in_time: bool,
) -> Cause | None:
    """Why a probe has ended a container, where the probe is to blame; None where it is not.

    Args:
        case: what was seen.
        pod: whose container it is.
        name: of the container.
        events: about this end, newest first.
        log: of the container that ended.
        evidence: what is known of its end.
        in_time: whether an answer came, so that the probe could never pass; else none came for as long as it
            waited.
    """
    asked = _newest(events, pod, name, log)
    if asked is None or in_time == (asked.part in _UNANSWERED):
        return None
    said = f"a {asked.kind} probe kills {name}{', which is up' if in_time else ''}"
    return _blamed(case, pod, name, asked, log, evidence, said)


class Meets(NamedTuple):
    """What a probe meets at a server that it is right to ask: in words, and what to do."""

    says: str
    hint: str


def after_serving(events: Iterable[Object]) -> str:
    """What to do about a server that had served when its liveness probe killed it, of which events tell."""
    look = "its last lines, and whether the GPU is lost (Xid, NVML errors in the node's kernel log)"
    if not any(_NO_ANSWER.search(str(event.get("message"))) for event in events):
        return f"more time to start does not help: check {look}"
    return (
        "it was there and did not answer in time: with many requests, add replicas, or give its liveness "
        f"probe more time (timeoutSeconds, failureThreshold of the pod template); else it hangs: check {look}"
    )


def meets(pod: Object, name: str, event: Object, log: str, *, has_served: bool) -> Meets | None:
    """What a probe meets at a server, as far as its message tells; None where that says nothing.

    Args:
        pod: whose container it is.
        name: of the container.
        event: the newest about a probe that failed.
        log: of the container.
        has_served: whether the probe has passed before; else a server that loads may refuse connections.
    """
    words = str(event.get("message"))
    asked = _read(event, pod, name, log) if _is_probe(event) else None
    kind = asked.kind if asked else _kind_of(words)
    if asked is not None and asked.part == "timeoutSeconds":
        within = _probe(pod, name, kind).get("timeoutSeconds") or 1
        return Meets(
            f"its {kind} probe gets no answer within {within} s",
            "check in its log what keeps it from answering (many or long requests, a GPU that hangs); raise "
            "timeoutSeconds of that probe in a pod template",
        )
    if asked is not None and asked.part == "network":
        return Meets(asked.says, "check the network plugin (CNI) of the node, and NetworkPolicies")
    if asked is not None:
        return Meets(asked.says, f"check who has changed the server or the {asked.part} of the probe")
    if _REFUSED.search(words):
        port = _port_of(words, pod, name, kind)
        if not has_served and port not in {listened for _, listened in _ports(log)}:
            return None
        return Meets(f"nobody listens on its port{' ' + port if port else ''} any more", _ENDED)
    for pattern, says, hint in _MEETS:
        if found := re.search(pattern, words):
            return Meets(says.format(kind=kind, **found.groupdict()), hint)
    if dig(_probe(pod, name, kind), "exec", "command"):
        said = of_logs.printable_line(_ANY.split(words)[-1].lstrip(": "))
        return Meets(
            f"the command of its {kind} probe fails" + (f": {said}" if said else " without a word"),
            "try that command in the container, and correct it or what it looks for",
        )
    return None


# Who answers so has not necessarily died: what it died of, and that it did, its log has to say.
_ENDED = (
    "the server in the container has ended, or begins again, and the container goes on: its log says why; a "
    "restart of the pod starts it again"
)
# Source: vLLM 0.33.0 entrypoints (health: 503 on EngineDeadError); Linux errno(3); Go 1.25 net/http.
_MEETS = (
    (
        r"(?:statuscode|returned error): (?P<code>503)",
        "its server answers the {kind} probe with {code}",
        "the server says that it does not serve, and its log says why: vLLM answers 503 when its engine has "
        "died, and then only a restart of the pod helps; others (llama.cpp, SGLang) while they load a model",
    ),
    (
        r"(?:statuscode|returned error): (?P<code>5\d\d)",
        "its server answers the {kind} probe with {code}",
        "the server, or a proxy beside it, fails over the probe's request: its log says by what",
    ),
    (
        r"failed to (?:start )?exec|OCI runtime exec failed|setns process|error executing",
        "the node cannot run the {kind} probe's command in the container",
        "the message is the container runtime's: check its log on the node; a pod that is made again may do",
    ),
    (
        r"\bEOF\b|(?i:connection reset)|broken pipe|server closed idle connection|Empty reply from server|"
        r"connection was aborted",
        "its server closes the connection of the {kind} probe without an answer",
        "its log says whether it crashes over the request; if it does not, it speaks something else on that "
        "port than the probe (TLS, gRPC), or a proxy before it reaches no server",
    ),
    (
        r"NOT_SERVING",
        "its server says that it does not serve",
        "its log says why: an engine that has died, say, which only a restart of the pod brings back",
    ),
)


def _blamed(
    case: Case,
    pod: Object,
    name: str,
    asked: _Asked,
    log: str,
    evidence: Iterable[tuple[str, str]],
    said: str,
) -> Cause:
    about, what = f"{title_of(pod)}, container {name}", _words(pod, name, asked.kind)
    lines = [*evidence, event_words(asked.event), *([("pod", what)] if what else [])]
    message, look = f"{said}: {asked.says}", _look(case, pod)
    if asked.part == "network":
        hint = "check the network plugin (CNI) of the node, and NetworkPolicies: more time does not help"
        return blame("probe-times-out", about, message, lines, hint=hint, command=look)
    if asked.part == "timeoutSeconds":
        hint = (
            "raise timeoutSeconds of that probe in a pod template (1 s unless it says otherwise), and check "
            "in its log what keeps it from answering"
        )
        return blame("probe-times-out", about, message, lines, hint=hint, command=look)
    if asked.part == "port" and (found := _ports(log)):
        lines.append(("log", of_logs.printable_line(found[-1][0])))
    elif asked.part == "port" and (given := _told_ports(pod, name)):
        lines.append(("pod", f"command: {given[-1][0]}"))
    hint = f"correct the {asked.part} of the probe in the pod template: more time does not help"
    return blame("probe-misdirected", about, message, lines, hint=hint, command=look)


def _newest(events: Iterable[Object], pod: Object, name: str, log: str) -> _Asked | None:
    """What the newest event about a probe says; None where the probe is not to blame."""
    newest = next((event for event in events if _is_probe(event)), None)
    return None if newest is None else _read(newest, pod, name, log)


def _is_probe(event: Object) -> bool:
    return event.get("reason") == "Unhealthy" and _ANY.search(str(event.get("message"))) is not None


def _read(event: Object, pod: Object, name: str, log: str) -> _Asked | None:
    words = str(event.get("message"))
    kind = _kind_of(words)
    for pattern, says, part in _MISDIRECTED:
        if re.search(pattern, words):
            return _Asked(kind, says, part, event, part in _OF_SPEC)
    if _CLOSED.search(words) and words.count("http://") and _speaks_tls(pod, name, log):
        return _Asked(kind, "the probe speaks HTTP, and the server HTTPS", "scheme", event)
    if _NO_WAY.search(words):
        return _Asked(kind, "the node does not reach the pod's address", "network", event)
    if _NO_ANSWER.search(words):
        return _Asked(kind, "no answer comes within its time", "timeoutSeconds", event)
    if _REFUSED.search(words):
        asked = _port_of(words, pod, name, kind)
        listens = {port for _, port in _ports(log)} or {port for _, port in _told_ports(pod, name)}
        if asked and listens and asked not in listens:
            says = f"nobody listens on port {asked}, and the server does on {' and '.join(sorted(listens))}"
            return _Asked(kind, says, "port", event)
    return None


def _kind_of(words: str) -> str:
    found = _ANY.search(words)
    return found["kind"].lower() if found else "readiness"


def _speaks_tls(pod: Object, name: str, log: str) -> bool:
    """Whether the server's log says that it speaks TLS, or its command has it do so."""
    told = " ".join(_command(pod, name))
    return _HTTPS.search(log) is not None or _TLS_ARGUMENTS.search(told) is not None


def _ports(log: str) -> list[tuple[str, str]]:
    """What a log says of the ports that the server listens on: the line, and the port."""
    return [(found[0], found["port"]) for found in _LISTENS.finditer(log)]


def _told_ports(pod: Object, name: str) -> list[tuple[str, str]]:
    """What a command says of the port that its server is to listen on: the words, and the port."""
    words = " ".join(_command(pod, name))
    return [(found[0].strip(), found["port"]) for found in _ARGUMENTS.finditer(words)]


def _command(pod: Object, name: str) -> list[str]:
    spec = next((item for item in pod_state.container_specs(pod) if item.get("name") == name), {})
    return [str(word) for key in ("command", "args") for word in spec.get(key) or ()]


def _port_of(words: str, pod: Object, name: str, kind: str) -> str:
    """The port that a probe asks: as the message says, or else its spec; empty where neither does."""
    said = [found["port"] for found in _PORT.finditer(words)]
    if said:
        return said[-1]
    probe = _probe(pod, name, kind)
    port = next((dig(probe, how, "port") for how in ("httpGet", "tcpSocket", "grpc") if probe.get(how)), None)
    return str(port) if isinstance(port, int) else ""


def _probe(pod: Object, name: str, kind: str) -> Object:
    spec = next((item for item in pod_state.container_specs(pod) if item.get("name") == name), {})
    probe = spec.get(_PROBES[kind])
    return probe if isinstance(probe, dict) else {}


def _words(pod: Object, name: str, kind: str) -> str:
    """A probe as its spec has it, `readinessProbe: GET http :5000/health, timeoutSeconds 1`."""
    probe = _probe(pod, name, kind)
    timeout = f", timeoutSeconds {probe.get('timeoutSeconds') or 1}"
    if http := probe.get("httpGet"):
        scheme, host = str(http.get("scheme") or "HTTP").lower(), http.get("host") or ""
        what = f"GET {scheme}://{host}:{http.get('port')}{http.get('path') or '/'}"
    elif tcp := probe.get("tcpSocket"):
        what = f"TCP {tcp.get('host') or ''}:{tcp.get('port')}"
    elif grpc := probe.get("grpc"):
        what = f"gRPC :{grpc.get('port')} {grpc.get('service') or ''}".rstrip()
    elif command := dig(probe, "exec", "command"):
        what = f"exec {' '.join(map(str, command))}"
    else:
        return ""
    return f"{_PROBES[kind]}: {what}{timeout}"


def _look(case: Case, pod: Object) -> Command:
    """Where the probe is written: a pod template of the Workspace's own, or else the pod."""
    if dig(case.workspace, "inference", "template"):
        return Command("kubectl edit workspace", case.name, *case.in_namespace)
    return kubectl_hints.describe(pod)
