"""The controller manager: one file for each controller, each unaware of the others, all driven by state.

A file belongs here if it moves the cluster's objects towards what their specs say, by way of the API alone.
"""
