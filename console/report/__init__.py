"""The results page: from stored runs to Markdown, HTML, JSON and CSV."""
