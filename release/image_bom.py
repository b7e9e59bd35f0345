"""What is in an image, as CycloneDX 1.5: Python's packages by their metadata, Debian's by dpkg's.

`python -m release.image_bom PATH...` takes folders of Python's packages and files or folders of dpkg's
status, and writes to standard output. deploy/Dockerfile calls it where pip has installed, as
release/image.py does. It needs nothing but Python's own library.

Source: https://cyclonedx.org/docs/1.5/json; https://github.com/package-url/purl-spec (types pypi, deb).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from email import message_from_string
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

PLACE = "usr/local/share/sbom/kaitoctl.cdx.json"
"""Where in the image it is; the label dev.kaitoctl.sbom of deploy/Dockerfile says so."""


def bill(paths: Iterable[Path]) -> str:
    """The bill of materials, the same for the same packages.

    Args:
        paths: folders of Python's packages, and dpkg's status: a file of all, or a folder of one file each.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        is_pythons = path.is_dir() and path.name != "status.d"
        for one in _of_python(path) if is_pythons else _of_debian(path):
            found[one["purl"]] = {"type": "library", "bom-ref": one["purl"], **one}
    components = [found[purl] for purl in sorted(found)]
    (about,) = (one for one in components if one["name"] == "kaitoctl")
    components.remove(about)
    metadata = {"component": {**about, "type": "application"}}
    made = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}
    return json.dumps({**made, "metadata": metadata, "components": components}, indent=1) + "\n"


def _of_python(folder: Path) -> Iterator[dict[str, str]]:
    for one in distributions(path=[str(folder)]):
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        yield {"name": name, "version": one.version, "purl": f"pkg:pypi/{name}@{quote(one.version)}"}


def _of_debian(status: Path) -> Iterator[dict[str, str]]:
    for file in sorted(status.iterdir()) if status.is_dir() else [status]:
        for text in file.read_text("utf-8").strip().split("\n\n"):
            about = message_from_string(text)
            if str(about.get("Status", "installed")).split()[-1] != "installed":
                continue  # removed, with settings that stayed
            name, version, arch = (str(about[key]) for key in ("Package", "Version", "Architecture"))
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={arch}"
            yield {"name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    sys.stdout.write(bill(map(Path, sys.argv[1:])))
