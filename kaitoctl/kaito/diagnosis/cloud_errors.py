"""What a cloud's SDK makes of an error -> the error's code and sentence. Pure.

A message about a machine that was not launched is mostly wrapping: the address that was asked, the status,
the body as JSON, the request's id. What a reader wants, and rules go by, are the code and the sentence.

Source, as read: Azure/azure-sdk-for-go sdk/azcore/internal/exported/response_error.go (ResponseError.Error).
The wrappings of go-autorest, AWS and Google are as messages of theirs show them.
"""

from __future__ import annotations

import json
import re

_LONGEST = 20_000  # a condition holds 32,768 characters

# `creating instance, agentPool.BeginCreateOrUpdate for "ws1" failed: PUT https://... ---- RESPONSE 403: ...`
_AZURE = re.compile(
    r"(?:creating instance, )?(?:[\w.]{1,80} for \"[^\"]{0,120}\" failed: )?"
    r"(?:(?:GET|PUT|POST|PATCH|DELETE|HEAD) https?://\S+|"
    r"Request information not available|Missing RawResponse)"
    r"\s+-{20,}.*",
    re.DOTALL,
)
_STATUS = re.compile(r"RESPONSE \d{3}: (?:\d{3} )?([^\n]{1,80})")
_CODE = re.compile(r"ERROR CODE: ([\w.]{1,120})")
_MESSAGE = re.compile(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)
_INNER_CODE = re.compile(r'"code"\s*:\s*"([\w.]{1,120})"')
_SEE_INSIDE = re.compile(
    r"(?i)see (?:the )?(?:inner|details)|inner ?errors? for|for more details|check the details"
)

# `compute.VirtualMachinesClient#CreateOrUpdate: Failure sending request: StatusCode=409 -- Original Error:
# autorest/azure: Service returned an error. Status=409 Code="X" Message="Y"`, of which much may be missing
_OLD_AZURE = re.compile(
    r"(?:\b[\w.]{1,80}#\w{1,60}: [\w ]{1,60}: StatusCode=\d{1,5} -- Original Error: )?"
    r"(?:\bautorest/azure: )?(?:Service [\w ]{0,40}\. )?(?:Status=\S{1,12} )?"
    r"\bCode=\"(?P<code>[\w.]{1,120})\"\s+Message=\"(?P<said>(?:[^\"\\]|\\.){0,4000})\"?.*",
    re.DOTALL,
)
# `creating instance, insufficient capacity, with fleet error(s), CODE: sentence; CODE: sentence`
_FLEET = re.compile(r"(?:creating instance, )?(?:insufficient capacity, )?with fleet error\(s\), ")
# `operation error EC2: CreateFleet, https response error StatusCode: 403, RequestID: 1, api error CODE: why`
_SMITHY = re.compile(
    r"operation error [\w ]{1,60}: \w{1,60}, (?:exceeded maximum number of attempts, \d+, )?"
    r"https response error StatusCode: \d+, RequestID: [\w-]{0,80}, api error "
)
_GOOGLE = re.compile(r"googleapi: Error \d{3}: ")
_OF_REQUEST = re.compile(
    r"\s?\(aws-error-code=[^()]{0,800}\)|,?\s?Encoded authorization failure message: \S+|"
    r",?\s?(?:status code: \d{3}, )?request id: [\w-]{8,80}",
    re.IGNORECASE,
)


def plain(words: str) -> str:
    """The words of a cloud's error without their wrapping: `CODE: sentence`; other words as they are.

    Guarantee: never raises; what stands before an error is kept; cut messages give what is left of them.
    """
    if len(words) > _LONGEST:
        words = words[:_LONGEST]
    words = words.replace("\\n", "\n") if "RESPONSE " in words else words
    if found := _AZURE.search(words):
        words = words[: found.start()] + _of_azure(found[0])
    elif found := _OLD_AZURE.search(words):
        words = f"{words[: found.start()]}{found['code']}: {_unescaped(found['said'])}"
    for wrapping in (_FLEET, _SMITHY, _GOOGLE, _OF_REQUEST):
        words = wrapping.sub("", words)
    return words.strip()


def _of_azure(dump: str) -> str:
    status, code = _STATUS.search(dump), _CODE.search(dump)
    said = [text for text in map(_unescaped, _MESSAGE.findall(dump)) if text]
    name = code[1] if code else status[1].strip() if status else ""
    message = said[0] if said else ""
    if len(said) > 1 and _SEE_INSIDE.search(message):
        codes = _INNER_CODE.findall(dump)
        name, message = (codes[-1] if codes else name), said[-1]
    if not said and code and status:
        name, message = status[1].strip(), code[1]
    return ": ".join(filter(None, (name, message))) or " ".join(dump.split())


def _unescaped(text: str) -> str:
    """What a JSON string says, though it may have been cut."""
    try:
        found = json.loads(f'"{text.rstrip(chr(92))}"', strict=False)
    except ValueError:
        found = text
    return " ".join(str(found).split())
