"""Widgets that draw styled text. They do not depend on the session."""
