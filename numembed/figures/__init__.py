"""Results to Plotly figures, a file a subject. Nothing is computed here but positions and colours."""
