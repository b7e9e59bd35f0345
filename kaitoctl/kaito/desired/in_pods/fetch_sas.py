"""Gets a token by which vLLM streams weights from a store of Azure, and finds where in the store they are.

Runs in an init container, with Python's own library alone: exchanges the pod's workload identity for a token
of Entra ID, asks the model's registry where its blobs are and for a shared access signature, looks for the
folder of the weights, and writes all three as shell variables for the server's entrypoint.

Source of what is asked and answered: KAITO v0.12.0 `pkg/workspace/inference/modelstreaming/azure`; the token:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
"""

import html
import json
import os
import posixpath
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

AUDIENCES = {"public": "https://management.azure.com", "byo": "https://ai.azure.com"}
TIMEOUT_S = 30


def said(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    """What a web server answers."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url} is no address of the web")
    asked = Request(url, data, headers or {})  # noqa: S310 - looked at above
    with urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310 - looked at above
        return str(answer.read().decode(errors="replace"))


def answer_of(url: str, token: str, body: object = None) -> Any:
    """What the registry answers, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    return json.loads(
        said(url, data, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    )


def token_of(client: str, audience: str) -> str:
    """A token for the audience, for the identity that Azure's webhook has put into the pod."""
    form = {
        "client_id": client,
        "client_assertion": Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text("utf-8").strip(),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "grant_type": "client_credentials",
        "scope": f"{audience}/.default",
    }
    authority = os.environ.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com/"
    url = f"{authority.rstrip('/')}/{os.environ['AZURE_TENANT_ID']}/oauth2/v2.0/token"
    return str(json.loads(said(url, urlencode(form).encode()))["access_token"])


def addresses_of(url: str, source: str) -> tuple[str, str]:
    """Where the model is described, and where a signature is asked for."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if source == "byo":
        if path.endswith("/credentials"):
            raise ValueError(f"{path}: name the model's address, without /credentials")
        found = path, f"{path}/credentials"
    else:
        if "/datarefs/" not in path:
            raise ValueError(f"{path}: the address of a public model has /datarefs/ in it")
        found = path.replace("/datarefs/", "/models/", 1), path
    described, signing = (urlunsplit(parts._replace(path=one)) for one in found)
    return described, signing


def reference_in(answer: Any) -> Any:
    """The reference to blobs in an answer, under either of its names."""
    return answer.get("blobReferenceForConsumption") or answer.get("blobReference") or {}


def folder_of(signed: str) -> str:
    """The folder of the store that has all weights; empty for its root."""
    names: list[str] = []
    marker = ""
    while True:
        more = f"&marker={quote(marker)}" if marker else ""
        page = said(f"{signed}&restype=container&comp=list{more}")
        names += map(html.unescape, re.findall(r"<Name>([^<]*)</Name>", page))
        following = re.search(r"<NextMarker>([^<]+)</NextMarker>", page)
        if following is None:
            break
        marker = html.unescape(following[1])
    folders = {posixpath.dirname(name) for name in names if name.endswith(".safetensors")}
    return posixpath.commonpath(folders) if folders and all(folders) else ""


def main() -> None:
    """Write the variables; where something is missing, say what: the kubelet starts the container again."""
    source = os.environ["STREAM_SOURCE_TYPE"]
    described, signing = addresses_of(os.environ["STREAM_DATAREFS_URL"], source)
    token = token_of(os.environ["STREAM_IDENTITY_CLIENT_ID"], AUDIENCES[source])
    model = answer_of(described, token)
    blobs = (model.get("properties") or {}).get("modelUri") or reference_in(model).get("blobUri")
    if not blobs:
        sys.exit(f"{described} does not say where the weights are")
    asked = {"blobUri": blobs, "assetId": model.get("id")} if source == "public" else {"blobUri": blobs}
    signed = (reference_in(answer_of(signing, token, asked)).get("credential") or {}).get("sasUri") or ""
    if "?" not in signed:
        sys.exit(f"{signing} gives no signature")
    place = urlsplit(blobs)
    container = place.path.strip("/").partition("/")[0]
    found = {
        "AZURE_STORAGE_SAS_TOKEN": signed.partition("?")[2],
        "AZURE_STORAGE_ACCOUNT_NAME": place.netloc.partition(".")[0],
        "STREAM_MODEL_URI": posixpath.join(f"az://{container}", folder_of(signed)).rstrip("/"),
    }
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in found.items()]
    Path(os.environ["STREAM_ENV_FILE"]).write_text("".join(lines), encoding="utf-8")
    sys.stdout.write(f"weights are streamed from {found['STREAM_MODEL_URI']}\n")


if __name__ == "__main__":
    main()
