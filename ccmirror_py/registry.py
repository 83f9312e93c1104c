"""Upstream: the npm registry, asked the way the user's npm would ask it.

The registry protocol is npm's "Registry API"
(github.com/npm/registry, docs/REGISTRY-API.md); single version documents are 2 KB where the whole
package document is 750 KB (measured, 2026-11-22).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from ccmirror_py import fs
from ccmirror_py.errors import NetworkError, NotFoundError, VerificationError
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.platforms import ROOT_PACKAGE, Platform
from ccmirror_py.release import MEGABYTE, Release, choose_package, manifest_version, parse_release
from ccmirror_py.signature import Signature
from ccmirror_py.signers import Signers
from ccmirror_py.transport import Network, Transport, TryAgainError, host, shown
from ccmirror_py.version import Channel, Range, Spec, Version, version_or_none

TRIES = 5
_MUCH = MEGABYTE
"""Bytes: a connection that brought so many and broke is taken up again without a pause."""
LONGEST_PAUSE = 30.0
DOCUMENT_LIMIT = 4 * MEGABYTE
"""Five times the largest there is; a hostile one takes 25 times its size once it is JSON."""
DOWNLOAD_LIMIT = 1024 * MEGABYTE
_CHECK_REGISTRY = "Check the registry settings: npm config get registry"
_ABBREVIATED = "application/vnd.npm.install-v1+json"

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the whole, if the server told."""


