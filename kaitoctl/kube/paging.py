"""Lists that come page by page, and whether they come to an end.

A token for the next page is opaque, so that it alone tells nothing: a server, or a proxy before it, may give
new tokens for ever. What tells is whether the pages get on. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from kaitoctl.errors import Unreachable
from kaitoctl.kube.objects import Object, dig

# Pages without objects are legal (kubernetes API concepts, "chunks": the server may return fewer than asked
# for, also none), but each has looked through at least one chunk of what is stored.
_MOST_EMPTY = 200
_MOST_PAGES = 4000
"""Of 500 objects: ten times the pods of the largest clusters that Kubernetes supports, 150,000."""


class Paging:
    """What was seen of one list."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._first: set[tuple[object, object]] = set()
        self._pages = 0
        self._empty = 0

    def insist_on_progress(self, token: object, items: Sequence[Object]) -> None:
        """Take note of a page that is not the last one.

        Args:
            token: of the next page.
            items: of this page.

        Raises:
            Unreachable: the list goes round in circles, or is longer than any cluster's.
        """
        self._pages += 1
        self._empty = 0 if items else self._empty + 1
        key = (dig(items[0], "metadata", "namespace"), dig(items[0], "metadata", "name")) if items else None
        if str(token) in self._tokens or key in self._first:
            raise _endless("the server answered the same page of a list over and over")
        if self._empty > _MOST_EMPTY:
            raise _endless(
                f"the server answered {self._empty} pages of a list without objects, and no end of it"
            )
        if self._pages > _MOST_PAGES:
            raise _endless(f"the server answered {self._pages:,} pages of a list, and no end of it")
        self._tokens.add(str(token))
        if key is not None:
            self._first.add(key)


def _endless(message: str) -> Unreachable:
    return Unreachable(message, hint="is the kubeconfig's server address that of a Kubernetes API server?")
