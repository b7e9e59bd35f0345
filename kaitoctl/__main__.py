"""The `kaitoctl` program, also as `python -m kaitoctl`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Start the command line, or answer without it."""
    from kaitoctl.cli import quick

    if os.path.basename(sys.argv[0]) == "kubectl-kaitoctl":  # noqa: PTH119 - pathlib takes longer
        sys.argv[0] = "kubectl kaitoctl"  # as its user typed it
    if (said := quick.answer(sys.argv[1:], os.environ)) is not None:
        sys.stdout.write(said)
        return
    # Importing makes many objects and no garbage; the default threshold would look for some 30 times,
    # a tenth of what a short command takes. Long-running commands collect often enough with this one.
    gc.set_threshold(50_000)
    try:
        from kaitoctl.cli.app import main as run

        run()
    except KeyboardInterrupt:  # so early that nothing has begun
        sys.exit(130)


if __name__ == "__main__":
    main()
