"""This machine as a Node object."""
