"""Upstream: the npm registry, asked the way the user's npm would ask it.

The only module that uses requests. The registry protocol is npm's "Registry API"
(github.com/npm/registry, docs/REGISTRY-API.md); single version documents are 2 KB where the whole
package document is 750 KB (measured, 2026-11-22).
"""

import hashlib
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import should_bypass_proxies

from ccmirror_py import __version__, fs
from ccmirror_py.errors import CcmError, NetworkError, NotFoundError, VerificationError
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.release import (
    MEGABYTE,
    ROOT_PACKAGE,
    Platform,
    Release,
    choose_package,
    manifest_version,
    parse_release,
)
from ccmirror_py.version import Channel, Range, Spec, Version, version_or_none

CONNECT_AND_READ_TIMEOUT = (10.0, 30.0)
TRIES = 5
REDIRECTS = 5
LONGEST_PAUSE = 30.0
DOCUMENT_LIMIT = 64 * MEGABYTE
DOWNLOAD_LIMIT = 1024 * MEGABYTE
CHUNK = 256 * 1024
_ABBREVIATED = "application/vnd.npm.install-v1+json"

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the whole, if the server told."""


@dataclass(frozen=True)
class Network:
    """How this machine reaches others. `ca_files` are trusted in addition to the system's."""

    ca_files: tuple[Path, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
    no_proxy: str = ""


class _TryAgainError(Exception):
    """Something that asking again may change. `after` is what the server asks for, in seconds."""

    def __init__(self, problem: str, after: float | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.after = after


class Registry:
    """`cache` is a directory for answers that can be asked for conditionally."""

    def __init__(
        self, config: NpmConfig, network: Network, cache: Path, pause: Callable[[float], None]
    ) -> None:
        self._config = config
        self._network = network
        self._cache = cache
        self._pause = pause
        self._known: dict[Spec, Mapping[str, object]] = {}
        self._session = requests.Session()
        self._session.trust_env = False  # else a .netrc would answer for us
        self._session.headers["User-Agent"] = f"ccm/{__version__}"
        self._session.mount("https://", _TrustingAdapter(network.ca_files))

    def find(self, spec: Spec, platform: Platform) -> Release:
        """The release `spec` means now. NotFoundError names what there is instead."""
        manifest = self._known.get(spec)
        if manifest is None:
            manifest = self._known[spec] = self._manifest(spec)
        version = manifest_version(manifest)
        package = choose_package(manifest, platform)
        if package != ROOT_PACKAGE:
            manifest = self._document(package, str(version))
        return parse_release(manifest, package, version)

    def tags_and_versions(self) -> tuple[dict[str, str], list[Version]]:
        """Dist-tags, and all versions in ascending order."""
        package = self._document(ROOT_PACKAGE)
        tags, versions = package.get("dist-tags"), package.get("versions")
        if not isinstance(tags, dict) or not isinstance(versions, dict):
            raise NetworkError(
                f"What {_host(self._config.registry)} says of {ROOT_PACKAGE} is not npm's format.",
                "Check the registry settings: npm config get registry",
            )
        known = sorted(version for text in versions if (version := version_or_none(text)))
        return {str(k): str(v) for k, v in tags.items()}, known

    def download(self, release: Release, progress: Progress) -> Iterator[bytes]:
        """The bytes of the archive, unverified. A broken line is taken up where it broke."""
        url = self._download_url(release.url)
        received, tries, total = 0, 0, None
        while True:
            before = received
            try:
                with self._get(
                    url, {"Range": f"bytes={received}-"} if received else {}
                ) as response:
                    skip = received if response.status_code == 200 else 0
                    total = total or _length(response, received - skip)
                    for chunk in response.iter_content(CHUNK):
                        fresh = chunk[skip:]
                        skip -= len(chunk) - len(fresh)
                        received += len(fresh)
                        if received > DOWNLOAD_LIMIT:
                            raise VerificationError(
                                "The download is larger than any release there is.",
                                "Check the registry settings: npm config get registry",
                            )
                        progress(received, total)
                        yield fresh
                if total is None or received >= total:
                    return
                raise _TryAgainError("the connection was closed too early")
            except (requests.RequestException, _TryAgainError) as error:
                tries = 1 if received > before else tries + 1
                if tries >= TRIES or isinstance(error, requests.exceptions.SSLError):
                    raise self._unreachable(url, _problem(error)) from None
                self._pause(_delay(error, tries))

    def _manifest(self, spec: Spec) -> Mapping[str, object]:
        """The root package's document of the version that `spec` means."""
        match spec:
            case Range():
                _, versions = self.tags_and_versions()
                inside = [version for version in versions if version in spec]
                if not inside:
                    newest = str(versions[-1]) if versions else "nothing"
                    raise NotFoundError(
                        "version of Claude Code within", str(spec), hint=f"The newest is {newest}."
                    )
                return self._exact(inside[-1])
            case Channel(name):
                try:
                    return self._document(ROOT_PACKAGE, name)
                except NotFoundError:
                    tags, _ = self.tags_and_versions()
                if name not in tags:
                    raise NotFoundError(
                        "dist-tag",
                        name,
                        hint=f"{_shown(self._config.registry)} has: {', '.join(sorted(tags))}.",
                    ) from None
                return self._document(ROOT_PACKAGE, tags[name])
            case Version():
                try:
                    return self._exact(spec)
                except NotFoundError:
                    _, versions = self.tags_and_versions()
                    raise NotFoundError(
                        "version of Claude Code", str(spec), map(str, versions[-200:])
                    ) from None

    def _exact(self, version: Version) -> Mapping[str, object]:
        manifest = self._document(ROOT_PACKAGE, str(version))
        if manifest_version(manifest) != version:
            raise VerificationError(
                f"Asked for Claude Code {version}, the registry answered with "
                f"{manifest.get('version')}.",
                "Check the registry settings: npm config get registry",
            )
        return manifest

    def _document(self, package: str, version: str = "") -> Mapping[str, object]:
        """A JSON object of the registry: of one version, or (abbreviated) of the whole package."""
        url = self._config.registry + quote(package, safe="@")
        url += f"/{quote(version, safe='')}" if version else ""
        remembered = self._cache / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
        known = _read_answer(remembered)
        headers = {"Accept": "application/json" if version else _ABBREVIATED}
        if known:
            headers["If-None-Match"] = known["etag"]
        status, etag, text = self._fetch(url, headers)
        if status == 304 and known:
            text = known["body"]
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise NetworkError(
                f"{_shown(url)} did not answer as an npm registry does.",
                "A proxy or login page may be in the way; check: npm ping",
            )
        if etag and status == 200:
            content = json.dumps({"etag": etag, "body": text}).encode()
            with suppress(OSError):  # another ccm may be remembering the same answer
                fs.ensure_directory(self._cache)
                fs.replace_file(remembered, content, 0o600)
        return document

    def _fetch(self, url: str, headers: dict[str, str]) -> tuple[int, str | None, str]:
        """Status, ETag and text of a small answer, asked for again while that may help."""
        for tried in range(1, TRIES + 1):
            try:
                with self._get(url, headers) as response:
                    body = b""
                    for chunk in response.iter_content(CHUNK):
                        body += chunk
                        if len(body) > DOCUMENT_LIMIT:
                            raise NetworkError(f"{_shown(url)} answers without end.")
                    return (
                        response.status_code,
                        response.headers.get("ETag"),
                        body.decode(errors="replace"),
                    )
            except (requests.RequestException, _TryAgainError) as error:
                if tried == TRIES or isinstance(error, requests.exceptions.SSLError):
                    raise self._unreachable(url, _problem(error)) from None
                self._pause(_delay(error, tried))
        raise AssertionError("the last try returns or raises")

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """One GET; redirects are followed without carrying credentials or leaving https."""
        try:
            return self._follow(url, headers)
        except requests.RequestException:
            raise
        except ValueError:  # an address or a credential that can't be written into a request
            raise NetworkError(
                f"{_host(url)} can't be asked: its address, or the credential in "
                "your .npmrc, has characters it can't have.",
                "Check: npm config list",
            ) from None

    def _follow(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        address = url
        for _ in range(REDIRECTS + 1):
            authorization = self._config.authorization(address)
            response = self._session.get(
                address,
                headers={
                    "Accept-Encoding": "identity",
                    **headers,
                    **({"Authorization": authorization} if authorization else {}),
                },
                proxies=self._proxies(address),
                timeout=CONNECT_AND_READ_TIMEOUT,
                stream=True,
                allow_redirects=False,
            )
            if not response.is_redirect:
                self._check_status(response, address)
                return response
            response.close()
            target = urljoin(address, response.headers["Location"])
            if urlsplit(target).scheme not in ("https", urlsplit(address).scheme):
                raise NetworkError(
                    f"{_shown(address)} redirects to {_shown(target)}, which is not https."
                )
            address = target
        raise NetworkError(f"{_shown(url)} redirects in circles.")

    def _check_status(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        if status in (200, 206, 304):
            return
        response.close()
        if status == 429 or status >= 500:
            raise _TryAgainError(
                f"it answered with status {status} {TRIES} times",
                _seconds(response.headers.get("Retry-After")),
            )
        if status in (404, 405, 410):
            raise NotFoundError("document at the registry", _shown(url))
        if status in (401, 403):
            raise NetworkError(
                f"{_shown(url)} refused access ({status}).",
                "Log in with `npm login`, or check the _authToken in your .npmrc.",
            )
        raise NetworkError(f"{_shown(url)} answered with status {status}.")

    def _download_url(self, promised: str) -> str:
        """Where the archive is fetched. VerificationError for what ccm does not follow."""
        try:
            url = self._config.download_url(promised)
            parts, registry = urlsplit(url), urlsplit(self._config.registry)
            followed = parts.scheme in ("https", registry.scheme) and "@" not in parts.netloc
        except ValueError:
            followed = False
        if not followed:
            raise VerificationError(
                "The registry sends the download to an address ccm does not follow.",
                "Check the registry settings: npm config get registry",
            )
        return url

    def _proxies(self, url: str) -> dict[str, str]:
        scheme = urlsplit(url).scheme
        proxy = self._config.proxy(scheme) or self._network.proxies.get(scheme)
        no_proxy = self._config.values.get("noproxy") or self._network.no_proxy
        bypass = bool(no_proxy) and should_bypass_proxies(url, no_proxy)
        return {scheme: proxy} if proxy and not bypass else {}

    def _unreachable(self, url: str, problem: str) -> CcmError:
        where = " (named by this project's .npmrc)" if self._config.project else ""
        return NetworkError(
            f"{_host(url)}{where} can't be used: {problem}.",
            "Check the connection, the proxy and `npm ping`, then run the same command again.",
        )


class _TrustingAdapter(HTTPAdapter):
    """Trusts what the system trusts (SSL_CERT_FILE included) and some files more."""

    def __init__(self, ca_files: tuple[Path, ...]) -> None:
        self._ca_files = ca_files
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context())

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=self._context())

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for path in self._ca_files:
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise NetworkError(
                    f"The certificates in {path} can't be read: {error}.",
                    "Check npm's cafile and NODE_EXTRA_CA_CERTS.",
                ) from None
        return context


def _read_answer(path: Path) -> dict[str, str] | None:
    """An earlier answer with its ETag; None for a damaged one, which is only asked for again."""
    try:
        known = json.loads(path.read_text())
        return {"etag": str(known["etag"]), "body": str(known["body"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _problem(error: requests.RequestException | _TryAgainError) -> str:
    if isinstance(error, _TryAgainError):
        return error.problem
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted (npm's cafile and NODE_EXTRA_CA_CERTS are used)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused"
    if isinstance(error, requests.exceptions.Timeout):
        return "it did not answer in time"
    return "the connection failed or broke"


def _delay(error: Exception, tried: int) -> float:
    asked = error.after if isinstance(error, _TryAgainError) else None
    return min(asked if asked is not None else 0.5 * 2 ** (tried - 1), LONGEST_PAUSE)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _length(response: requests.Response, before: int) -> int | None:
    text = response.headers.get("Content-Length", "")
    return before + int(text) if text.isdigit() else None


def _host(url: str) -> str:
    """With the port, without credentials."""
    return url.partition("//")[2].partition("/")[0].rpartition("@")[2]


def _shown(url: str) -> str:
    """A URL for people: no credentials, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{_host(url)}{parts.path}"
