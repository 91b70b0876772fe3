"""What a person is told when the settings don't allow a start."""

from collections.abc import Sequence


class SettingsError(Exception):
    """The settings do not allow a start; the text is one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Each problem is one line: the setting's name, what is wrong with it, what to do."""
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
