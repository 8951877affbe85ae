"""Exceptions of the console's commands."""


class CommandRefused(Exception):
    """A command cannot be executed now. The message gives the reason and the next step."""
