"""What is done to the lab on purpose, and how it is undone.

A new kind of fault is a context manager (inject, yield, heal) and a `Kind` in the catalogue of its module:
`processes`, `etcd`, `informers`, `networks`, `clocks`, `nodes`, `pods`. `plans` draws from all of them.
"""
