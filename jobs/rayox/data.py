"""`rayox data`: check, convert and look at data sets. Each command has a module, imported when it is called."""

import importlib

import click

COMMANDS = {  # name: (module, summary); the module has the command as `command`, or under its name
    "check": ("rayox.data_sets.data_check", "Find every defect of a COCO file and its images, and mend a copy."),
    "convert": ("rayox.data_sets.data_convert", "Turn VOC, YOLO and COCO annotations into COCO or YOLO."),
    "shard": ("rayox.data_sets.data_shards", "Copy a data set into Parquet shards that train from anywhere."),
    "verify": ("rayox.data_sets.data_shards", "Check that every file of shards is whole."),
    "show": ("rayox.data_sets.data_show", "Draw the very images that a training step sees."),
    "stats": ("rayox.data_sets.data_stats", "Count and measure images, boxes and classes."),
}


class DataCommands(click.Group):
    """The commands by name; help lists the summaries above and imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = getattr(module, "command", None) or getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group("data", cls=DataCommands)
def command() -> None:
    """Check, convert, measure and shard data sets."""
