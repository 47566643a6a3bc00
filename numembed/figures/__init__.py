"""Results to Plotly figures, a file a page."""
