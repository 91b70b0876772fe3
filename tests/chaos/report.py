"""The figures of one run: a line for people, a document for programs."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.plan import Plan

SHOWN = 3


@dataclass(kw_only=True)
class Report:
    """What one run found."""

    name: str
    plan: Plan
    accepted: int = 0
    arrived: int = 0
    failed: int = 0
    """Those whose receivers refused them for good."""
    unanswered: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    longest_answer: float = 0.0
    repeats: int = 0
    bound: int = 0
    claims_in_hand: int = 0
    unknown_endings: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    """By kind of process."""
    struck: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    longest_stall: float = 0.0
    """Seconds for which this very process wasn't given the machine."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What only this kind of run measures."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    stories: dict[str, str] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not self.broken

    def count(self, *checks: str) -> int:
        """How many notifications broke one of these promises."""
        return len({one for check in checks for one in self.broken.get(check, ())})

    def line(self) -> str:
        """All of it in one line."""
        kills = ", ".join(f"{count} {target}" for target, count in sorted(self.kills.items())) or "none"
        return (
            f"{'OK' if self.is_good else 'BROKEN'} {self.name} on {self.plan.broker}: "
            f"{self.accepted} accepted, {self.arrived} arrived, {self.failed} refused by their receivers; "
            f"lost {self.count('lost')}, phantom {self.count('phantom')}, "
            f"contradictions {self._contradictions()}, repeats {self.repeats} of at most {self.bound} "
            f"({self.claims_in_hand} claims in hand at faults); kills: {kills}; {len(self.faults)} faults; "
            f"longest answer {self.longest_answer:.1f} s; {self.seconds:.0f} s, seed {self.plan.seed}"
        )

    def complaints(self) -> list[str]:
        """A line for each broken promise, and some of the stories behind it."""
        lines = []
        for name, found in self.broken.items():
            lines.append(f"  {name}: {len(found)}, for instance")
            lines += [f"    {self.stories.get(one, one)}" for one in found[:SHOWN]]
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        return asdict(self) | {"ok": self.is_good, "line": self.line()}

    def write(self, reports: Path, *, logs: Path) -> None:
        """Write it into the folder `reports`; where something is wrong, the logs found in `logs` too."""
        parts = [self.name, self.plan.broker, self.plan.plant, str(self.plan.seed)]
        folder = reports / "-".join(filter(None, parts))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(self.as_json(), indent=2) + "\n")
        for log in () if self.is_good else logs.glob("*.log"):
            shutil.copy(log, folder)

    def _contradictions(self) -> int:
        others = self.broken.keys() - {"lost", "phantom", "repeated_beyond_the_bound"}
        return self.count(*others)
