"""Patches and field ownership: pure functions on JSON documents (https://kubernetes.io/docs/reference/using-api/).

    json_patch, merge_patch, strategic_merge    PATCH in its three older forms
    managed_fields.track, managed_fields.apply  who owns what; server-side apply

None of them changes what it is given; results may share parts with it, so treat those as immutable.
"""

from apiserver.patching.json_patches import json_patch
from apiserver.patching.merge_patches import merge_patch
from apiserver.patching.strategic_merges import strategic_merge

__all__ = ["json_patch", "merge_patch", "strategic_merge"]
