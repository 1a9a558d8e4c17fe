"""A campaign that another process drives, shown as it goes from the ledger on its storage."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rayox.terminal.console import Console

if TYPE_CHECKING:
    from rayox_platform.tune.campaign_home import CampaignHome
    from rayox_platform.tune.campaign_state import State

POLL_SECONDS = 1.0


def watch_campaign(home: "CampaignHome", console: Console, is_over: Callable[[], bool]) -> "State":
    """Show a campaign until it is over; how it stands then.

    Raises OSError when the last look fails, and DataError for a damaged ledger.
    """
    from rayox.terminal.campaign_panel import CampaignPanel
    from rayox_platform.tune.campaign_state import State
    from rayox_platform.tune.ledger_records import from_record

    state, journal = State(), home.journal()
    tail = journal.tail(whole=True)
    with CampaignPanel(home.name, console) as panel:
        while True:
            last_look = is_over()
            try:
                records = tail()
            except OSError:
                if last_look:
                    raise
                records = []
            for record in records:
                state.apply(*from_record(record, f"{journal}:{state.num_records + 1}"))
            if records:
                panel.show(state)
            if last_look:
                return state
            time.sleep(POLL_SECONDS)
