"""Several people change one Workspace's adapters at once: in no order of their requests is one lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from world import World, falcon

from kaitoctl.errors import ApiError
from kaitoctl.kaito import adapters, api
from kaitoctl.kaito.adapters import Change, Written
from kaitoctl.kube import request as api_request
from kaitoctl.kube.objects import Object
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

Person = Generator[Request, Object, Any]


def entry(name: str) -> Object:
    return adapters.entry(name, image=f"registry.example/{name}:1", strength="1.0")


def changing(change: Change, *, force: bool = False) -> Person:
    """A person with kaitoctl: look, then write."""
    seen = yield api_request.get(api.WORKSPACE, "default", "falcon")
    return (yield from adapters.writing(seen, change, manager="kaitoctl", force=force))


def editing(name: str) -> Person:
    """A person with `kubectl edit`: look, then replace; a conflict is said, and the person gives up."""
    seen = yield api_request.get(api.WORKSPACE, "default", "falcon")
    edited = adapters.with_entries(seen, [*adapters.entries_of(seen), entry(name)])
    put = api_request.replace(api.WORKSPACE, edited)
    yield Request(put.method, put.path, {"fieldManager": "kubectl-edit"}, put.body)


def reporting() -> Person:
    """The controller, which writes the status."""
    body = {"status": {"workerNodes": ["gpu-a"]}}
    yield api_request.merge_patch(
        api.WORKSPACE, "default", "falcon", body, manager="controller", subresource="status"
    )


@dataclass(frozen=True)
class RealServer:
    """A real API server behind the same call as `World`'s."""

    plane: ControlPlane

    def do(self, asked: Request) -> Object:
        """Carry out a request."""
        path = f"{asked.path}?{urlencode(asked.query)}"
        status, answer = self.plane.send(asked.method, path, asked.body, content_type=asked.content_type)
        if status >= 300:
            raise ApiError(status, answer["reason"], answer["message"], details=answer.get("details"))
        found: Object = answer
        return found


@dataclass
class Meeting:
    """People at one Workspace, each with the request that comes next, or with what became of it."""

    send: Callable[[Request], Object]
    people: list[Person]
    asked: dict[int, Request] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for who, person in enumerate(self.people):
            self.asked[who] = next(person)

    def let(self, who: int) -> None:
        """Carry out what one of them asks for, and hear what comes next."""
        person, asked = self.people[who], self.asked.pop(who)
        try:
            try:
                answer = self.send(asked)
            except ApiError as error:
                self.asked[who] = person.throw(error)
            else:
                self.asked[who] = person.send(answer)
        except StopIteration as stop:
            self.results[who] = stop.value
        except ApiError as error:
            self.results[who] = error


Outcomes = Callable[..., Iterator[tuple[set[str], list[Any]]]]


@pytest.fixture(params=["sandbox", pytest.param("control-plane", marks=pytest.mark.control_plane)])
def outcomes(request: pytest.FixtureRequest) -> Outcomes:
    """For every order of the requests: the adapters at the end, and what became of each person.

    What became is the person's result, or the ApiError that it ended with.
    """
    is_real = request.param == "control-plane"
    do = RealServer(request.getfixturevalue("control_plane")).do if is_real else None

    def all_of_them(
        people: Callable[[], list[Person]], *present: str
    ) -> Iterator[tuple[set[str], list[Any]]]:
        orders: list[tuple[int, ...]] = [()]
        while orders:
            order = orders.pop()
            send = do or World().do
            with contextlib.suppress(ApiError):
                send(api_request.delete(api.WORKSPACE, "default", "falcon"))
            made = adapters.with_entries(falcon(), [entry(name) for name in present])
            send(api_request.apply(api.WORKSPACE, made, manager="user"))
            meeting = Meeting(send, people())
            for who in order:
                meeting.let(who)
            if meeting.asked:
                orders += [(*order, who) for who in meeting.asked]
                continue
            found = send(api_request.get(api.WORKSPACE, "default", "falcon"))
            names = {adapters.name_of(item) for item in adapters.entries_of(found)}
            yield names, [meeting.results[who] for who in range(len(meeting.people))]

    return all_of_them


