"""Which anchor points are trained to find which box.

An assigner is a settings dataclass (`settings.py`) and a function of the same name whose own part is only which
anchor points are candidates and what each costs each box; `matcher.match` does the rest for all of them.
"""

from rayox_model.assign.assignment import Assignment
from rayox_model.assign.settings import PUBLISHED_SIMOTA, Assigner, SimOTA
from rayox_model.assign.simota import simota
from rayox_model.structures import AnchorPoints, Predictions, Targets

__all__ = ["PUBLISHED_SIMOTA", "Assigner", "Assignment", "SimOTA", "assign", "simota"]


def assign(predictions: Predictions, anchors: AnchorPoints, targets: Targets, settings: Assigner) -> Assignment:
    """The positives of a batch by the chosen assigner; without gradient, in fp32, empty without boxes."""
    match settings:
        case SimOTA():
            return simota(predictions, anchors, targets, settings)
