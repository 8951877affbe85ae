"""The live deployment and its replacement under load."""
