"""The Textual application. The only place that imports textual."""
