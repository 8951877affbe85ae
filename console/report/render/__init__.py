"""The renderers of a report: HTML with its style and charts, and Markdown."""
