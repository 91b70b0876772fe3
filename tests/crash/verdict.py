"""Whether it adds up: every promise of the service, held against the evidence."""

from collections.abc import Callable, Iterable

from tests.crash.evidence import Evidence
from tests.crash.plan import Plan
from tests.e2e.caller import FINAL

ARRIVED = frozenset({"sent", "delivered"})

type Check = Callable[[Evidence, Plan], Iterable[str]]


def judge(evidence: Evidence, plan: Plan) -> dict[str, list[str]]:
    """Return, for each promise that was broken, the notifications with which."""
    broken = {check.__name__: sorted(check(evidence, plan)) for check in CHECKS}
    return {name: found for name, found in broken.items() if found}


def accepted_but_not_stored(evidence: Evidence, _: Plan) -> Iterable[str]:
    """What was accepted is there."""
    return evidence.accepted.keys() - evidence.rows.keys()


def stored_but_never_accepted(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Nothing is there twice: every request was repeated with its key until it was accepted."""
    return evidence.rows.keys() - evidence.accepted.keys()


def not_final(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Everything comes to an end."""
    return (name for name, row in evidence.rows.items() if row["status"] not in FINAL)


def given_up(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Receivers took everything, so nothing may have failed."""
    return (name for name, row in evidence.rows.items() if row["status"] in FINAL - ARRIVED)


def sent_but_not_arrived(evidence: Evidence, _: Plan) -> Iterable[str]:
    """No state claims an arrival that wasn't."""
    sent = (name for name, row in evidence.rows.items() if row["status"] in ARRIVED)
    return (name for name in sent if not evidence.arrivals[name])


def sent_without_its_time(evidence: Evidence, _: Plan) -> Iterable[str]:
    """`sent_at` is there exactly when it was sent."""
    return (
        name for name, row in evidence.rows.items() if (row["sent_at"] is None) == (row["status"] in ARRIVED)
    )


def arrived_but_never_accepted(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Nothing arrives that nobody asked for."""
    return evidence.arrivals.keys() - evidence.accepted.keys()


def arrived_altered(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """What arrives is what was accepted."""
    return (
        name
        for name, text in evidence.texts.items()
        if name in evidence.accepted and text != plan.body(evidence.accepted[name])
    )


def repeated_without_cause(evidence: Evidence, _: Plan) -> Iterable[str]:
    """Each repeat is explained by an attempt whose ending nobody knew."""
    return (
        name
        for name in evidence.arrivals
        if evidence.repeats(name) > evidence.attempts(name, "unknown", "ambiguous")
    )


def lost_without_a_crash(evidence: Evidence, _: Plan) -> Iterable[str]:
    """An ending is unknown only of what was in hand at a kill or a freeze."""
    return (
        name for name in evidence.histories if evidence.attempts(name, "unknown") > evidence.in_hand[name]
    )


def repeated_beyond_the_bound(evidence: Evidence, plan: Plan) -> Iterable[str]:
    """All repeats together are fewer than the workers' places times their deaths."""
    repeated = [name for name in evidence.arrivals if evidence.repeats(name)]
    return repeated if sum(map(evidence.repeats, repeated)) > plan.bound else ()


def history_contradicts(evidence: Evidence, _: Plan) -> Iterable[str]:
    """One delivery took effect, nothing after it, and `retry_count` counts what came before."""
    rows = evidence.rows
    return (name for name in evidence.histories if not _adds_up(evidence, name, rows[name]["retry_count"]))


def repeated_with_another_answer(evidence: Evidence, _: Plan) -> Iterable[str]:
    """A key gives the answer it gave before."""
    return (
        name
        for name, answer in evidence.replays.items()
        if answer.status != 202
        or answer.document["id"] != name
        or answer.headers.get("idempotency-replayed") != "true"
    )


def _adds_up(evidence: Evidence, name: str, retry_count: int) -> bool:
    counted = evidence.counted(name)
    deliveries = [entry for entry in counted if entry["outcome"] == "delivered"]
    return len(deliveries) == 1 and counted[-1] is deliveries[0] and retry_count == len(counted) - 1


CHECKS: tuple[Check, ...] = (
    accepted_but_not_stored,
    stored_but_never_accepted,
    not_final,
    given_up,
    sent_but_not_arrived,
    sent_without_its_time,
    arrived_but_never_accepted,
    arrived_altered,
    repeated_without_cause,
    lost_without_a_crash,
    repeated_beyond_the_bound,
    history_contradicts,
    repeated_with_another_answer,
)
