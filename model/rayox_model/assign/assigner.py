"""The one entry to all assigners: a batch's boxes in, its positives out."""

from rayox_model.assign.assigner_settings import Assigner
from rayox_model.assign.assignment import Assignment
from rayox_model.assign.fcos import fcos
from rayox_model.assign.fcos_settings import FCOS
from rayox_model.assign.simota import simota
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.structures import AnchorPoints, Predictions, Targets


def assign(predictions: Predictions, anchors: AnchorPoints, targets: Targets, settings: Assigner) -> Assignment:
    """The positives of a batch by the chosen assigner; without gradient, in fp32, empty without boxes."""
    match settings:
        case SimOTA():
            return simota(predictions, anchors, targets, settings)
        case FCOS():
            return fcos(predictions, anchors, targets, settings)
