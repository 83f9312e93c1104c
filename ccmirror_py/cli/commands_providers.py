"""Commands about providers: what there is, what it costs, what an endpoint lists."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ccmirror_py.cli import render, wiring
from ccmirror_py.cli.completing import complete_provider
from ccmirror_py.cli.options import AsJson, Name
from ccmirror_py.cli.provider_json import (
    days_since,
    known_json,
    offer_json,
    provider_json,
)
from ccmirror_py.cli.render import out, out_json
from ccmirror_py.context import Context
from ccmirror_py.environment import CLOUD_NAMES, CLOUD_NEEDS
from ccmirror_py.errors import CcmError
from ccmirror_py.prices import REFERENCE, Offer, offers, relative
from ccmirror_py.provider import Facts, Group, Model, Price, Provider

if TYPE_CHECKING:
    from ccmirror_py.operations.models import Known

_GROUPS: dict[Group, str] = {
    "subscription": "Subscriptions and coding plans",
    "api": "Model vendors",
    "gateway": "Many vendors behind one key",
    "local": "On your own machine",
    "cloud": "Claude in your cloud account",
    "own": "Your own",
}


def providers(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is not None:
        return
    ccm = wiring.context()
    found = {id_: _provider_or_error(ccm, id_) for id_ in ccm.providers.ids()}
    if as_json:
        out_json({"schema": 1, "providers": [provider_json(id_, p) for id_, p in found.items()]})
        return
    rows = {id_: _row(ccm, id_, provider) for id_, provider in found.items()}
    lines = iter(render.table(("PROVIDER", "KEY", "WHAT"), rows.values()).splitlines())
    out(next(lines))
    by_id = dict(zip(rows, lines, strict=True))
    for group, heading in _GROUPS.items():
        members = [id_ for id_, provider in found.items() if _group(provider) == group]
        if members:
            out(f"\n{heading}")
            out("\n".join(by_id[id_] for id_ in members))
    out("\nMore about one: ccm providers show ID. What they cost: ccm providers compare")
    out("Make a variant: ccm create zai --provider zai")


def _group(provider: Provider | CcmError) -> Group:
    return "own" if isinstance(provider, CcmError) else provider.group


def _row(context: Context, id_: str, provider: Provider | CcmError) -> tuple[str, str, str]:
    if isinstance(provider, CcmError):
        return id_, "broken", provider.sentence
    own = " (yours)" if context.providers.is_own(id_) else ""
    doubt = " [not verified]" if provider.facts.unverified else ""
    first = next((f"${name}" for name in provider.auth.variables), "a key")
    key = {"login": "login", "optional": "-", "cloud": "the cloud's"}.get(provider.auth.key, first)
    return id_, key, f"{provider.name}: {provider.description}{own}{doubt}"


def _provider_or_error(context: Context, id_: str) -> Provider | CcmError:
    try:
        return context.providers.get(id_)
    except CcmError as error:
        return error


def provider_show(
    id_: Annotated[str, typer.Argument(metavar="PROVIDER", autocompletion=complete_provider)],
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one provider.

    Endpoint, key, models, prices, and how sure each fact is.
    """
    provider = wiring.context().providers.get(id_)
    if as_json:
        out_json({"schema": 1, "provider": provider_json(id_, provider)})
        return
    out("\n".join(f"{name:<16} {value}".rstrip() for name, value in _shown(provider) if value))
    if provider.catalog:
        out("\n" + render.table(_MODEL_HEAD, map(_model_row, provider.catalog.items())))


def _shown(provider: Provider) -> Iterator[tuple[str, str]]:
    yield "provider", f"{provider.id}, {provider.name}"
    yield "", provider.description
    yield from _shown_endpoint(provider)
    for tier, model in provider.models.items():
        yield f"  {tier}", model
    for name, value in provider.environment.items():
        yield "sets", f"{name}={value}"
    yield "denied", " ".join(provider.deny)
    for old, retired in provider.retired.items():
        state = "still works" if retired.works else "no longer works"
        use = f"; use {retired.use}" if retired.use else ""
        yield "retired", f"{old} ({state}, {retired.since}){use}"
    for name, server in provider.mcp.items():
        yield "MCP, if wanted", f"{name}: {server.description}"
        yield "", server.url or " ".join(server.command)
        yield "", f"ccm mcp add NAME {name}"
    yield "docs", provider.docs_url
    yield from _shown_facts(provider.facts)
    sources = [model.price.source for model in provider.catalog.values() if model.price]
    for source in dict.fromkeys(sources):
        yield "  prices from", source


