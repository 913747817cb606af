"""Doing: one worker for each pod, and what the workers share."""
