"""Addresses of endpoints."""

from urllib.parse import urlsplit


def check_base_url(text: str) -> str:
    """`text` without a trailing slash; ValueError unless it is an http(s) URL of an endpoint."""
    if not text.isprintable() or " " in text:
        raise ValueError("contains spaces or control characters")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable:
        raise ValueError("is not an http:// or https:// address")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or password; keys belong to `ccm key set`")
    if "?" in text or "#" in text:
        raise ValueError("contains a query or fragment")
    return text.rstrip("/")


def origin(url: str) -> tuple[str, str | None, int | None]:
    """What a key may be sent to: scheme, host and port together."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def host_of(url: str) -> str:
    """The same as a text for records and people: https://api.z.ai, http://127.0.0.1:8080."""
    scheme, name, port = origin(url)
    usual = {"http": 80, "https": 443}.get(scheme)
    host = f"[{name}]" if name and ":" in name else name
    return f"{scheme}://{host}" + ("" if port == usual else f":{port}")
