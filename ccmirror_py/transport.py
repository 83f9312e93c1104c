"""HTTP as the user's npm would speak it: certificates, proxies, credentials, redirects.

With `line` the only module that uses requests, and urllib3 below it.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import should_bypass_proxies

from ccmirror_py import __version__
from ccmirror_py.address import origin
from ccmirror_py.environment import is_loopback
from ccmirror_py.errors import NetworkError, NotFoundError
from ccmirror_py.npmrc import NpmConfig

CONNECT_AND_READ_TIMEOUT = (10.0, 30.0)
REDIRECTS = 5
CHUNK = 64 * 1024
LOWEST_SPEED, PATIENCE = 1024, 60.0
"""Less than so many bytes a second over so many seconds of waiting is as good as a broken line."""
LONGEST_ANSWER = 32 * 1024 * 1024


@dataclass(frozen=True)
class Network:
    """How this machine reaches others. `ca_files` are trusted in addition to the system's."""

    ca_files: tuple[Path, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
    no_proxy: str = ""


class TryAgainError(Exception):
    """Something that asking again may change. `after` is what the server asks for, in seconds;
    `no_rest`: it has nothing from the byte on that was asked for.
    """

    def __init__(self, problem: str, after: float | None = None, no_rest: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.after = after
        self.no_rest = no_rest


class Answer:
    """What a server sends; close it by leaving its `with`."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.etag = response.headers.get("ETag")

    @property
    def length(self) -> int | None:
        """Bytes of this answer, when the server tells."""
        text = self._response.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None

    def chunks(self) -> Iterator[bytes]:
        """CHUNK bytes each but the last. TryAgainError when the line breaks or hardly moves."""
        pieces: list[bytes] = []
        size, waited, came = 0, 0.0, 0
        while True:
            begun = time.monotonic()
            try:
                piece = self._response.raw.read1(CHUNK - size, decode_content=True)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise _told(error, "") from None
            waited, came = waited + time.monotonic() - begun, came + len(piece)
            pieces.append(piece)
            size += len(piece)
            if size == CHUNK or not piece:
                yield b"".join(pieces)
                pieces, size = [], 0
            if not piece:
                return
            if came >= LOWEST_SPEED * PATIENCE:
                waited, came = 0.0, 0
            elif waited > PATIENCE:
                raise TryAgainError("it sends next to nothing")

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *error: object) -> None:
        self._response.close()


@dataclass(frozen=True)
class Told:
    """A whole answer, whatever its status. A redirect to another host is one."""

    status: int
    text: str


class Transport:
    """Asks as `config` says, over `network`."""

    def __init__(self, config: NpmConfig, network: Network) -> None:
        self._config = config
        self._network = network
        self._session = requests.Session()
        self._session.trust_env = False  # else a .netrc would answer for us
        self._session.headers["User-Agent"] = f"ccm/{__version__}"
        self._session.mount("https://", TrustingAdapter(network.ca_files))

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """A 200, 206 or 304. Redirects are followed without credentials and never out of https.

        TryAgainError for what may pass, NotFoundError for a 404, NetworkError for all else.
        """
        try:
            return self._follow(url, headers)
        except requests.RequestException as error:
            raise _told(error, self.where(url)) from None
        except ValueError:
            raise _unaskable(host(url)) from None

    def ask(self, url: str, headers: Mapping[str, str]) -> Told:
        """For headers that hold a key: they go to the host of `url` and nowhere else.

        NetworkError when nobody answers.
        """
        address = url
        try:
            for _ in range(REDIRECTS + 1):
                with closing(self._sent(address, headers)) as response:
                    target = urljoin(address, response.headers.get("Location", ""))
                    if not response.is_redirect or origin(target) != origin(url):
                        return Told(response.status_code, _whole(response, address))
                address = target
        except requests.RequestException as error:
            told = _told(error, host(url))
            if isinstance(told, NetworkError):
                raise told from None
            raise NetworkError(
                f"{host(url)} can't be asked: {told.problem}.",
                "Check the address, the connection and the proxy.",
            ) from None
        raise NetworkError(f"{shown(url)} redirects in circles.")

    def _sent(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        return self._session.get(
            url,
            headers={"Accept": "application/json", **headers},
            proxies={} if is_loopback(url) else self._proxies(url),
            timeout=CONNECT_AND_READ_TIMEOUT,
            stream=True,
            allow_redirects=False,
        )

    def where(self, url: str) -> str:
        """The host for people, and where it was named when that is not obvious."""
        return host(url) + (" (named by this project's .npmrc)" if self._config.project else "")

    def _follow(self, url: str, headers: Mapping[str, str]) -> Answer:
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
                _check_status(response, address)
                return Answer(response)
            response.close()
            target = urljoin(address, response.headers["Location"])
            if urlsplit(target).scheme not in ("https", urlsplit(address).scheme):
                raise NetworkError(
                    f"{shown(address)} redirects to {shown(target)}, which is not https."
                )
            address = target
        raise NetworkError(f"{shown(url)} redirects in circles.")

    def _proxies(self, url: str) -> dict[str, str]:
        scheme = urlsplit(url).scheme
        own = self._config.proxy(scheme)
        proxies = {scheme: own} if own else self._network.proxies
        return proxy_for(url, proxies, self._config.values.get("noproxy") or self._network.no_proxy)


class TrustingAdapter(HTTPAdapter):
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


def proxy_for(url: str, proxies: Mapping[str, str], no_proxy: str) -> dict[str, str]:
    """Scheme to proxy, as requests takes it; empty where none is to be asked."""
    scheme = urlsplit(url).scheme
    proxy = proxies.get(scheme)
    bypass = bool(no_proxy) and should_bypass_proxies(url, no_proxy)
    return {scheme: proxy} if proxy and not bypass else {}


def host(url: str) -> str:
    """With the port, without credentials."""
    return url.partition("//")[2].partition("/")[0].rpartition("@")[2]


def shown(url: str) -> str:
    """A URL for people: no credentials, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{host(url)}{parts.path}"


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206, 304):
        return
    response.close()
    if status == 429 or status >= 500:
        after = _seconds(response.headers.get("Retry-After"))
        raise TryAgainError(f"it keeps answering with status {status}", after)
    if status == 416:
        problem = "the connection broke, and it sends no rest of a download"
        raise TryAgainError(problem, no_rest=True)
    if status in (404, 405, 410):
        raise NotFoundError("document at the registry", shown(url))
    if status in (401, 403):
        raise NetworkError(
            f"{shown(url)} refused access ({status}).",
            "Log in with `npm login`, or check the _authToken in your .npmrc.",
        )
    raise NetworkError(f"{shown(url)} answered with status {status}.")


def _told(
    error: requests.RequestException | urllib3.exceptions.HTTPError, where: str
) -> TryAgainError | NetworkError:
    if isinstance(error, requests.exceptions.SSLError):
        return _told_of_tls(error, where)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return _unaskable(where)
    if isinstance(error, requests.exceptions.ProxyError):
        return TryAgainError("the proxy refused")
    causes = list(_causes(error))
    for kinds, problem in _PROBLEMS:
        if any(isinstance(cause, kinds) for cause in causes):
            return TryAgainError(problem)
    return TryAgainError("the connection failed or broke")


def _told_of_tls(error: requests.exceptions.SSLError, where: str) -> TryAgainError | NetworkError:
    causes = list(_causes(error))
    refused = [cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)]
    if refused:
        return NetworkError(
            f"{where} can't be used: its certificate is not trusted "
            f"({refused[0].verify_message.rstrip('.')}).",
            "Name the certificate in npm's cafile, NODE_EXTRA_CA_CERTS or SSL_CERT_FILE.",
        )
    if any(isinstance(cause, ssl.SSLEOFError) for cause in causes):
        return TryAgainError("the connection broke while it was made secure")
    return NetworkError(f"{where} can't be used: it makes no secure connection.")


def _unaskable(where: str) -> NetworkError:
    """An address or a credential that can't be written into a request."""
    return NetworkError(
        f"{where} can't be asked: its address, or the credential in your .npmrc, has "
        "characters it can't have.",
        "Check: npm config list",
    )


_PROBLEMS = (
    (urllib3.exceptions.NameResolutionError, "its name can't be looked up"),
    (
        (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError),
        "it did not answer in time",
    ),
    (ConnectionRefusedError, "it refuses the connection"),
)


def _causes(error: object) -> Iterator[BaseException]:
    """An error of requests and those of urllib3 and ssl it was made of."""
    while isinstance(error, BaseException):
        yield error
        reason = getattr(error, "reason", None)  # MaxRetryError; a text in those of ssl
        inner = reason if isinstance(reason, BaseException) else next(iter(error.args), None)
        error = inner if isinstance(inner, BaseException) else error.__cause__


def _whole(response: requests.Response, url: str) -> str:
    body = bytearray()
    for chunk in response.iter_content(CHUNK):
        body += chunk
        if len(body) > LONGEST_ANSWER:
            raise NetworkError(f"{shown(url)} answers without end.")
    return body.decode(errors="replace")


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
