"""The places of a trial whose process was killed: Ray keeps them until its job ends, and that is the campaign's.

Ray Train reserves a trial's workers by a placement group without a name, and Ray does not say who made it. So each
trial reserves a few bytes less than others do, and its groups are known by that.
"""

import hashlib
from dataclasses import replace

import ray
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.home import RunHome

MARKS = 1 << 24  # bytes, 16 MiB of the gigabytes that a worker reserves


def marked(given: Capacity, home: RunHome) -> Capacity:
    """The same room with the mark of a run."""
    digest = hashlib.sha256(str(home).encode()).digest()
    return replace(given, mark=1 + int.from_bytes(digest[:4], "big") % (MARKS - 1))


def free_places(given: Capacity) -> int:
    """Remove what is reserved with this mark, by nobody who lives: the caller holds the run. How many there were."""
    left = [
        identity
        for identity, group in placement_group_table().items()
        if group["state"] != "REMOVED"
        and any(bundle.get("memory") == given.reserved["memory"] for bundle in group["bundles"].values())
    ]
    for identity in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(identity))))
    return len(left)
