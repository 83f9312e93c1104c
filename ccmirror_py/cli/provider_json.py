"""Providers, their models and their prices as JSON; docs/reference.md describes it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ccmirror_py.errors import CcmError
from ccmirror_py.prices import Offer, relative
from ccmirror_py.provider import Model, Price, Provider

if TYPE_CHECKING:
    from ccmirror_py.operations.models import Known


def days_since(price: Price) -> int:
    """How long ago the figure was read."""
    return max(0, (datetime.now(UTC).date() - price.checked).days)


def known_json(known: "Known") -> dict[str, object]:
    listed = known.listed
    return {
        "id": known.id,
        "listed": listed
        and {"context": listed.context, "input": listed.input, "output": listed.output},
        "catalog": model_json(known.model),
        "tiers": list(known.tiers),
    }


def offer_json(offer: Offer, reference: Price | None) -> dict[str, object]:
    return {
        "provider": offer.provider,
        "model": offer.id,
        "tiers": list(offer.tiers),
        **model_json(offer.model),
        "of_sonnet": round(relative(offer.price, reference), 6) if reference else None,
        "age_days": days_since(offer.price),
    }


def model_json(model: Model) -> dict[str, object]:
    price = model.price
    return {
        "context": model.context,
        "max_output": model.max_output,
        "auto_compact": model.auto_compact,
        "vision": model.vision,
        "thinking": model.thinking,
        "price": price
        and {
            "input": price.input,
            "output": price.output,
            "cache_read": price.cache_read,
            "cache_write": price.cache_write,
            "checked": price.checked.isoformat(),
            "source": price.source,
        },
        "note": model.note,
    }


def provider_json(id_: str, provider: Provider | CcmError) -> dict[str, object]:
    if isinstance(provider, CcmError):
        return {"id": id_, "error": provider.sentence, "hint": provider.hint}
    auth, facts = provider.auth, provider.facts
    return {
        "id": provider.id,
        "name": provider.name,
        "description": provider.description,
        "group": provider.group,
        "base_url": provider.base_url,
        "cloud": provider.cloud,
        "regions": {
            name: {
                "base_url": region.base_url,
                "description": region.description,
                "key_url": region.key_url,
                "models": dict(region.models),
            }
            for name, region in provider.regions.items()
        },
        "auth": {
            "style": auth.style,
            "key": auth.key,
            "variables": list(auth.variables),
            "key_url": auth.key_url,
        },
        "models": dict(provider.models),
        "catalog": {id_: model_json(model) for id_, model in provider.catalog.items()},
        "retired": {
            old: {"since": retired.since.isoformat(), "use": retired.use, "works": retired.works}
            for old, retired in provider.retired.items()
        },
        "mcp": {
            name: {
                "description": server.description,
                "url": server.url or None,
                "command": list(server.command) or None,
            }
            for name, server in provider.mcp.items()
        },
        "environment": dict(provider.environment),
        "deny": list(provider.deny),
        "docs_url": provider.docs_url,
        "facts": {
            "checked": facts.checked.isoformat(),
            "live": facts.live,
            "unverified": facts.unverified,
            "confidence": dict(facts.confidence),
            "sources": list(facts.sources),
            "notes": list(facts.notes),
        },
    }
