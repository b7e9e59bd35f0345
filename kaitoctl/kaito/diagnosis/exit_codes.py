"""What an exit code means that no log explains: the words, and what to do.

Source: POSIX.1-2024 sh (126, 127, 128 + signal); Linux signal(7); Kubernetes v1.37.2 gives a code above 255
where a container did not end by itself; Python 3.12 (`sys.exit(-1)` is 255).
"""

from __future__ import annotations

from collections.abc import Mapping

_LOG = "read its log"
_NATIVE = (
    "a fault of the server or of one of its native libraries, not of a memory limit: try another version of "
    "the image; the node's kernel log names the library"
)
EXITS: Mapping[int, tuple[str, str]] = {
    1: ("the program's own error", _LOG),
    2: ("the program's own error, often bad arguments", _LOG),
    126: (
        "the command cannot be executed",
        "check its mode (chmod +x), that it is no folder, and that the user of the container may run it",
    ),
    127: (
        "the command does not exist in the image",
        "check the command, and what it calls: the image lacks one of these programs",
    ),
    129: ("it was hung up (SIGHUP)", _LOG),
    130: ("it was interrupted (SIGINT)", _LOG),
    131: ("it got SIGQUIT", _LOG),
    132: (
        "it crashed (SIGILL: it has instructions that the node's CPU does not)",
        "take nodes with a newer CPU (AVX2 or AVX-512), or an image that was built for older ones",
    ),
    133: ("it stopped at a trap (SIGTRAP)", _NATIVE),
    134: ("it aborted (SIGABRT)", "read its log: what has called abort mostly says why on the lines before"),
    135: (
        "it crashed (SIGBUS: usually shared memory, /dev/shm, that is full, or a file that was cut off)",
        "mount an emptyDir of medium Memory at /dev/shm in the pod template; or load the weights again",
    ),
    136: ("it crashed (SIGFPE)", _NATIVE),
    137: ("it was killed (SIGKILL)", _LOG),
    139: ("it crashed (SIGSEGV)", _NATIVE),
    141: ("who read its output is gone (SIGPIPE)", _LOG),
    143: ("it got SIGTERM", _LOG),
    255: ("the program's own error, or its entrypoint's (-1)", _LOG),
}


def meaning_of(code: int) -> tuple[str, str]:
    """What an exit code says, and what to do."""
    by_signal = f"killed by signal {code - 128}" if 128 < code < 160 else "the program's own error"
    return EXITS.get(code, (by_signal, _LOG))
