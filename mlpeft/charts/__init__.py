"""Charts as SVG text, for the dashboard and for reports.

No package draws them: the page works offline under a strict Content-Security-Policy, so
colours come from classes of `charts.css`, and all text is escaped in `svg`.
"""
