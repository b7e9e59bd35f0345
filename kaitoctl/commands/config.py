"""`kaitoctl config`: the user's own defaults for options."""

from __future__ import annotations

from kaitoctl.commands import config_file, invocation, option_values
from kaitoctl.screens import output


def view(output_format: str) -> None:
    """Show which file is read, and the defaults in it."""
    option_values.output_format(output_format, ("yaml", "json"))
    found = config_file.read()
    if found is None:
        output.step(f"{invocation.config_path()} does not exist: no defaults of your own")
        found = config_file.Defaults({}, {})
    else:
        output.step(f"{invocation.config_path()}")
    output.write_structured(
        {"defaults": dict(found.everywhere), "commands": dict(found.commands)}, output_format
    )
