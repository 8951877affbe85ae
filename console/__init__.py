"""embedconsole: the terminal console, its headless twin and the load driver."""
