"""The text of launchers: POSIX sh that clears, sets and execs. No Python, no temp file, one fork.

Values reach the text only through `shlex.quote`, which no shell expands: 59 hostile values in nine
shells ran nothing (measured, 2026-11-22); inside double quotes 36 did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote

from ccmirror_py.environment import (
    CLEARED_NAMES,
    CLEARED_PREFIXES,
    KEY_DESCRIPTOR,
    KEYLESS_TOKEN,
    MCP_KEY,
    THIS_MACHINE,
    is_loopback,
)
from ccmirror_py.variant import (
    Credential,
    FromCommand,
    FromFile,
    FromKeyring,
    FromVariable,
    NoKey,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"


@dataclass(frozen=True)
class Launch:
    """All a launcher needs. Paths are absolute texts; `program` ends in .js for the old package.

    `pinned` is what the file `settings` holds. `again` is the launcher that is current by then, to
    be asked once when something is gone; empty for none. `network` holds the values of
    NETWORK_NAMES that `settings` pins; another value in the shell is a case for ccm, as other
    settings are. `ccm` is the command that runs ccm itself, `keyring` the one that prints a key
    from the system's keyring. `mcp` is the JSON of MCP servers, with references in place of keys:
    everybody sees arguments. `title` is for the window, `splash` a file to be shown before; both on
    a terminal only, and not where an answer is all that is wanted.
    """

    name: str
    generation: str
    program: str
    settings: str
    pinned: str
    again: str
    network: Mapping[str, str]
    environment: Mapping[str, str]
    key_variable: str | None
    credential: Credential
    credential_file: str
    args: tuple[str, ...]
    inherit: tuple[str, ...]
    ccm: tuple[str, ...]
    keyring: tuple[str, ...] = ()
    mcp: str = ""
    title: str = ""
    splash: str = ""


def render(launch: Launch) -> str:
    """The whole script. A shell reads all of a `{ }` before it begins: what was cut off runs
    nothing, not the program without its settings."""
    return "".join(
        (
            "#!/bin/sh\n",
            f"{{ # Made by ccm for the variant {launch.name}; a change here is lost with the next "
            "update.\n",
            f"# See: ccm show {launch.name}, ccm env {launch.name}\n",
            _FAIL.format(name=launch.name),
            _again(launch),
            _handed_over(launch),
            _checks(launch),
            _settings(launch),
            _key(launch),
            _clear(launch),
            _exports(launch),
            _greeting(launch),
            _exec(launch),
        )
    )


_FAIL = """\
ccm_fail() {{
  printf '%s\\n' "{name}: $1" >&2
  exit "$2"
}}
"""


def _again(launch: Launch) -> str:
    """Between a launcher's first line and its last the variant may be changed, or removed and made
    anew: then what it needs is gone, and the present launcher is the one to ask."""
    if not launch.again:
        return "ccm_again() { :; }\n"
    return f"""\
ccm_again() {{
  if [ -z "${{CCM_AGAIN-}}" ] && [ -r {quote(launch.again)} ]; then
    export CCM_AGAIN=1
    exec /bin/sh {quote(launch.again)} "$@"
  fi
}}
"""


def _handed_over(launch: Launch) -> str:
    """Arguments that are not Claude Code's to answer, or that need ccm to be answered well."""
    return f"""
ccm_hand_over() {{
  [ -x {quote(launch.ccm[0])} ] ||
    ccm_fail 'this needs ccm, which is no longer where it was; install it and run: \
ccm doctor --fix {launch.name}' 127
  exec {" ".join(map(quote, launch.ccm))} run {launch.name} -- "$@"
}}
case ${{1-}} in
  install | update | upgrade)
    ccm_fail "ccm keeps the version of this variant; run: ccm update {launch.name}" 2 ;;
  +*) ccm_hand_over "$@" ;;
esac
ccm_quiet=
for ccm_argument do
  case $ccm_argument in
    --) break ;;
    -p | -[!-]*p* | --print | --print=* | --output-format* | -h | --help | -v | --version)
      ccm_quiet=1 ;;
    --settings | --settings=*) ccm_hand_over "$@" ;;
  esac
done
{_network(launch)}"""


