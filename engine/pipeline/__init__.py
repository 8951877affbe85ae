"""A request's way through the engine, whichever protocol it came by, and the counters kept on the way."""
