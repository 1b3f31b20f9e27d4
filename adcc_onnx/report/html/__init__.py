"""One self-contained HTML page: templates, styles, charts and the data that they show."""
