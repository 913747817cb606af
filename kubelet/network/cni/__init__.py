"""Somebody else's pod network: plug-ins by the CNI specification, executed as it says.
https://www.cni.dev/docs/spec/
"""
