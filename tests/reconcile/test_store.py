"""A store finds by any value what a look at all its objects would find, whatever came, changed and went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.objects import Object, ObjectKey
from kaitoctl.reconcile.store import Store

LETTERS = "abc"
CHANGES = st.lists(
    st.tuples(st.sampled_from("xyz"), st.none() | st.sets(st.sampled_from(LETTERS))), max_size=30
)


def letters(obj: Object) -> list[str]:
    return list(obj["letters"])


def names(obj: Object) -> list[str]:
    return [obj["metadata"]["name"]]


@given(before=CHANGES, after=CHANGES)
def test_what_an_index_finds_is_what_there_is(before: list, after: list) -> None:  # type: ignore[type-arg]
    store = Store(packed=True)
    there: dict[str, set[str]] = {}
    for is_asked, changes in ((False, before), (True, after)):
        for name, having in changes:
            key = ObjectKey("default", name)
            if having is not None:
                there[name] = having
                store._replace(key, {"metadata": {"name": name}, "letters": sorted(having)})
            elif there.pop(name, None) is not None:
                store._replace(key, None)
            for letter in LETTERS if is_asked else ():
                wanted = {ObjectKey("default", one) for one, has in there.items() if letter in has}
                found = store.keys_by(letters, letter)
                assert len(found) == len(wanted)
                assert (
                    set(found)
                    == wanted
                    == {ObjectKey("default", *names(o)) for o in store.by(letters, letter)}
                )
        store.by(letters, "a")  # the first question looks at all that came before
