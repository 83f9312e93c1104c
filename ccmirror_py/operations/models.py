"""`ccm models`: what a variant's endpoint lists now, beside what the catalog knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from ccmirror_py.context import Context
from ccmirror_py.credential import fetch
from ccmirror_py.environment import KEY_DESCRIPTOR, tiers_of
from ccmirror_py.errors import NetworkError, UsageError
from ccmirror_py.model_list import Listed, addresses, parse_listed
from ccmirror_py.provider import Model, Provider, plain
from ccmirror_py.secret import Secret
from ccmirror_py.transport import Transport, host
from ccmirror_py.variant import FromFile, FromVariable, Variant


@dataclass(frozen=True)
class Known:
    """One model: whether the endpoint lists it, what both sides say, and which tiers use it."""

    id: str
    listed: Listed | None
    model: Model
    tiers: tuple[str, ...]

    @property
    def context(self) -> int | None:
        """What the endpoint says counts before what a file says."""
        told = self.listed.context if self.listed else None
        return told or self.model.context


@dataclass(frozen=True)
class Models:
    """`url` is where the list came from."""

    url: str
    models: list[Known]


def models(context: Context, transport: Transport, name: str) -> Models:
    """The variant's models first, then the others by id."""
    variant = context.variants.get(name)
    provider = context.providers.get(variant.choices.provider)
    base_url = variant.base_url
    if base_url is None:
        raise UsageError(
            f"{name} is not asked for its models: Claude Code knows them itself.",
            f"Type /model in it. What they cost: ccm providers compare {provider.id}",
        )
    url, listed = _asked(transport, variant, provider, base_url, _headers(context, variant))
    return Models(url, _merged(provider, variant, listed))


def _asked(
    transport: Transport,
    variant: Variant,
    provider: Provider,
    base_url: str,
    headers: Mapping[str, str],
) -> tuple[str, list[Listed]]:
    """The first address that answers with a list; the key goes to the variant's own host only."""
    for url in addresses(base_url, provider.models_url):
        asked = f"{url}?limit=1000" if provider.first_party else url
        answer = transport.ask(asked, headers)
        if answer.status in (401, 403):
            raise NetworkError(
                f"{host(url)} refused the key of {variant.name} ({answer.status}).",
                f"Is it the right one? ccm key show {variant.name}, ccm key set {variant.name}",
            )
        if answer.status == 429 or answer.status >= 500:
            raise NetworkError(
                f"{host(url)} answered with status {answer.status}.", "Try again later."
            )
        listed = parse_listed(answer.text) if answer.status == 200 else None
        if listed is not None:
            return url, listed
    raise NetworkError(
        f"{host(base_url)} lists no models anywhere ccm knows to ask.",
        f"What the catalog knows: ccm providers show {provider.id}",
    )


def _headers(context: Context, variant: Variant) -> dict[str, str]:
    if variant.key_variable is None:
        return {}
    key = _key(context, variant)
    if key is None:
        return {}
    if variant.key_variable == KEY_DESCRIPTOR:
        return {"x-api-key": key.reveal(), "anthropic-version": "2023-06-01"}
    return {"Authorization": f"Bearer {key.reveal()}", "anthropic-version": "2023-06-01"}


def _key(context: Context, variant: Variant) -> Secret | None:
    """As the launcher would have it. None when the variant has none."""
    stored = context.variants.stored_key_of(variant)
    key = fetch(variant.credential, stored, context.environ)
    if key is None and isinstance(variant.credential, FromVariable | FromFile):
        raise UsageError(f"{variant.name} has no key here.", f"Run: ccm key set {variant.name}")
    return key


def _merged(provider: Provider, variant: Variant, listed: list[Listed]) -> list[Known]:
    tiers: dict[str, list[str]] = {}
    for tier, model in tiers_of(variant.environment).items():
        tiers.setdefault(plain(model), []).append(tier)
    by_id = {entry.id: entry for entry in listed}
    ids = [*tiers, *sorted(set(by_id) - set(tiers))]
    return [
        Known(id_, by_id.get(id_), provider.model(id_), tuple(tiers.get(id_, ()))) for id_ in ids
    ]
