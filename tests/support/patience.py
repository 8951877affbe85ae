"""How long a test waits for what must come. No measure of speed: a slow machine, or a busy one, is not a broken one."""

HANGS_AFTER_S = 180.0
"""What has not come by then never will."""
