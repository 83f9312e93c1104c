"""The text of a status line: POSIX sh with one awk, which Claude Code runs after each change.

Claude Code hands it JSON on standard input (2.1.118, 2.1.200, 2.1.330: one line; `model.id`,
`transcript_path`, `context_window.used_percentage` and `.context_window_size`). The cost there is
by Anthropic's prices and says nothing true about another vendor, so tokens are counted in the
transcript, the subagents' too, and multiplied by the provider's own prices. Of JSON only marks are
searched that can't occur inside a text, where each quote has a backslash before it.
"""

from collections.abc import Mapping
from shlex import quote

from ccmirror_py.look import Form, Look
from ccmirror_py.palette import accent, colour, nearest_of_256
from ccmirror_py.provider import Price, Provider
from ccmirror_py.variant import Choices

_ANSI_CODES = {
    name: code
    for code, name in enumerate("black red green yellow blue magenta cyan white".split(), start=30)
}


def prices_of(provider: Provider, choices: Choices) -> dict[str, Price]:
    """Model to price; none for another endpoint than the one they are of, nor for what is paid by
    the month."""
    if choices.base_url or provider.group == "subscription":
        return {}
    return {id_: model.price for id_, model in provider.catalog.items() if model.price}


def painted(look: Look, form: Form) -> tuple[str, str]:
    """The codes (SGR) of the accent: where all colours are known, and where 256 are."""
    text = accent(look, form)
    if text.startswith("ansi:"):
        name = text.removeprefix("ansi:")
        code = str(_ANSI_CODES[name.removesuffix("Bright")] + 60 * name.endswith("Bright"))
        return code, code
    red, green, blue = colour(text)
    return f"38;2;{red};{green};{blue}", f"38;5;{nearest_of_256((red, green, blue))}"


def render(name: str, provider: str, codes: tuple[str, str], prices: Mapping[str, Price]) -> str:
    """Values reach the text through `shlex.quote` only, and awk through its environment."""
    table = "\n".join(
        " ".join((*map(_amount, _amounts(price)), model)) for model, price in prices.items()
    )
    return f"""#!/bin/sh
# Made by ccm for the variant {name}; a change here is lost with the next update.
# Off: ccm theme set {name} --no-status-line, or a statusLine of your own in config/settings.json
LC_ALL=C
CCM_JSON=
while IFS= read -r ccm_line || [ -n "$ccm_line" ]; do
  CCM_JSON=$CCM_JSON$ccm_line
done
CCM_NAME={quote(name)}
CCM_PROVIDER={quote(provider)}
CCM_PRICES={quote(table)}
CCM_COLOUR={quote(codes[1])}
case ${{COLORTERM-}} in *truecolor* | *24bit*) CCM_COLOUR={quote(codes[0])} ;; esac
[ -z "${{NO_COLOR-}}" ] || CCM_COLOUR=
export LC_ALL CCM_JSON CCM_NAME CCM_PROVIDER CCM_PRICES CCM_COLOUR
set --
ccm_path=${{CCM_JSON#*'"transcript_path":"'}}
ccm_path=${{ccm_path%%'"'*}}
case $ccm_path in
  /*.jsonl)
    for ccm_line in "$ccm_path" "${{ccm_path%.jsonl}}"/subagents/*.jsonl; do
      [ -r "$ccm_line" ] && set -- "$@" "$ccm_line"
    done ;;
esac
[ $# -gt 0 ] || set -- /dev/null
exec awk {quote(_PROGRAM)} "$@"
"""


def _amounts(price: Price) -> tuple[float | None, ...]:
    return price.input, price.output, price.cache_read, price.cache_write


def _amount(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


_PROGRAM = r"""
function after(text, mark,  at) {
  at = index(text, mark)
  return at ? substr(text, at + length(mark)) : ""
}
function string(text, mark,  rest, end) {
  rest = after(text, mark)
  end = index(rest, "\"")
  rest = end ? substr(rest, 1, end - 1) : ""
  return index(rest, "\\") ? "" : rest
}
function number(text, mark,  rest) {
  rest = after(text, mark)
  return match(rest, /^[0-9]+/) ? substr(rest, 1, RLENGTH) + 0 : -1
}
function plain(text) { sub(/\[1m\]$/, "", text); return text }
function last(text, mark,  at, rest) {
  while (at = index(text, mark)) { text = substr(text, at + length(mark)); rest = text }
  return rest
}
function count(text, kind,  found) {
  found = number(text, "\"" kind "_tokens\":")
  return found < 0 ? 0 : found
}
function charge(tokens, each) {
  if (tokens > 0 && each == "?") unknown = 1
  return tokens * each / 1000000
}
BEGIN {
  rows = split(ENVIRON["CCM_PRICES"], row, "\n")
  for (i = 1; i <= rows; i++) {
    split(row[i], part, " ")
    id = row[i]
    sub(/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ /, "", id)
    known[id] = 1
    for (k = 1; k <= 4; k++) price[id, k] = part[k]
  }
}
rows && index($0, "\"type\":\"assistant\"") && index($0, "\"usage\":{") {
  message = after($0, "\"message\":{")
  key = string($0, "\"requestId\":\"")
  if (key == "") {
    start = index(message, "\"content\":[")
    key = string(start ? substr(message, 1, start) : message, "\"id\":\"")
  }
  if (key == "") unknown = 1
  usage[key] = last(message, "\"usage\":{")
  model[key] = string(message, "\"model\":\"")
  asked[key] = plain(string($0, "\"requestedModel\":\""))
}
END {
  for (key in usage) {
    u = usage[key]
    n[1] = count(u, "input"); n[2] = count(u, "output")
    n[3] = count(u, "cache_read_input"); n[4] = count(u, "cache_creation_input")
    if (n[1] + n[2] + n[3] + n[4] == 0) continue
    id = (model[key] in known) ? model[key] : asked[key]
    if (!(id in known)) { unknown = 1; continue }
    for (k = 1; k <= 4; k++) cost += charge(n[k], price[id, k])
  }
  json = ENVIRON["CCM_JSON"]; name = ENVIRON["CCM_NAME"]; colour = ENVIRON["CCM_COLOUR"]
  if (colour != "") name = "\033[1;" colour "m" name "\033[0m"
  line = name " \302\267 " ENVIRON["CCM_PROVIDER"]
  shown = plain(string(json, "\"model\":{\"id\":\""))
  if (shown != "") line = line " \302\267 " shown
  window = after(json, "\"context_window\":{")
  used = number(window, "\"used_percentage\":"); size = number(window, "\"context_window_size\":")
  if (used >= 0) line = line " \302\267 context " used "%"
  if (used >= 0 && size >= 1000) line = line " of " int(size / 1000 + 0.5) "k"
  if (cost > 0 && !unknown) {
    line = line (cost < 1 ? sprintf(" \302\267 ~$%.3f", cost) : sprintf(" \302\267 ~$%.2f", cost))
  }
  print line
}
"""
