"""The rule under which the published weights were trained (official code before 2023)."""

from rayox_model.assign.simota_settings import SimOTA

PUBLISHED_SIMOTA = SimOTA(candidates="box_or_center", center_radius=2.5, outside_cost=1e5)
