"""What fails again and again is told once, until it has worked."""

import structlog

from notification_service.domain.errors import UnavailableError

log = structlog.get_logger(__name__)


class Failing:
    """The steps of one worker that met an outage: a line when it begins, none for each further try."""

    def __init__(self) -> None:
        """Everything works."""
        self._steps: set[str] = set()

    def met(self, step: str, error: UnavailableError) -> None:
        """Note that a step met an outage; `step` names the line."""
        if step not in self._steps:
            self._steps.add(step)
            log.warning(step, code=error.code, remedy="nothing is lost; it is tried again until it works")

    def works(self, step: str) -> None:
        """Note that a step has worked."""
        self._steps.discard(step)