def _network(launch: Launch) -> str:
    if not launch.network:
        return ""
    same = " &&\n  ".join(
        f'[ "${{{name}-}}" = {quote(value)} ]' for name, value in launch.network.items()
    )
    return f'{{ {same}; }} ||\n  ccm_hand_over "$@"\n'


def _checks(launch: Launch) -> str:
    damaged = f"is damaged ($ccm_missing is missing); run: ccm doctor --fix {launch.name}"
    text = f"""
for ccm_missing in {quote(launch.program)} {quote(launch.settings)}; do
  [ -f "$ccm_missing" ] && [ -r "$ccm_missing" ] || {{
    ccm_again "$@"
    ccm_fail "{damaged}" 127
  }}
done
"""
    if _needs_node(launch):
        text += """\
case $(node --version 2>/dev/null) in
  '') ccm_fail 'this version of Claude Code needs Node.js 18 or newer on PATH' 127 ;;
  v[0-9].* | v1[0-7].*) ccm_fail 'this version of Claude Code needs Node.js 18 or newer' 127 ;;
esac
"""
    return f"""{text}case $#,${{1-}} in
  1,-v | 1,--version) exec {_program(launch)} "$1" ;;
esac
"""


def _settings(launch: Launch) -> str:
    """Claude Code starts without settings it can't read, and says so from 2.1.330 on at most.

    ccm made them older than the launcher: nobody wrote to them since, or they are compared. Not
    always, since sh reads a byte at a time, and that takes longer than all else here.
    """
    settings, itself = quote(launch.settings), quote(f"{launch.generation}/launch")
    damaged = "is damaged (its pinned settings are not what ccm wrote); run: ccm doctor --fix"
    return f"""
{{ [ {itself} -nt {settings} ] && [ ! -h {settings} ]; }} 2>/dev/null || {{
ccm_settings=
while IFS= read -r ccm_line || [ -n "$ccm_line" ]; do
  ccm_settings=$ccm_settings$ccm_line'
'
done <{settings}
[ "$ccm_settings" = {quote(launch.pinned)} ] || {{
  ccm_again "$@"
  ccm_fail '{damaged} {launch.name}' 127
}}
}}
"""


def _key(launch: Launch) -> str:
    """Into `ccm_key`. Asking for help works without one."""
    name = launch.name
    match launch.credential:
        case NoKey():
            return f"\nccm_key={quote(KEYLESS_TOKEN)}\n" if launch.key_variable else ""
        case FromVariable(variable):
            # Inside another session of Claude Code these names hold that session's key, not ours.
            foreign = (
                'if [ -n "${CLAUDECODE-}${CCM_VARIANT-}" ]; then ccm_key=; fi\n'
                if variable.startswith(CLEARED_PREFIXES)
                else ""
            )
            read = f"ccm_key=${{{variable}-}}\n{foreign}"
            cure = f"{variable} is not set; export it, or run: ccm key set {name}"
        case FromFile():
            file = quote(launch.credential_file)
            stored = f"[ -f {file} ] && IFS= read -r ccm_key <{file}"
            read = f'ccm_key=\n{{ {stored}; }} 2>/dev/null || ccm_again "$@"\n'
            cure = f"its stored key is missing; run: ccm key set {name}"
        case FromCommand(argv):
            command = " ".join(map(quote, argv))
            # on a terminal it may ask something; what is piped in is Claude Code's
            read = f"""\
if [ -t 0 ]; then
  ccm_key=$(exec {command}) || ccm_key=
else
  ccm_key=$(exec {command} </dev/null) || ccm_key=
fi
ccm_key=${{ccm_key%%
*}}
"""
            cure = f"the command that prints its key failed; see: ccm key show {name}"
        case FromKeyring():
            command = " ".join(map(quote, launch.keyring))
            program = quote(launch.keyring[0])
            # it asks in a window, if at all: what is piped in is Claude Code's
            read = f"""\
ccm_key=
command -v {program} >/dev/null 2>&1 && {{ ccm_key=$(exec {command} </dev/null) || ccm_key=; }}
ccm_key=${{ccm_key%%
*}}
[ -n "$ccm_key" ] || ccm_again "$@"
"""
            why = f"it is locked, the entry is gone, or {launch.keyring[0]} is not installed"
            cure = f"the keyring gave no key ({why}); see: ccm key test {name}"
    return f"""
{read}case ${{ccm_key:+key}},${{1-}} in
  ,-h | ,--help) ;;
  ,*) ccm_fail {quote(cure)} 1 ;;
esac
"""


