"""Whether it adds up: every promise of the service, held against the evidence."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.chaos.behaviour import AMBIGUOUS
from tests.chaos.evidence import Evidence, number_of
from tests.chaos.plan import BODY, Plan
from tests.crash import verdict as crash
from tests.e2e.caller import FINAL

ON_TIME_SECONDS = 6.0
"""Where nothing is broken and nothing waits: well before any sweep would have to help."""
FEW = 0.02
CLOCKS = timedelta(milliseconds=100)
"""How far times of one attempt may be apart that were read off different clocks."""

type Check = Callable[[Evidence, Plan], Iterable[str]]


def judge(evidence: Evidence, plan: Plan) -> dict[str, list[str]]:
    """Return, for each promise that was broken, the notifications with which."""
    broken = {check.__name__: sorted(check(evidence, plan)) for check in CHECKS}
    return {name: found for name, found in broken.items() if found}


def lost(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """What was accepted is stored, comes to an end, and arrives unless its receiver refuses it for good."""
    for name, number in evidence.accepted.items():
        row = evidence.rows.get(name)
        ended = row is not None and row["status"] in FINAL
        arrives = plan.behaviour.ending(number)[0] == "sent"
        if not ended or (arrives and not evidence.arrivals[name]):
            yield name


def phantom(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Nothing is stored or arrives but what was accepted; of an unanswered request, one at most."""
    possible = evidence.possibly_accepted
    twice = Counter(possible.values())
    seen = evidence.rows.keys() | evidence.contacts.keys()
    return (name for name in seen - evidence.accepted.keys() if twice[possible.get(name, -1)] != 1)


def altered(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """What is stored and what arrives is what was accepted."""
    for name, number in evidence.accepted.items():
        stored = evidence.texts.get(name, BODY.format(number=number, seed=plan.seed))
        contacts = evidence.contacts.get(name, ())
        if number_of(stored) != number or any(each.number != number for each in contacts):
            yield name


def repeated_without_cause(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Each repeat is explained by an attempt whose ending nobody knew."""
    return (name for name in evidence.arrivals if evidence.repeats(name) > evidence.unexplained(name))


def lost_without_a_crash(evidence: Evidence, _: Plan) -> Iterable[str]:
    """An ending is unknown only of what was in hand while a worker or the database failed."""
    return (
        name for name in evidence.histories if evidence.attempts(name, "unknown") > evidence.in_hand[name]
    )


def repeated_although_nothing_failed(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """Where processes are only asked to stop and receivers say what they did, nothing arrives twice."""
    nothing_failed = plan.polite_receivers and not plan.faults
    return (name for name in evidence.arrivals if nothing_failed and evidence.repeats(name))


def repeated_beyond_the_bound(evidence: Evidence, _: Plan) -> Iterable[str]:
    """All repeats together are no more than claims lost in hand and endings that nobody knew."""
    repeated = [name for name in evidence.arrivals if evidence.repeats(name)]
    return repeated if sum(map(evidence.repeats, repeated)) > bound(evidence) else ()


def bound(evidence: Evidence) -> int:
    """How many repeats are explained at most: claims lost in hand at faults, and calls of unknown ending."""
    lost_in_hand = sum(
        min(evidence.attempts(name, "unknown"), evidence.in_hand[name]) for name in evidence.histories
    )
    told = sum(evidence.attempts(name, "ambiguous") for name in evidence.histories)
    seen = sum(each.deed in AMBIGUOUS for found in evidence.contacts.values() for each in found)
    return lost_in_hand + max(told, seen)


def state_contradicts(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """What ended, ended as its receiver made it end."""
    for name, number in (evidence.accepted | evidence.possibly_accepted).items():
        row = evidence.rows.get(name)
        if (
            row
            and row["status"] in FINAL
            and (row["status"], row["status_reason"]) != plan.behaviour.ending(number)
        ):
            yield name


def sent_but_not_arrived(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """No state claims an arrival that wasn't, and `sent_at` is there exactly when it was sent."""
    yield from crash.sent_but_not_arrived(evidence, plan)  # type: ignore[arg-type]  # it reads no plan
    yield from crash.sent_without_its_time(evidence, plan)  # type: ignore[arg-type]


def attempts_do_not_add_up(evidence: Evidence, _: Plan) -> Iterable[str]:
    """`retry_count` counts attempts after the first, and each contact belongs to an attempt of its own."""
    for name in evidence.histories:
        made = len(evidence.attempts_made(name))
        right = evidence.rows[name]["retry_count"] == max(made - 1, 0)
        if not right or made < len(evidence.contacts.get(name, ())):
            yield name


def attempts_overlap(evidence: Evidence, _: Plan) -> Iterable[str]:
    """No attempt that counted began before the one before it had ended."""
    for name in evidence.histories:
        made = evidence.attempts_made(name)
        if any(
            _time(later["started_at"]) + CLOCKS < _time(one["finished_at"]) for one, later in pairwise(made)
        ):
            yield name


def dead_letters_contradict(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Each failed notification has one dead letter with its reason, and no other has any."""
    for name, row in evidence.rows.items():
        wanted = [row["status_reason"]] if row["status"] == "failed" else []
        if evidence.dead_letters.get(name, []) != wanted:
            yield name
    yield from (name for name in evidence.dead_letters if name not in evidence.rows)


def too_early(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Nothing arrives before its time."""
    for name, number in evidence.accepted.items():
        contacts, due = evidence.contacts.get(name), evidence.due_at.get(number)
        if contacts and due and contacts[0].at < _time(due).timestamp():
            yield name


def late_in_calm(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """Once all faults are over and nothing waits, everything is delivered at once.

    A few may be late on a busy machine.
    """
    late = [name for name, number in evidence.accepted.items() if _is_late(evidence, plan, name, number)]
    return late if len(late) > len(plan.calm) * FEW else ()


def _is_late(evidence: Evidence, plan: Plan, name: str, number: int) -> bool:
    contacts = evidence.contacts.get(name)
    if number not in plan.calm or not contacts:
        return False
    return contacts[0].at > _due(evidence, number) + ON_TIME_SECONDS


def repeated_with_another_answer(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """A key gives the answer it gave before."""
    return crash.repeated_with_another_answer(evidence, plan)  # type: ignore[arg-type]  # it reads no plan


def _due(evidence: Evidence, number: int) -> float:
    due = evidence.due_at.get(number)
    return max(evidence.accepted_at[number], _time(due).timestamp() if due else 0.0)


def _time(told: Any) -> datetime:
    return datetime.fromisoformat(told)


CHECKS: tuple[Check, ...] = (
    lost,
    phantom,
    altered,
    repeated_without_cause,
    lost_without_a_crash,
    repeated_although_nothing_failed,
    repeated_beyond_the_bound,
    state_contradicts,
    sent_but_not_arrived,
    attempts_do_not_add_up,
    attempts_overlap,
    dead_letters_contradict,
    too_early,
    late_in_calm,
    repeated_with_another_answer,
)

NAMES = frozenset(check.__name__ for check in CHECKS)
