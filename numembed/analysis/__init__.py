"""From vectors and labels to numbers: metrics, tests, intervals, clusters, maps, probes. Arrays in, values out.

Nothing here knows a model, a store or a page.
"""
