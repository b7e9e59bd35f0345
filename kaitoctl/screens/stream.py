"""Text onto a standard stream, whatever becomes of its reader: closed, full, or of another encoding."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def write(stream: TextIO, text: str, end: str = "\n") -> bool:
    """Write at once; whether somebody still reads.

    `kaitoctl ... | head` is no failure: what comes after a reader has gone goes nowhere.

    Raises:
        OSError: the stream takes no more, such as a file on a full disk.
    """
    try:
        _print(stream, text, end)
    except OSError as error:
        # What is still to come goes nowhere, also what Python flushes when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
        return False
    return True


def _print(stream: TextIO, text: str, end: str) -> None:
    try:
        print(text, file=stream, flush=True, end=end)
    except UnicodeEncodeError:  # a terminal that knows no check marks still gets the words
        if stream is sys.stdout:  # data must arrive as it is
            sys.stdout.buffer.write(f"{text}{end}".encode("utf-8", "backslashreplace"))
            sys.stdout.flush()
            return
        encoding = stream.encoding or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True, end=end)
