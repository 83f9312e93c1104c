"""The shells a launcher may be run by, and values that want to break out of its text."""

import shutil

SHELLS = {
    "dash": ("dash",),
    "bash": ("bash",),
    "bash --posix": ("bash", "--posix"),
    "busybox sh": ("busybox", "sh"),
    "mksh": ("mksh",),
    "ksh93": ("ksh93",),
    "zsh": ("zsh", "--emulate", "sh"),
    "yash": ("yash", "--posixly-correct"),
    "posh": ("posh",),
}
INSTALLED = [name for name, argv in SHELLS.items() if shutil.which(argv[0])]

# `touch canary` leaves a file in the working directory: nothing may ever run it.
_PRINTABLE = (
    *("$(touch canary)", "`touch canary`", "'$(touch canary)'", '"$(touch canary)"'),
    *("'; touch canary; '", '"; touch canary; "', "'\"; touch canary; \"'", "; touch canary"),
    *("& touch canary", "&& touch canary", "|| touch canary", "| touch canary", ">canary"),
    *("$(>canary)", "${x:=$(touch canary)}", "eval touch canary", "; exec touch canary;"),
    *("'; rm -rf canary; touch canary #", "\\'; touch canary; \\'", "$(eval 'touch canary')"),
    *("$HOME", "${HOME}", "$PATH", "$$", "$!", "$?", "$@", "$*", "$0", "$1", "$-", "$", "$$$"),
    *("${", "$(", "$((", "$((1+1))", "`", "``", "${x", "${#x}", "$'\\n'", '$"x"'),
    *("\\", "\\\\", "\\\\\\", "\\n", "\\0", "\\c", "\\x41", "\\'", "'\\''", "a\\", "\\$HOME"),
    *("'", "''", "'''", '"', '""', "'\"'\"'", "a'b", 'a"b', "it's", "' ", " '"),
    *("*", "?", "[a-z]*", "**", "~", "~root", "~+", "{a,b}", "!", "!!", "!x", "^", "[!a]"),
    *("#", "# x", "a #b", "a#", "-", "-n", "-e", "--", "--x", "-x y", "=", "a=b", "=ls"),
    *("%s", "%n%s%d", "%%", "%", "(", ")", "()", "[", "]", "[[ x ]]", "{", "}", "&", ";", ";;"),
    *("|", "<", ">", "<<EOF", "<<CCM_KEY", "CCM_KEY", "if", "esac", "done", "export X=1"),
    *("tab\there", "\t", " ", "  ", " lead", "trail ", "two  spaces", "\r", "a\r", "\x01\x7f"),
    *("\x1b[31m", "é", "日本語", "😀", "\u202e", "\u00a0", "\u2028", "e\u0301", "x" * 200),
)
WITH_NEWLINES = (
    *("a\nb", "\n", "\n\n", "a\n", "\na", "\ntouch canary\n", "'\ntouch canary\n'"),
    *("$(touch canary)\n", "CCM_KEY\ntouch canary\n", "a\\\nb", "export ANTHROPIC_X=1\n"),
    *("\nANTHROPIC_$(touch canary)=1", "\nexport ANTHROPIC_`touch canary`='\n", "x" * 100_000),
)

# Without spaces, so that they can be keys and parts of addresses.
_NARROW = tuple(
    """
    $(>canary)x `>canary` ';>canary;' ";>canary;" ;>canary; &>canary& |tee<canary
    $(touch${IFS}canary) `touch${IFS}canary` '$(>canary)' "$(>canary)" \\$(>canary)
    ${x:=$(>canary)} $((x[$(>canary)])) a';>canary;echo'b a";>canary;echo"b '\\'';>canary;'
    <(>canary) {>canary,x} $[`>canary`] CCM_KEY';>canary;' x&&>canary x||>canary
    """.split()
)
HOSTILE = (*_PRINTABLE, *_NARROW)

# What a shell sets for itself, the stand-in's included.
SHELLS_OWN = {"_", "PWD", "OLDPWD", "SHLVL", "A__z", "COLUMNS", "LINES", "LOGNAME"}
