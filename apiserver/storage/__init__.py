"""Keeps the objects: etcd holds them safely, the world in memory serves every read.

Only this package knows etcd.  What belongs here works on keys, bytes and revisions; what an object means is the
registry's business.
"""
