"""The life of the serving process: from bind to exit."""
