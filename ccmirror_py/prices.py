"""What models cost, beside each other."""

from collections.abc import Iterable
from dataclasses import dataclass

from ccmirror_py.provider import Model, Price, Provider, plain

REFERENCE = ("anthropic", "claude-sonnet-5-5")
"""The model others are compared with, and who sells it."""


@dataclass(frozen=True)
class Offer:
    """A model that a provider sells by the token, and the tiers it answers for there."""

    provider: str
    id: str
    model: Model
    price: Price
    tiers: tuple[str, ...]


def mixed(price: Price) -> float:
    """One figure to compare by: three parts of input for one of output."""
    return (3 * price.input + price.output) / 4


def relative(price: Price, reference: Price) -> float:
    return mixed(price) / mixed(reference)


def offers(providers: Iterable[Provider], whole: bool) -> list[Offer]:
    """Cheapest first. Not `whole`: the models that tiers use, and those of a provider without
    tiers of its own."""
    found = [
        Offer(provider.id, id_, model, model.price, tiers)
        for provider in providers
        for id_, model in provider.catalog.items()
        if model.price
        for tiers in [tiers_of(provider, id_)]
        if whole or tiers or not provider.models
    ]
    return sorted(found, key=lambda offer: (mixed(offer.price), offer.provider, offer.id))


def tiers_of(provider: Provider, id_: str) -> tuple[str, ...]:
    return tuple(tier for tier, model in provider.models.items() if plain(model) == id_)
