"""The one typed source of configuration: `NS_*` from the environment and from `.env`."""

from notification_service.settings.errors import SettingsError
from notification_service.settings.loading import load_settings
from notification_service.settings.model import Settings
from notification_service.settings.report import SettingLine, describe, warnings

__all__ = ["SettingLine", "Settings", "SettingsError", "describe", "load_settings", "warnings"]
