"""What a command of the console may raise."""


class CommandRefused(Exception):
    """A command cannot be carried out now; the message says why and what to do instead."""