class Registry:
    """`cache` is a directory for answers that can be asked for conditionally."""

    def __init__(
        self,
        config: NpmConfig,
        network: Network,
        cache: Path,
        pause: Callable[[float], None],
        signers: Signers | None = None,
    ) -> None:
        self._config = config
        self._cache = cache
        self._pause = pause
        self._known: dict[Spec, Mapping[str, object]] = {}
        self._releases: dict[tuple[str, Version], Release] = {}
        self._transport = Transport(config, network)
        self._signers = signers or Signers(cache / "npm-keys.json")

    def version(self, spec: Spec, platform: Platform) -> Version:
        """The version `spec` means now. NotFoundError names what there is instead.

        One small answer for a tag or a version, the (abbreviated) list of all for a range; each
        rule is asked for once.
        """
        manifest = self._meant(spec)
        choose_package(manifest, platform)
        return manifest_version(manifest)

    def find(self, spec: Spec, platform: Platform) -> Release:
        """The release `spec` means now: `version`, and where it is to be had."""
        manifest = self._meant(spec)
        version = manifest_version(manifest)
        package = choose_package(manifest, platform)
        if (package, version) not in self._releases:
            if package != ROOT_PACKAGE:
                manifest = self._document(package, str(version))
            self._releases[package, version] = self._release(manifest, package, version)
        return self._releases[package, version]

    def _meant(self, spec: Spec) -> Mapping[str, object]:
        if spec not in self._known:
            self._known[spec] = self._manifest(spec)
        return self._known[spec]

    def _release(self, manifest: Mapping[str, object], package: str, version: Version) -> Release:
        def signed_by(message: str, signatures: tuple[Signature, ...]) -> str | None:
            def published() -> object:
                times = self._document(package, whole=True).get("time")
                return times.get(str(version)) if isinstance(times, dict) else None

            return self._signers.signed_by(message, signatures, self._transport, published)

        return parse_release(manifest, package, version, signed_by)

    def tags_and_versions(self) -> tuple[dict[str, str], list[Version]]:
        """Dist-tags, and all versions in ascending order."""
        package = self._document(ROOT_PACKAGE)
        tags, versions = package.get("dist-tags"), package.get("versions")
        if not isinstance(tags, dict) or not isinstance(versions, dict):
            raise NetworkError(
                f"What {host(self._config.registry)} says of {ROOT_PACKAGE} is not npm's format.",
                _CHECK_REGISTRY,
            )
        known = sorted(version for text in versions if (version := version_or_none(text)))
        return {str(k): str(v) for k, v in tags.items()}, known

    def download(self, release: Release, progress: Progress, start: int = 0) -> Iterator[bytes]:
        """The bytes of the archive from the one of number `start` on, unverified.

        A broken line is taken up where it broke.
        """
        url = self._download_url(release.url)
        received, tries, total = start, 0, None
        while True:
            before = received
            try:
                headers = {"Range": f"bytes={received}-"} if received else {}
                with self._transport.get(url, headers) as answer:
                    skip = received if answer.status == 200 else 0
                    if total is None and answer.length is not None:
                        total = answer.length + received - skip
                    for chunk in answer.chunks():
                        fresh = chunk[skip:]
                        skip -= len(chunk) - len(fresh)
                        received += len(fresh)
                        if received > DOWNLOAD_LIMIT:
                            raise VerificationError(
                                "The download is larger than any release there is.", _CHECK_REGISTRY
                            )
                        progress(received, total)
                        yield fresh
                if total is None or received >= total:
                    return
                raise TryAgainError("the connection was closed too early")
            except TryAgainError as error:
                if error.no_rest and received == start:
                    return  # an earlier command had all of it; the hash tells when it had not
                tries = 1 if received > before else tries + 1
                if tries >= TRIES:
                    raise self._given_up(url, error) from None
                if received - before < _MUCH or error.after is not None:
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
                        "tag",
                        name,
                        hint=f"{shown(self._config.registry)} has: {', '.join(sorted(tags))}.",
                    ) from None
                return self._document(ROOT_PACKAGE, tags[name])
            case Version():
                try:
                    return self._exact(spec)
                except NotFoundError:
                    _, versions = self.tags_and_versions()
                    near = [str(version) for version in _nearest(spec, versions)]
                    raise NotFoundError(
                        "version of Claude Code",
                        str(spec),
                        hint=f"Near it: {', '.join(near)}. All: ccm versions --available",
                    ) from None

    def _exact(self, version: Version) -> Mapping[str, object]:
        manifest = self._document(ROOT_PACKAGE, str(version))
        if manifest_version(manifest) != version:
            raise VerificationError(
                f"Asked for Claude Code {version}, the registry answered with "
                f"{manifest.get('version')}.",
                _CHECK_REGISTRY,
            )
        return manifest

    def _document(
        self, package: str, version: str = "", whole: bool = False
    ) -> Mapping[str, object]:
        """A JSON object of the registry: of one version, or of the whole package (abbreviated)."""
        url = self._config.registry + quote(package, safe="@")
        url += f"/{quote(version, safe='')}" if version else ""
        accept = "application/json" if version or whole else _ABBREVIATED
        key = hashlib.sha256(f"{accept} {url}".encode()).hexdigest()
        remembered = self._cache / f"{key}.json"
        known = _read_answer(remembered)
        headers = {"Accept": accept}
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
                f"{shown(url)} did not answer as an npm registry does.",
                "A proxy or login page may be in the way; check: npm ping",
            )
        if etag and status == 200:
            content = json.dumps({"etag": etag, "body": text, "sha256": _sha256(text)}).encode()
            with suppress(OSError):  # another ccm may be remembering the same answer
                fs.ensure_directory(self._cache)
                fs.replace_file(remembered, content, 0o600)
        return document

    def _fetch(self, url: str, headers: dict[str, str]) -> tuple[int, str | None, str]:
        """Status, ETag and text of a small answer, asked for again while that may help."""
        tries = 0
        while True:
            try:
                with self._transport.get(url, headers) as answer:
                    body = bytearray()
                    for chunk in answer.chunks():
                        body += chunk
                        if len(body) > DOCUMENT_LIMIT:
                            raise NetworkError(f"{shown(url)} answers without end.")
                    return answer.status, answer.etag, body.decode(errors="replace")
            except TryAgainError as error:
                tries += 1
                if tries >= TRIES:
                    raise self._given_up(url, error) from None
                self._pause(_delay(error, tries))

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
                _CHECK_REGISTRY,
            )
        return url

    def _given_up(self, url: str, error: TryAgainError) -> NetworkError:
        return NetworkError(
            f"{self._transport.where(url)} can't be used: {error.problem}.",
            "Check the connection, the proxy and `npm ping`, then run the same command again.",
        )


def _nearest(wanted: Version, versions: list[Version]) -> list[Version]:
    """Two below, two above, and the newest; `versions` ascend."""
    position = sum(1 for version in versions if version < wanted)
    return sorted({*versions[max(0, position - 2) : position + 2], *versions[-1:]})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_answer(path: Path) -> dict[str, str] | None:
    """An earlier answer with its ETag; None for a damaged one, which is only asked for again."""
    try:
        known = json.loads(fs.read_file(path))
        etag, body = str(known["etag"]), str(known["body"])
        # one flipped bit would else be believed for as long as the registry says "unchanged"
        return {"etag": etag, "body": body} if known["sha256"] == _sha256(body) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _delay(error: TryAgainError, tried: int) -> float:
    """Seconds: what the server asks for, else twice as long each time."""
    return min(error.after if error.after is not None else 0.5 * 2 ** (tried - 1), LONGEST_PAUSE)