def _shown_endpoint(provider: Provider) -> Iterator[tuple[str, str]]:
    auth = provider.auth
    yield "endpoint", provider.base_url or _without_url(provider)
    for name, region in provider.regions.items():
        yield f"  {name}", f"{region.base_url}  {region.description}"
    if provider.regions:
        yield "", f"choose with --region {next(iter(provider.regions))}"
    if provider.cloud:
        yield "needs", " ".join(CLOUD_NEEDS[provider.cloud])
        yield "lets through", " ".join(CLOUD_NAMES[provider.cloud])
    else:
        yield "key", f"{auth.key}, sent as {auth.style}"
    yield "variables", " ".join(auth.variables)
    yield "get a key", auth.key_url


def _shown_facts(facts: Facts) -> Iterator[tuple[str, str]]:
    tried = "live" if facts.live else "not live: read, not tried"
    yield "checked", f"{facts.checked}, " + ("NOT VERIFIED" if facts.unverified else tried)
    for what, sure in facts.confidence.items():
        yield f"  {what}", sure
    for source in facts.sources:
        yield "  source", source
    for text in facts.notes:
        yield "  note", text


def _without_url(provider: Provider) -> str:
    if provider.asks_base_url:
        return "yours: --base-url"
    return "the cloud's own" if provider.cloud else "Anthropic's own"


_MODEL_HEAD = ("MODEL", "WINDOW", "OUTPUT", "IMAGES", "$ IN", "$ OUT", "$ CACHED", "READ ON", "")


def _model_row(entry: tuple[str, Model]) -> tuple[str, ...]:
    id_, model = entry
    price = model.price
    thinking = {"required": "needs thinking", "off": "without thinking"}.get(model.thinking, "")
    return (
        id_,
        tokens(model.context),
        tokens(model.max_output),
        {True: "yes", False: "no", None: "?"}[model.vision],
        dollars(price.input if price else None),
        dollars(price.output if price else None),
        dollars(price.cache_read if price else None),
        price.checked.isoformat() if price else "-",
        "; ".join(filter(None, (thinking, model.note))),
    )


def tokens(number: int | None) -> str:
    if number is None:
        return "?"
    return f"{number / 1e6:.3g}M" if number >= 1_000_000 else f"{number // 1000}K"


def dollars(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:.4f}".rstrip("0").rstrip(".")


def provider_compare(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROVIDER…]", autocompletion=complete_provider),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what models cost and take in, beside Claude Sonnet."""
    context = wiring.context()
    home, sonnet = REFERENCE
    reference = context.providers.get(home).model(sonnet).price
    chosen = [context.providers.get(id_) for id_ in dict.fromkeys(ids or ())]
    found = offers(chosen or _sellers(context), whole=bool(chosen))
    if as_json:
        out_json({"schema": 1, "offers": [offer_json(offer, reference) for offer in found]})
        return
    head = ("MODEL", "PROVIDER", "$ IN", "$ OUT", "$ CACHED", "WINDOW", "OF SONNET", "AGE")
    out(render.table(head, (_offer_row(offer, reference) for offer in found)))
    out(f"\nUSD per million tokens. Of Sonnet: beside {sonnet}, three parts in, one out.")
    out("Age: days since the figure was read; ccm providers show ID tells where.")


def models(name: Name, as_json: AsJson = False) -> None:
    """Show which models a variant's endpoint lists now.

    With their windows and prices, and which tier uses which.
    """
    from ccmirror_py.operations import models as operation

    context = wiring.context()
    found = operation.models(context, wiring.endpoint(context.environ), name)
    if as_json:
        listed = [known_json(known) for known in found.models]
        out_json({"schema": 1, "name": name, "url": found.url, "models": listed})
        return
    out(
        render.table(
            ("MODEL", "WINDOW", "$ IN", "$ OUT", "IN USE BY"), map(_known_row, found.models)
        )
    )
    out(f"\nListed by {found.url}. Prices: the endpoint's, else those of ccm providers show.")


def _known_row(known: "Known") -> tuple[str, ...]:
    paid = _paid(known)
    gone = "" if known.listed else " (not listed)"
    return (
        known.id,
        tokens(known.context),
        dollars(paid[0]),
        dollars(paid[1]),
        ", ".join(known.tiers) + gone,
    )


def _paid(known: "Known") -> tuple[float | None, float | None]:
    if known.listed and known.listed.input is not None:
        return known.listed.input, known.listed.output
    price = known.model.price
    return (price.input, price.output) if price else (None, None)


def _sellers(context: Context) -> list[Provider]:
    """Without the clouds, which sell the same models at the same prices as Anthropic."""
    return [provider for provider in context.providers.all() if not provider.cloud]


def _offer_row(offer: Offer, reference: Price | None) -> tuple[str, ...]:
    price = offer.price
    return (
        offer.id,
        offer.provider,
        dollars(price.input),
        dollars(price.output),
        dollars(price.cache_read),
        tokens(offer.model.context),
        f"{100 * relative(price, reference):.0f} %" if reference else "-",
        f"{days_since(price)} d",
    )