def test_two_people_add_different_adapters_and_both_end_up_in_the_workspace(outcomes: Outcomes) -> None:
    seen = set()
    for names, results in outcomes(lambda: [changing(adapters.adding(entry(name))) for name in ("a", "b")]):
        assert names == {"a", "b"}
        seen.add(tuple(result.tries for result in results))
    assert seen == {(1, 1), (1, 2), (2, 1)}  # the orders in which somebody was faster are among them


def test_a_controller_that_writes_the_status_in_between_costs_a_try_and_loses_nothing(
    outcomes: Outcomes,
) -> None:
    def people() -> list[Person]:
        return [*(changing(adapters.adding(entry(name))) for name in ("a", "b")), reporting()]

    found = list(outcomes(people))
    assert all(names == {"a", "b"} for names, _ in found)
    assert len(found) > 80


def test_one_adds_while_another_removes_and_each_gets_what_was_asked_for(outcomes: Outcomes) -> None:
    def people() -> list[Person]:
        return [changing(adapters.adding(entry("new"))), changing(adapters.removing("old"), force=True)]

    for names, results in outcomes(people, "old", "kept"):
        by_hand = [isinstance(result, ApiError) for result in results]
        # The list belongs to who made the Workspace: without force a clear conflict, and the rest as it was.
        assert names == ({"kept"} if by_hand[0] else {"kept", "new"})
        assert not by_hand[1]


def test_kubectl_edit_meanwhile_is_kept_or_is_a_clear_conflict_with_its_name(outcomes: Outcomes) -> None:
    endings = set()
    for names, (ours, theirs) in outcomes(lambda: [changing(adapters.adding(entry("a"))), editing("b")]):
        expected = set()
        if isinstance(ours, Written):
            expected.add("a")
        else:
            assert adapters.conflicting(ours) == ['"kubectl-edit" using kaito.sh/v1alpha1']
        if not isinstance(theirs, ApiError):
            expected.add("b")
        assert names == expected
        endings.add(frozenset(expected))
    assert frozenset("b") in endings and frozenset("a") in endings


def test_with_force_the_list_is_taken_over_and_the_others_adapters_stay(outcomes: Outcomes) -> None:
    for names, (_, theirs) in outcomes(
        lambda: [changing(adapters.adding(entry("a")), force=True), editing("b")]
    ):
        assert names == ({"a"} if isinstance(theirs, ApiError) else {"a", "b"})


def test_a_workspace_that_is_deleted_meanwhile_is_not_made_anew_with_adapters_alone() -> None:
    world = World()
    seen = world.apply(api.WORKSPACE, falcon())
    steps = adapters.writing(seen, adapters.adding(entry("a")), manager="kaitoctl")
    asked = next(steps)
    world.do(api_request.delete(api.WORKSPACE, "default", "falcon"))
    with pytest.raises(ApiError) as refused:
        world.do(asked)
    asked = steps.throw(refused.value)
    with pytest.raises(ApiError) as gone:
        world.do(asked)
    with pytest.raises(ApiError) as told:
        steps.throw(gone.value)
    assert told.value.status == 404
    assert world.get(api.WORKSPACE, "falcon") is None


def test_what_we_applied_before_stays_when_an_adapter_comes_and_goes() -> None:
    """An apply removes what its manager leaves out, so all of it must be applied again."""
    world = World()
    made = {
        **falcon(preferredNodes=["gpu-a"]),
        "metadata": {"name": "falcon", "namespace": "default", "labels": {"a": "b"}},
    }
    before = world.do(api_request.apply(api.WORKSPACE, made, manager="kaitoctl"))
    seen = before
    for change in (adapters.adding(entry("a")), adapters.removing("a")):
        steps = adapters.writing(seen, change, manager="kaitoctl")
        with pytest.raises(StopIteration) as stop:
            steps.send(world.do(next(steps)))
        seen = stop.value.value.after
        assert {key: seen[key] for key in ("resource", "kind")} == {
            key: before[key] for key in ("resource", "kind")
        }
        assert seen["metadata"]["labels"] == {"a": "b"}
    assert seen["inference"] == before["inference"]
