"""The program `kubectl_complete-kaitoctl`: by it kubectl completes `kubectl kaitoctl ...`.

Source: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
"""

from __future__ import annotations

import os
import sys

from kaitoctl.__main__ import main
from kaitoctl.screens import output


def complete() -> None:
    """Print the names, and the directive that ends them; 4 means "no file names"."""
    words = sys.argv[1:] or [""]
    line = {"COMP_WORDS": " ".join(["kaitoctl", *words]), "COMP_CWORD": str(len(words))}
    os.environ.update({"_KAITOCTL_COMPLETE": "complete_bash", **line})
    sys.argv = ["kaitoctl"]
    try:
        main()
    finally:
        output.data(":4")
