"""What a receiver does with a message, decided by the message alone, so that everybody can work it out."""

import random
from dataclasses import dataclass
from enum import StrEnum


class Deed(StrEnum):
    """What a receiver does at one contact."""

    TAKE = "take"
    TAKE_SLOWLY = "take_slowly"
    STALL = "stall"
    """It takes the message and answers when nobody waits any more."""
    CUT = "cut"
    """It takes the message and hangs up instead of an answer."""
    REFUSE = "refuse"
    """Later, perhaps."""
    FORBID = "forbid"
    """Never."""


ARRIVES = frozenset({Deed.TAKE, Deed.TAKE_SLOWLY, Deed.STALL, Deed.CUT})
AMBIGUOUS = frozenset({Deed.STALL, Deed.CUT})

CHARACTERS: dict[str, tuple[float, tuple[Deed, ...]]] = {
    "steady": (0.80, (Deed.TAKE,)),
    "slow": (0.08, (Deed.TAKE_SLOWLY,)),
    "shaky": (0.05, (Deed.REFUSE, Deed.REFUSE, Deed.TAKE)),
    "stalling": (0.02, (Deed.STALL, Deed.TAKE)),
    "cutting": (0.02, (Deed.CUT, Deed.TAKE)),
    "forbidding": (0.02, (Deed.FORBID,)),
    "hopeless": (0.01, (Deed.REFUSE,)),
}
"""Each receiver's share, and what it does at the first contact, the second, …; the last deed stays."""

POLITE = frozenset({"steady", "slow", "shaky", "forbidding"})
"""Those who always say what they did."""

ENDINGS = {"forbidding": ("failed", "provider_rejected"), "hopeless": ("failed", "retries_exhausted")}
SENT = ("sent", None)


@dataclass(frozen=True)
class Behaviour:
    """The receivers of one run."""

    seed: int
    polite: bool = False

    def character(self, number: int) -> str:
        """Name what kind of receiver a request goes to."""
        chosen = [name for name in CHARACTERS if not self.polite or name in POLITE]
        shares = [CHARACTERS[name][0] for name in chosen]
        return random.Random(f"receiver {self.seed} {number}").choices(chosen, shares)[0]

    def deed(self, number: int, contact: int) -> Deed:
        """Return what the receiver does at its contact numbered from 1."""
        _, deeds = CHARACTERS[self.character(number)]
        return deeds[min(contact, len(deeds)) - 1]

    def ending(self, number: int) -> tuple[str, str | None]:
        """Return the state in which a request has to end, and its reason."""
        return ENDINGS.get(self.character(number), SENT)
