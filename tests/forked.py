"""kaitoctl as a process that has not to import it: copies of one process that imported all of it once.

Such a copy is the program from its `main` on, with arguments, environment, folder, files and exit code of its
own. What a copy cannot prove, that each command imports what it needs and that its script starts, real
processes do: the first of each command in each file of tests (see `Shell.run`).
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_")
_PYTHON = {"PYTHONWARNINGS": "error"}


def can_be(env: Mapping[str, str]) -> bool:
    """Whether a copy can be such a process: an interpreter reads some of its environment as it starts."""
    read = {name: value for name, value in env.items() if name.startswith(_OF_THE_INTERPRETER)}
    return read == _PYTHON


class Copy:
    """A kaitoctl that runs, as `subprocess.Popen` has it.

    Args:
        command: its arguments.
        report: where its number is said, and how it ended.
    """

    def __init__(self, command: Sequence[str], report: int) -> None:
        self._command = command
        self._report = report
        self._told = b""
        self.returncode: int | None = None
        while b" " not in self._told:
            if not (part := os.read(report, 64)):
                raise RuntimeError("what is copied has ended; why is on the stderr of the first test")
            self._told += part
        self.pid = int(self._told)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None and not select.select([self._report], [], [], 0)[0]:
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit code, negative for a signal, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, in so many seconds.
        """
        deadline = time.monotonic() + timeout
        while self.returncode is None:
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._report], [], [], left_s)[0]:
                raise subprocess.TimeoutExpired(self._command, timeout)
            if part := os.read(self._report, 64):
                self._told += part
                continue
            os.close(self._report)
            self.returncode = os.waitstatus_to_exitcode(int(self._told.split()[1]))
        return self.returncode


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    folder: Path,
    *,
    stdout: int,
    stderr: int,
    stdin: int = subprocess.DEVNULL,
    before: str = "",
) -> Copy:
    """Start kaitoctl with these standard streams, which stay open here, too.

    Args:
        command: its arguments, its own name first.
        env: its environment.
        folder: where it runs.
        stdout: a file descriptor.
        stderr: a file descriptor.
        stdin: a file descriptor; DEVNULL for none.
        before: Python that is run before it.
    """
    (asked, ask), (report, reports) = os.pipe(), os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY) if stdin == subprocess.DEVNULL else None
    handed = [asked, stdin if nothing is None else nothing, stdout, stderr, reports]
    socket.send_fds(_original(), [b"!"], handed)
    for end in (asked, reports, *([] if nothing is None else [nothing])):
        os.close(end)
    with open(ask, "w") as request:  # noqa: PTH123 - it is a number
        json.dump([list(command), dict(env), str(folder), before], request)
    return Copy(command, report)


def run(
    command: Sequence[str], env: Mapping[str, str], folder: Path, timeout_s: float, *, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run kaitoctl as `subprocess.run(capture_output=True, text=True)` does."""
    pipes = [os.pipe() for _ in range(2)]
    copy = start(command, env, folder, stdout=pipes[0][1], stderr=pipes[1][1], before=before)
    for _, end in pipes:
        os.close(end)
    read = [b""] * len(pipes)

    def collect(place: int, number: int) -> None:
        with open(number, "rb", buffering=0) as end:
            while part := end.read(65_536):
                read[place] += part

    readers = [
        threading.Thread(target=collect, args=(place, end), daemon=True)
        for place, (end, _) in enumerate(pipes)
    ]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + timeout_s
    for reader in readers:
        reader.join(max(0.0, deadline - time.monotonic()))
    out, err = (part.decode().replace("\r\n", "\n").replace("\r", "\n") for part in read)
    try:
        code = copy.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        copy.send_signal(signal.SIGKILL)
        copy.wait(60)
        raise subprocess.TimeoutExpired(command, timeout_s, out, err) from None
    if any(reader.is_alive() for reader in readers):  # it has left somebody behind who writes there
        raise subprocess.TimeoutExpired(command, timeout_s, out, err)
    return subprocess.CompletedProcess(command, code, out, err)


@cache
def _original() -> socket.socket:
    """The process that is copied, by the socket that it listens to; it ends when that is closed."""
    ours, theirs = socket.socketpair()
    env = {**_PYTHON, "PATH": os.environ["PATH"], "HOME": os.devnull}
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(process.wait, 10)
    atexit.register(ours.close)
    return ours


def _import_all() -> None:
    import gc
    import pkgutil
    from importlib import import_module

    import kaitoctl

    # Besides its own modules, what it imports late: to look up an address, render templates and read YAML.
    for name in ("encodings.idna", "jinja2.sandbox", "yaml"):
        import_module(name)
    for module in pkgutil.walk_packages(kaitoctl.__path__, "kaitoctl."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    gc.freeze()


def _await_copies(asks: socket.socket) -> tuple[int, ...] | None:
    """In the process that is copied: None, when nobody asks any more; in a copy: what it was handed.

    Of each copy its number is reported, and its end when it comes. That a copy has ended wakes the loop and
    does nothing else: a handler that waited for copies itself could be interrupted by the end of another.
    """
    reports: dict[int, int] = {}
    woken, waker = socket.socketpair()
    for end in woken, waker:
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # one that is ignored wakes nobody
    with woken, waker:
        while True:
            ready, _, _ = select.select([asks, woken], [], [])
            if woken in ready:
                woken.recv(4096)
                _report_ends(reports)
            if asks not in ready:
                continue
            said, handed, _, _ = socket.recv_fds(asks, 1, 5)
            if not said:
                return None
            *of_the_copy, report = handed
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number in (*reports.values(), report):
                    os.close(number)
                return tuple(of_the_copy)
            reports[pid] = report
            with suppress(BrokenPipeError):  # who asked has waited long enough
                os.write(report, f"{pid} ".encode())
            for number in of_the_copy:
                os.close(number)


def _report_ends(reports: dict[int, int]) -> None:
    """Report of each copy that has ended how it did, and forget it."""
    for pid, report in [*reports.items()]:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(BrokenPipeError):
                os.write(report, str(status).encode())
            os.close(reports.pop(pid))


def _serve(asks: socket.socket) -> None:
    """Be copied, and in each copy be kaitoctl."""
    _import_all()
    with asks:
        handed = _await_copies(asks)
    if handed is None:
        return
    asked, *streams = handed
    for stream, number in enumerate(streams):
        os.dup2(number, stream)
        os.close(number)
    # Whether a line is written at once is decided when a stream is opened: it is on a terminal.
    for number, name in (0, "stdin"), (1, "stdout"):
        before = getattr(sys, name)
        text = {"encoding": before.encoding, "errors": before.errors}
        setattr(sys, name, open(number, before.mode, closefd=False, **text))  # noqa: SIM115 - for good
    with open(asked) as request:  # noqa: PTH123 - it is a number
        sys.argv, env, folder, first = json.load(request)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    exec(first, {})
    code = _run_main()
    # The end of an interpreter takes its modules apart one by one: 70 ms, of which nobody sees anything.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:  # so does an interpreter that ends
        sys.stderr.write(f"Exception ignored in {sys.stdout!r}:\n{type(error).__name__}: {error}\n")
        code = 120
    sys.stderr.flush()
    os._exit(code)


def _run_main() -> int:
    """Run kaitoctl to its exit code, as the interpreter does."""
    from kaitoctl.__main__ import main

    try:
        main()
    except SystemExit as ending:
        if isinstance(ending.code, str):
            sys.stderr.write(f"{ending.code}\n")
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
