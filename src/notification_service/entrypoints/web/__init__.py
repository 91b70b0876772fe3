"""The site: pages for people in a browser, signed in by a session cookie."""

from notification_service.entrypoints.web.pages import error_page
from notification_service.entrypoints.web.site import routes

__all__ = ["error_page", "routes"]
