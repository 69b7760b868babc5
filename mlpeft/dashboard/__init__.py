"""A live page of a run: `mlpeft dashboard` and `mlpeft-coordinator --dashboard`.

Data and HTTP are separate: `monitor` turns what a source tells, and the run's folder,
into plain values (`view`); `web` serves them. Only `web` needs the extra `dashboard`.
"""
