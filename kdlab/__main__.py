"""The command line, `python -m kdlab`: quick to start, since each command imports what it needs."""

import importlib
import os

import click
import typer

GROUPS = {
    "learn": "Learn (read and run the chapters)",
    "interview": "Interview (practise the questions)",
    "research": "Research (repeat the experiments, add your own)",
    "use": "Use (your own images and your own model)",
    "serve": "Serve (a student at work)",
    "classroom": "Classroom (teach with the course)",
}
REGISTERED_IN = (
    "kdlab.apps.classroom.commands",
    "kdlab.apps.chapters.commands",
    "kdlab.apps.interview.commands",
    "kdlab.lab.commands",
    "kdlab.apps.bench.commands",
    "kdlab.apps.distil.commands",
    "kdlab.apps.serving.commands",
)


class Commands(typer.core.TyperGroup):
    """Commands in groups by audience. What a user can put right ends in one sentence and exit code
    1, never in a traceback; KDLAB_TRACEBACK=1 shows the traceback all the same."""

    def invoke(self, context: typer.Context) -> None:
        try:
            super().invoke(context)
        except Exception as error:
            ours = type(error).__module__.startswith("kdlab.")
            expected = ours or isinstance(error, ValueError | OSError | ModuleNotFoundError)
            if not expected or os.environ.get("KDLAB_TRACEBACK"):
                raise
            sentence = str(error) or type(error).__name__
            if isinstance(error, ModuleNotFoundError):
                sentence += "; install what is needed: python -m pip install -r requirements.txt"
            typer.echo(f"kdlab: {sentence}", err=True)
            raise typer.Exit(1) from None

    def format_commands(self, context: typer.Context, formatter: click.HelpFormatter) -> None:
        for group, title in GROUPS.items():
            commands = [c for c in self.commands.values() if c.rich_help_panel == group]
            with formatter.section(title):
                formatter.write_dl([(c.name, c.get_short_help_str(68)) for c in commands])


app = typer.Typer(
    cls=Commands,
    help="Knowledge distillation, taught by running it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in REGISTERED_IN:
    for group, commands in importlib.import_module(module).COMMANDS.items():
        for command in commands:
            options = {"ignore_unknown_options": command.__name__ == "lab"}  # JupyterLab's own
            app.command(rich_help_panel=group, context_settings=options)(command)

if __name__ == "__main__":
    app(prog_name="python -m kdlab")
