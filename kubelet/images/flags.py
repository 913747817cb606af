"""What the kubelet's flags say of images, under upstream's names: of its flags where it has them, else of the fields of
its configuration file.
https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from kubelet.images.collecting import Thresholds
from kubelet.images.records import POLICIES
from machinery.flags import duration, truth


@dataclass(frozen=True, slots=True)
class ImageConfig:
    parallel_pulls: int | None  # images that are fetched at the same time; None is without a limit
    verification: str
    records: Path
    thresholds: Thresholds
    most_in_status: int  # -1 for all


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--serialize-image-pulls", type=truth, nargs="?", const=True, default=None,
        help="fetch one image at a time; by default so, unless --max-parallel-image-pulls is more than 1",
    )  # fmt: skip
    add("--max-parallel-image-pulls", type=int, default=None, help="no limit if unset and not serialized")
    add(
        "--image-pull-credentials-verification-policy", choices=POLICIES, default=POLICIES[0],
        help="of which images that are there a pod's access is verified",
    )  # fmt: skip
    add(
        "--image-manager-dir", type=Path, default=None,
        help="which images kubelets have pulled, the same directory for all that share an engine; by default "
        "image_manager in the root directory",
    )  # fmt: skip
    add("--image-gc-high-threshold", type=int, default=85, help="percent of the disk from which on images are removed")
    add("--image-gc-low-threshold", type=int, default=80, help="percent of the disk down to which images are removed")
    add("--minimum-image-ttl-duration", type=duration, default=120.0, help="an image is kept for so long at least")
    add("--maximum-image-gc-age", type=duration, default=0.0, help="images unused for so long are removed; 0s: never")
    add("--node-status-max-images", type=int, default=50, help="in the node's status; -1 for all")


def read(flags: argparse.Namespace, root: Path) -> ImageConfig:
    """Raises ValueError."""
    if flags.node_status_max_images < -1:
        raise ValueError("--node-status-max-images must be -1 or greater")
    return ImageConfig(
        _parallel_pulls(flags.max_parallel_image_pulls, flags.serialize_image_pulls),
        flags.image_pull_credentials_verification_policy,
        flags.image_manager_dir or root / "image_manager",
        _thresholds(flags),
        flags.node_status_max_images,
    )


def _parallel_pulls(most: int | None, one: bool | None) -> int | None:
    if most is not None and most < 1:
        raise ValueError(f"--max-parallel-image-pulls {most} must be a positive number")
    if one is None:
        one = most is None or most < 2
    if one and most is not None and most > 1:
        raise ValueError("--max-parallel-image-pulls cannot be larger than 1 unless --serialize-image-pulls is false")
    return 1 if one else most


def _thresholds(flags: argparse.Namespace) -> Thresholds:
    high, low = flags.image_gc_high_threshold, flags.image_gc_low_threshold
    for name, value in (("high", high), ("low", low)):
        if not 0 <= value <= 100:
            raise ValueError(f"--image-gc-{name}-threshold {value} must be between 0 and 100, inclusive")
    if low >= high:
        raise ValueError(f"--image-gc-low-threshold {low} must be less than --image-gc-high-threshold {high}")
    least, longest = flags.minimum_image_ttl_duration, flags.maximum_image_gc_age
    if longest and longest <= least:
        raise ValueError("--maximum-image-gc-age must be greater than --minimum-image-ttl-duration")
    return Thresholds(high, low, least, longest)
