"""HTTP to an endpoint that gets the user's key: one deadline, no redirects."""

import re
import threading
import time
from dataclasses import replace

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from ccmirror_py.errors import CcmError
from ccmirror_py.heard import Fault, Heard
from ccmirror_py.messages import Ask
from ccmirror_py.transport import CHUNK, Network, TrustingAdapter, proxy_for

LARGEST_ANSWER = 8 * 1024 * 1024
STREAM_END = re.compile(rb'"type"\s*:\s*"message_stop"')


class Line:
    """To one endpoint, until a deadline that all requests share.

    Redirects are not followed: the key goes to the host it is for. Each request has a thread of its
    own, so that neither a name that can't be looked up nor an answer that trickles in can hold up
    the caller; what is left running ends with the process.
    """

    def __init__(self, network: Network, seconds: float) -> None:
        self._network = network
        self._end = time.monotonic() + seconds
        self._adapter = TrustingAdapter(network.ca_files)  # 30 ms: once for all requests

    def send(self, ask: Ask, patience: float) -> Heard:
        """What is answered (`ask.path` is a whole address), up to the end of a stream of messages,
        a fault, the deadline, or as many seconds as this one request is worth."""
        begun = time.monotonic()
        end = min(self._end, begun + patience)
        call = _Call(self._network, self._adapter, end)
        thread = threading.Thread(target=call.run, args=(ask,), daemon=True)
        thread.start()
        thread.join(max(0.0, end - begun))
        if call.error is not None:
            raise call.error
        heard = call.heard if not thread.is_alive() else call.so_far("timeout")
        now = time.monotonic()
        return replace(heard, seconds=now - begun, idle=now - max(begun, call.last))


class _Call:
    """One request of a Line. `heard` is the result; until then `so_far` is what there is."""

    def __init__(self, network: Network, adapter: HTTPAdapter, end: float) -> None:
        self._network = network
        self._adapter = adapter
        self._end = end
        self._chunks: list[bytes] = []
        self._head = Heard()
        self.heard = Heard(fault="timeout")
        self.error: CcmError | None = None
        self.last = 0.0  # when something came, by the monotonic clock

    def run(self, ask: Ask) -> None:
        try:
            session = requests.Session()
            session.trust_env = False  # else a .netrc would answer for us
            session.mount("https://", self._adapter)
            session.mount("http://", self._adapter)
            response = session.request(
                ask.method,
                ask.path,
                headers=dict(ask.headers),
                json=ask.body,
                proxies=proxy_for(ask.path, self._network.proxies, self._network.no_proxy),
                timeout=max(0.1, self._end - time.monotonic()),
                stream=True,
                allow_redirects=False,
            )
            with response:
                self._read(response)
            self.heard = self.so_far(None)
        except CcmError as error:
            self.error = error
        except (requests.RequestException, HTTPError, ValueError, OSError) as error:
            self.heard = self.so_far(_fault(error), _reason(error))

    def _read(self, response: requests.Response) -> None:
        self._head = Heard(
            status=response.status_code,
            kind=response.headers.get("Content-Type", "").lower(),
            location=response.headers.get("Location", ""),
        )
        size = 0
        while chunk := response.raw.read1(CHUNK, decode_content=True):
            self._chunks.append(chunk)
            self.last = time.monotonic()
            size += len(chunk)
            if STREAM_END.search(b"".join(self._chunks[-2:])) or size > LARGEST_ANSWER:
                return
            if time.monotonic() > self._end:
                raise requests.Timeout

    def so_far(self, fault: Fault | None, detail: str = "") -> Heard:
        return replace(self._head, body=b"".join(self._chunks), fault=fault, detail=detail)


def _fault(error: Exception) -> Fault:
    text = repr(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return "proxy"
    if isinstance(error, requests.exceptions.SSLError) or "SSLError" in text:
        return "certificate"
    if isinstance(error, requests.Timeout | ReadTimeoutError | TimeoutError):
        return "timeout"
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "name"
    if "refused" in text:
        return "refused"
    addresses = requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader
    return "address" if isinstance(error, addresses) else "broken"


def _reason(error: Exception) -> str:
    """The innermost words, without addresses of objects."""
    text = str(error).rpartition("(Caused by ")[2] or str(error)
    return re.sub(r"<[^<>]*>[:,]?\s*", "", text).strip("() '\"")[:200]
