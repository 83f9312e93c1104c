"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from ccmirror_py.cli.completing import complete_variant

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A variant.", autocompletion=complete_variant)
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME…", help="Variants.", autocompletion=complete_variant),
]
KeyVariable = Annotated[
    str | None,
    typer.Option(
        "--api-key-env", metavar="VARIABLE", help="Read the key from this variable at each start."
    ),
]
KeyStdin = Annotated[
    bool, typer.Option("--api-key-stdin", help="Read the key from standard input and store it.")
]
KeyKeyring = Annotated[
    bool,
    typer.Option("--api-key-keyring", help="Store the key in the system's keyring, not in a file."),
]
KeyCommand = Annotated[
    str | None,
    typer.Option(
        "--api-key-command", metavar="COMMAND", help="Run this at each start; it prints the key."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Probe = Annotated[
    bool,
    typer.Option(
        "--probe",
        help="Try the new version on the endpoint first, with a few requests; stay if it fails.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be done.")]
