"""The `kaitoctl` program, also as `python -m kaitoctl`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Start the command line, or answer without it."""
    from kaitoctl.cli import quick

    _open_what_is_closed()
    if os.path.basename(sys.argv[0]) == "kubectl-kaitoctl":  # noqa: PTH119 - pathlib takes longer
        sys.argv[0] = "kubectl kaitoctl"  # as its user typed it
    if (said := quick.answer(sys.argv[1:], os.environ)) is not None:
        from kaitoctl.screens.stream import write

        try:
            write(sys.stdout, said, end="")
        except OSError as error:
            sys.exit(f"error: {error.strerror}")
        return
    # Importing makes many objects and no garbage; the default threshold would look for some 30 times,
    # a tenth of what a short command takes. Long-running commands collect often enough with this one.
    gc.set_threshold(50_000)
    try:
        from kaitoctl.cli.app import main as run

        run()
    except KeyboardInterrupt:  # so early that nothing has begun
        from kaitoctl.errors import ExitCode
        from kaitoctl.screens.stream import write

        write(sys.stderr, "interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    finally:
        # An ending interpreter looks for garbage three times in all that was ever imported, 20 ms.
        # What it frees goes with the process; files and atexit are not its business.
        gc.freeze()


def _open_what_is_closed() -> None:
    """Lead standard streams that are closed (`>&-`) nowhere, before a socket takes their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - for good


if __name__ == "__main__":
    main()
