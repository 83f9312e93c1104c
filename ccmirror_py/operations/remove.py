"""`ccm remove`: take away what a variant is made of, and nothing else."""

from collections.abc import Collection

from ccmirror_py.context import Context
from ccmirror_py.errors import BusyError
from ccmirror_py.operations.trash import empty
from ccmirror_py.sessions import running_sessions


def what_goes(context: Context, name: str, keep_config: bool) -> list[str]:
    """The paths that `remove` takes away, for people to agree to. NotFoundError without any."""
    if not context.variants.exists(name):
        context.variants.get(name)  # says what there is instead
    directory = context.home.directory(name)
    but = " but for config/" if keep_config else ""
    paths = [f"{directory}/{but} (program, key, settings)"]
    if not keep_config:
        count = sum(1 for _ in context.home.config(name).glob("projects/*/*.jsonl"))
        plural = "" if count == 1 else "s"
        paths.append(f"{context.home.config(name)}/ (config and {count} recorded session{plural})")
    if context.variants.owns_launcher(name):
        paths.append(str(context.home.launcher(name)))
    return paths


def check_ended(context: Context, names: Collection[str], force: bool) -> None:
    """BusyError naming the sessions that still run, unless with `force`."""
    if force:
        return
    running = running_sessions(context.home)
    for name in names:
        pids = [str(session.pid) for session in running if session.name == name]
        if pids:
            raise BusyError(
                f"'{name}' is running (process {', '.join(pids)}).",
                "End it first, or take its files away all the same with --force.",
            )


def remove(
    context: Context, name: str, keep_config: bool, force: bool = False, purge: bool = False
) -> None:
    """To the trash, or with `purge` for good. A damaged variant can be removed too.

    BusyError names the sessions that still run. What has been in the trash for 30 days goes.
    """
    context.begin_change()
    with context.changing(name):
        if not context.variants.exists(name):
            context.variants.get(name)
        check_ended(context, [name], force)
        context.journal.remove(name, keep_config, "" if purge else context.trash.new_id(name))
    empty(context, [entry for entry in context.trash.entries() if entry.is_expired])