def _clear(launch: Launch) -> str:
    keep = " | ".join(launch.inherit)
    cleared = " | ".join([*(f"{prefix}*" for prefix in CLEARED_PREFIXES), *CLEARED_NAMES])
    return f"""
# What the surrounding shell or an outer session set for Claude Code stays outside.
ccm_ifs=$IFS
IFS='
'
set -f
for ccm_line in $(export -p); do
  ccm_line=${{ccm_line%%=*}}
  ccm_line=${{ccm_line##* }}
  case $ccm_line in
    '' | *[!{LETTERS}]*) ;;{f"{chr(10)}    {keep}) ;;" if keep else ""}
    {cleared})
      unset "$ccm_line" ;;
  esac
done
set +f
IFS=$ccm_ifs
"""


def _exports(launch: Launch) -> str:
    # by which `ccm` knows what a session uses: a JavaScript release overwrites its arguments
    values = {
        **launch.environment,
        "CCM_GENERATION": launch.generation,
        "CCM_PROGRAM": launch.program,
    }
    lines = [f"export {name}={quote(value)}" for name, value in values.items()]
    if launch.key_variable == KEY_DESCRIPTOR:
        # read once by Claude Code; no tool it starts can find the key in its environment
        lines += [f"export {KEY_DESCRIPTOR}=3", "exec 3<<CCM_KEY", "$ccm_key", "CCM_KEY"]
    elif launch.key_variable:
        lines.append(f'export {launch.key_variable}="$ccm_key"')
    if MCP_KEY in launch.mcp:
        lines.append(f'export {MCP_KEY}="$ccm_key"')
    if is_loopback(launch.environment.get("ANTHROPIC_BASE_URL", "")):
        # Claude Code would ask a proxy even for this machine
        lines += [
            f'export {name}="{THIS_MACHINE}${{{name}:+,${name}}}"'
            for name in ("NO_PROXY", "no_proxy")
        ]
    return "\n" + "\n".join(lines) + "\n"


def _greeting(launch: Launch) -> str:
    """What people see, and no pipe: the window's title, then the splash."""
    shown = ""
    if launch.title:
        shown += f"  printf '\\033]0;%s\\007' {quote(launch.title)}\n"
    if launch.splash:
        shown += f"""\
  case ${{1-}} in
    '' | -* | *' '*)
      if [ -r {quote(launch.splash)} ]; then
        while IFS= read -r ccm_line; do
          printf '%s\\n' "$ccm_line"
        done <{quote(launch.splash)}
      fi ;;
  esac
"""
    if not shown:
        return ""
    terminal = '[ -t 1 ] && [ -z "$ccm_quiet" ] && [ "${TERM-dumb}" != dumb ]'
    return f"if {terminal}; then\n{shown}fi\n"


def _exec(launch: Launch) -> str:
    words = [
        _program(launch),
        "--settings",
        quote(launch.settings),
        # in one word: it takes all words that follow it
        *([quote(f"--mcp-config={launch.mcp}")] if launch.mcp else []),
        *map(quote, launch.args),
        '"$@"',
        # some shells close what only `exec 3<` opened before they start a program
        *(["3<&3"] if launch.key_variable == KEY_DESCRIPTOR else []),
    ]
    names = "ccm_key ccm_line ccm_ifs ccm_argument ccm_missing ccm_settings ccm_quiet"
    # a shell that can't exec says so and ends: this is the last moment to ask another launcher
    gone = f'[ -f {quote(launch.program)} ] || {{ unset CCM_VARIANT; ccm_again "$@"; }}\n'
    return f"\n{gone}unset {names}\nexec {' '.join(words)}\n}}\n"


def _program(launch: Launch) -> str:
    return ("node " if _needs_node(launch) else "") + quote(launch.program)


def _needs_node(launch: Launch) -> bool:
    return launch.program.endswith(".js")
