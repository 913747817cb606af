"""Benchmarks: how fast is the cluster, beside the reference figures and the engine's own floor.

Each module measures one thing through the public API, as a client sees it.  `scripts/bench [NAME…] [--json FILE]`.
"""
