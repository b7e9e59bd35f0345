"""Credentials that another program gives: a kubeconfig's `exec`, asked as kubectl asks it.

The program is started without a shell. What it writes to stderr the user sees; what is piped into us it does
not get to read: it may ask only where somebody sits at a terminal.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from kaitoctl.errors import InputError

TIMEOUT_S = 30.0
TIMEOUT_WITH_SOMEBODY_S = 300.0  # who may have to log in

_LONGEST = 1024 * 1024  # of what a program writes; credentials are some KiB
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_CONFIG = "client.authentication.k8s.io/exec"
_TOLD = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
_TEXTS = ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")


class Plugin(Struct, frozen=True):
    """What a kubeconfig says of the program.

    Args:
        spec: the user's `exec`.
        where: the kubeconfig, for messages.
        folder: where a relative path of the program starts from.
        cluster: the kubeconfig's cluster, told to a program that wants to know it.
        cluster_folder: where relative paths in the cluster start from.
    """

    spec: dict[str, Any]
    where: str
    folder: Path
    cluster: dict[str, Any]
    cluster_folder: Path

    @property
    def command(self) -> str:
        """The program as it is written."""
        return str(self.spec.get("command") or "")

    async def ask(self) -> Credentials:
        """Run the program.

        Raises:
            InputError: it gave no credentials.
        """
        return _credentials(await self._output(), self)

    async def _output(self) -> bytes:
        version, mode = self.spec.get("apiVersion"), self.spec.get("interactiveMode") or "IfAvailable"
        if not self.command:
            raise self.fault("its exec needs a command")
        if version not in _VERSIONS:
            raise self.fault(
                f"its apiVersion is {version}, and kubectl takes {' and '.join(_VERSIONS)} alone",
                hint="update the plugin, and let your cloud's tool write the kubeconfig again",
            )
        somebody = mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
        if mode == "Always" and not somebody:
            raise self.fault("it needs to prompt, and there is no terminal")
        program = self.command
        if os.sep in program:  # else it is looked for in PATH
            program = str(self.folder / program)
        # A pipe of our own: asyncio's would have us wait for whatever the program has started, and that
        # may live on when the program itself is ended.
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *map(str, self.spec.get("args") or ()),
                env=self._environment(str(version), somebody),
                stdin=None if somebody else asyncio.subprocess.DEVNULL,
                stdout=writing,
            )
        except (OSError, ValueError) as error:  # ValueError: a null byte
            os.close(reading)
            words = getattr(error, "strerror", None) or str(error)
            raise self.fault(words, hint=str(self.spec.get("installHint") or "")) from None
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        timeout_s = TIMEOUT_WITH_SOMEBODY_S if somebody else TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                output = await _text_of(reading)
                await process.wait()
        except TimeoutError:
            raise self.fault(f"it said nothing for {timeout_s:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if len(output) > _LONGEST:
            raise self.fault(f"it wrote more than {_LONGEST // 1024} KiB")
        if process.returncode:
            raise self.fault(_ending(process.returncode))
        return output

    def _environment(self, version: str, somebody: bool) -> dict[str, str]:
        spec: dict[str, Any] = {"interactive": somebody}
        if self.spec.get("provideClusterInfo"):
            spec["cluster"] = self._cluster_info()
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
        own = {item["name"]: item.get("value") or "" for item in self.spec.get("env") or ()}
        return {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}

    def _cluster_info(self) -> dict[str, Any]:
        told = {name: self.cluster[name] for name in _TOLD if self.cluster.get(name)}
        if file := self.cluster.get("certificate-authority"):
            try:
                authority = (self.cluster_folder / str(file)).read_bytes()
            except OSError as error:
                raise self.fault(f"{file}: {error.strerror}") from None
            told["certificate-authority-data"] = base64.b64encode(authority).decode()
        for extension in self.cluster.get("extensions") or ():
            if extension and extension.get("name") == _CONFIG:
                told["config"] = extension.get("extension")
        return told

    def fault(self, why: str, *, hint: str = "") -> InputError:
        """The error that names the kubeconfig, the program, and why there are no credentials."""
        return InputError(
            f"kubeconfig {self.where}: the credential plugin {self.command!r} gave no credentials: {why}",
            hint=hint or f"run it by hand to see why: {self.command}",
        )


async def _text_of(descriptor: int) -> bytes:
    """What comes out of a pipe until it ends, or is more than any credentials are; closes it."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    output = b""
    try:
        while len(output) <= _LONGEST and (piece := await reader.read(_LONGEST)):
            output += piece
    finally:
        transport.close()
    return output


def _ending(code: int) -> str:
    if code > 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a program gave.

    Args:
        token: a bearer token, empty for none.
        certificate: PEM, empty for none; with `key`.
        key: PEM.
        expires_at: Unix time in seconds; infinite when it did not say.
    """

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires_at: float = math.inf


def _credentials(output: bytes, plugin: Plugin) -> Credentials:
    try:
        answer = json.loads(output)
        status = answer["status"]
        version = answer["apiVersion"]
        texts = {name: status.get(name) or "" for name in _TEXTS}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise plugin.fault("what it wrote is no ExecCredential") from None
    if version != plugin.spec["apiVersion"]:
        known = f"{version!r}" if version in _VERSIONS else "another version"
        raise plugin.fault(f"it speaks {known} instead of {plugin.spec['apiVersion']!r}")
    if any(not isinstance(text, str) for text in texts.values()):
        raise plugin.fault("what it wrote is no ExecCredential")
    token, certificate, key, expires = texts.values()
    if bool(certificate) != bool(key) or not (token or certificate):
        raise plugin.fault("there is neither a token nor a certificate with its key")
    if not token.isascii() or not token.isprintable():
        raise plugin.fault("its token is invalid: it contains characters that no header allows")
    try:
        expires_at = datetime.fromisoformat(expires).timestamp() if expires else math.inf
    except (ValueError, OverflowError):
        raise plugin.fault("its expirationTimestamp is invalid") from None
    return Credentials(token, certificate.encode(), key.encode(), expires_at)
