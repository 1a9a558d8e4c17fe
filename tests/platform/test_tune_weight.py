"""What a campaign weighs accuracy against."""

from rayox_model.nets.yolox import YOLOX
from rayox_platform.tune.weight import weigh_network


def test_a_network_is_weighed_by_what_is_asked():
    small, large = YOLOX("nano", 3), YOLOX("tiny", 3)
    counts = [weigh_network(network, (64, 64), ("AP", "parameters"))["parameters"] for network in (small, large)]
    assert 0.8e6 < counts[0] < 1.0e6
    assert counts[1] > 4 * counts[0]
    taken = weigh_network(small, (64, 64), ("milliseconds",))
    assert set(taken) == {"milliseconds"}
    assert taken["milliseconds"] > 0
    assert small.training
    assert weigh_network(small, (64, 64), ()) == {}
