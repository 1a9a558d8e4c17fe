"""`ray start` for a node that only this machine reaches: run as a program with ray's own arguments.

Ray replaces 127.0.0.1 by the address that other machines reach, and then listens on every interface. With the switch
that it has for Windows and macOS its processes stay on loopback; `ray start --address` refuses that switch, so it is
set behind its back, for the processes it starts.

It buys that no other machine reaches a `rayox cluster up`, which nothing public does: RAYOX_PLAIN_RAY=1 leaves it on,
and a Ray that has moved these parts cannot start such a cluster. It does not concern speed, so nothing is measured.
"""

import os

LOOPBACK = "127.0.0.1"
STAY_ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0" does; whoever connects needs it too


def main() -> None:
    from ray._private import services
    from ray.scripts.scripts import main as ray

    services.get_node_ip_address = lambda address=None: LOOPBACK
    os.environ[STAY_ON_LOOPBACK] = "0"
    ray()


if __name__ == "__main__":
    main()
