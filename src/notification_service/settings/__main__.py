"""Prints docs/settings.md: `python -m notification_service.settings > docs/settings.md`."""

import sys

from notification_service.settings.reference import reference

if __name__ == "__main__":
    sys.stdout.write(reference())
