"""`rayox tune`: a campaign of trainings that searches settings, and what is asked of one while it runs and after."""

import os
from pathlib import Path

import click

from rayox.config import RECIPES
from rayox.terminal.console import Console, json_option
from rayox.tune_verbs import VERBS

CAMPAIGNS = Path(__file__).parent / "campaigns"
RUN = "CAMPAIGN"


class CampaignOrVerb(click.Group):
    """The first word is a verb of this group, or else a campaign that is to run."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return RUN, self.commands[RUN], args
        return super().resolve_command(ctx, args)


@click.group("tune", cls=CampaignOrVerb, subcommand_metavar="CAMPAIGN [KEY=VALUE]... | VERB NAME", short_help="")
def command() -> None:
    """Search settings by a CAMPAIGN: a packaged one (simota, loss-weights, augment, finetune) or a YAML file.

    KEY=VALUE sets what the campaign says (budget.trials=8, schedule=asha, search.seed=1) or what all its trials share
    (train.epochs=6, storage=…). `rayox tune CAMPAIGN --help` lists the options.
    """


@command.command(RUN)
@click.argument("campaign")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--name", help="Name of the campaign; by default the file's.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what it will take, and stop.")
@click.option("--resume", is_flag=True, help="Go on with a campaign that was stopped or killed.")
@click.option("--extend", type=click.IntRange(min=1), metavar="N", help="Go on with N trials more.")
@click.option("--warm-from", metavar="NAME", help="Let the search learn from another campaign's trials.")
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Ray cluster to run on; by default that of RAY_ADDRESS, else this machine.",
)
@json_option
def run_command(
    campaign: str,
    overrides: tuple[str, ...],
    name: str | None,
    plan_only: bool,
    resume: bool,
    extend: int | None,
    warm_from: str | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Run a CAMPAIGN: train its trials, best ones longest, and say whether any beats the base recipe."""
    from rayox.tune_run import show_plan, show_result, tune
    from rayox_platform.tune.campaign_file import load_campaign

    console = Console(as_json)
    loaded = load_campaign(campaign, overrides, packaged=CAMPAIGNS, recipes=RECIPES, environ=os.environ)
    if name:
        loaded = loaded.named(name)
    for note in loaded.base.notes:
        console.note(note)
    if plan_only:
        show_plan(console, loaded, address)
        return
    state = tune(
        loaded, console, resume=resume or bool(extend), extend=extend or 0, warm_from=warm_from, address=address
    )
    show_result(console, state)


for verb in VERBS:
    command.add_command(verb)
