"""What a submitted training or campaign is called when it is to be done anew and its cluster knows no job of it."""

from rayox.jobs.job_campaign import campaign_called
from rayox.jobs.job_register import Submitted
from rayox.jobs.run_places import run_of_job
from rayox.submission.resolved import Resolved


def first_unfinished(resolved: Resolved, again: bool) -> Resolved:
    """Work that its cluster knows no job of: where it is to be done anew, under the first name not finished yet.

    That is told by its storage, if it is seen from here; else the driver says that it is finished.
    """
    now, number = resolved, 1
    while again and resolved.is_lasting and _is_finished(now):
        number += 1
        now = resolved.anew(number)
    return now


def _is_finished(resolved: Resolved) -> bool:
    if resolved.task.campaign:
        campaign = campaign_called(resolved.task.campaign, resolved.storage)
        return campaign is not None and campaign.status == "finished"
    run = run_of_job(Submitted(resolved.name, "", resolved.submission_id, resolved.storage))
    return run is not None and run.state == "finished"
