"""`ccm probe`: talk to a variant's endpoint as its Claude Code would, and say what is wrong.

Every request goes to the variant's own host, before one deadline. The first is just what Claude
Code would send; only if it fails are others sent to find out why.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from ccmirror_py import local_servers, probe
from ccmirror_py import probe_access as access
from ccmirror_py import probe_talk as speech
from ccmirror_py.context import Context
from ccmirror_py.credential import fetch, missing
from ccmirror_py.diagnosis import known
from ccmirror_py.environment import (
    ANTHROPIC_URL,
    KEYLESS_TOKEN,
    auth_style,
    takes_key,
    tiers_of,
)
from ccmirror_py.errors import CcmError
from ccmirror_py.heard import Heard, redacted
from ccmirror_py.line import Line
from ccmirror_py.messages import (
    BASH,
    FEATURES,
    PLAIN_CLAUDES,
    Ask,
    Feature,
    Json,
    Manner,
    Wish,
    asked,
    bare,
    counted,
    manner_of,
    said,
    told,
)
from ccmirror_py.model_list import addresses
from ccmirror_py.operations import probe_deep
from ccmirror_py.probe import Row, Target
from ccmirror_py.provider import AuthStyle, Provider
from ccmirror_py.settings import denied_tools
from ccmirror_py.streams import Message, read_answer
from ccmirror_py.transport import Network
from ccmirror_py.variant import NoKey, Variant

T = TypeVar("T")

SECONDS = 20.0
DEEP_SECONDS = 120.0
PATIENCE = 5.0
"""Seconds: for all requests, for them with --deep, and for one that is beside the point."""
OWN_MODELS = {"main": "claude-opus-5-5", "haiku": "claude-haiku-4-5"}
"""What Claude Code 2.1.330 asks for when nothing is set."""

CALL = """Call the tool Bash once, with exactly the command of the next line.
run: echo {word}
When you have its output, answer with that output and nothing else."""


def examine(context: Context, variant: Variant, network: Network, deep: bool) -> list[Row]:
    """The table for one variant, in order, without the key."""
    provider = context.providers.get(variant.choices.provider)
    if not takes_key(provider, variant.credential):
        what = "the cloud's own credentials are" if provider.cloud else "Claude Code's own login is"
        detail = f"{what} the key, and can't be lent; your first prompt tells"
        return [Row("key", "skipped", detail)]
    try:
        key = key_of(context, variant)
    except CcmError as error:
        return [Row("key", "failed", error.sentence, error.hint)]
    if not key:
        return [Row("key", "failed", *missing(variant.credential, variant.name))]
    target = target_of(context, variant, provider)
    line = Line(network, DEEP_SECONDS if deep else SECONDS)
    return table(Talk(target, key, line), deep)


def key_of(context: Context, variant: Variant) -> str:
    """As its launcher would get it; "" when there is none. CcmError when it can't be read."""
    if isinstance(variant.credential, NoKey):
        return KEYLESS_TOKEN
    stored = context.variants.stored_key_of(variant)
    secret = fetch(variant.credential, stored, context.environ)
    return secret.reveal() if secret else ""


def target_of(context: Context, variant: Variant, provider: Provider) -> Target:
    inherited = {n: context.environ[n] for n in variant.choices.inherit if n in context.environ}
    environment = {**inherited, **variant.environment}
    window = environment.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "")
    tiers = tiers_of(environment) or OWN_MODELS
    overrides = variant.choices.model_overrides
    plain = frozenset(overrides[id_] for id_ in PLAIN_CLAUDES if id_ in overrides)
    main = tiers.get("main", next(iter(tiers.values())))
    return Target(
        name=variant.name,
        provider=provider.id,
        url=variant.base_url or ANTHROPIC_URL,
        style=auth_style(provider, variant.choices),
        tiers=tiers,
        window=int(window) if window.isdigit() else None,
        manner=manner_of(environment, variant.version, main in plain),
        environment=environment,
        denies_search="WebSearch" in denied_tools(provider, variant.choices),
        plain=plain,
        models_url=provider.models_url,
    )


class Talk:
    """Says things to the endpoint of `target`, with its key."""

    def __init__(self, target: Target, key: str, line: Line) -> None:
        self.target = target
        self._key = key
        self.line = line

    def ask(
        self,
        ask: Ask,
        url: str | None = None,
        style: AuthStyle | None = None,
        patience: float = DEEP_SECONDS,
    ) -> Heard:
        """At another address of the same host, or with the key in another header, if asked to."""
        bearer = (style or self.target.style) == "bearer"
        key = {"authorization": f"Bearer {self._key}"} if bearer else {"x-api-key": self._key}
        base = url if url is not None else self.target.url
        headers = {**ask.headers, **key}
        return self.line.send(Ask(ask.method, base + ask.path, headers, ask.body), patience)

    def say(self, wish: Wish, manner: Manner | None = None) -> tuple[Heard, Message]:
        heard = self.ask(asked(manner or self.target.manner, wish))
        return heard, read_answer(heard)

    def clean(self, row: Row) -> Row:
        """Without the key, which a server may have quoted."""
        return replace(
            row, detail=redacted(row.detail, self._key), fix=redacted(row.fix, self._key)
        )


def table(talk: Talk, deep: bool) -> list[Row]:
    """What `examine` shows; for tests, which bring their own target."""
    rows = [talk.clean(row) for row in _rows(talk, deep)]
    return list(probe.in_order(rows, deep))


def _rows(talk: Talk, deep: bool) -> Iterator[Row]:
    target, manner = talk.target, talk.target.manner
    call = Call(talk)
    heard, message = call.first(manner)

    reach = access.reached(heard, target)
    yield reach
    if reach.result == "failed":
        return
    if target.local:
        yield from local_servers.rows(_told_locally(talk), target)
    why = access.is_wrong_path(heard)
    if why:
        yield access.wrong_path(why, right_address(talk), target)
        return
    yield Row("path", "ok", f"the Messages API is at {target.url}")
    if access.is_key_refused(heard):
        yield access.key_row(heard, is_other_header_right(talk, heard), target)
        return
    yield Row("key", "ok", "taken" if heard.ok else "not what is refused")

    if heard.status != 200 and not _is_about_models(heard):
        refusal, left_out = heard, _what_is_refused(talk, call)
        yield from (speech.feature_row(feature, refusal, target) for feature in left_out)
        if left_out:
            manner = manner.without(*left_out)
            heard, message = call.first(manner)
    yield from _side_by_side(call, manner, heard, message, deep)


def _side_by_side(
    call: "Call", manner: Manner, heard: Heard, message: Message, deep: bool
) -> Iterator[Row]:
    """What does not wait for each other, all at once: a slow model has twenty seconds only."""
    talk, target = call.talk, call.talk.target
    models = [model for model in dict.fromkeys(target.tiers.values()) if model != target.main]
    with ThreadPoolExecutor(len(models) + 4) as pool:
        listed = pool.submit(_listed, talk)
        others = [pool.submit(_asked_of, talk, model, manner) for model in models]
        if heard.status == 200:
            counting = pool.submit(talk.ask, counted(manner, target.main), patience=PATIENCE)
            talking = pool.submit(lambda: list(_conversation(call, manner, heard, message)))
            if deep:
                more = pool.submit(lambda: list(probe_deep.rows(talk.say, target, manner)))
        ids = access.ids_listed(listed.result())
        yield access.model_row(target.main, heard, message, ids, target)
        for model, other in zip(models, others, strict=True):
            yield access.model_row(model, *other.result(), ids, target)
        yield probe.window_row(probe.window_told(listed.result(), target.main), target)
        yield probe.long_context_row(target)
        if heard.status == 200:
            yield from speech.system_and_fields(manner)
            yield from talking.result()
            yield probe.count_row(counting.result())
            yield from more.result() if deep else ()


def _is_about_models(heard: Heard) -> bool:
    rule = known(heard)
    return rule is not None and rule.step == "models"


def _asked_of(talk: Talk, model: str, manner: Manner) -> tuple[Heard, Message]:
    own = talk.target.manner_for(model, manner)
    return talk.say(Wish(model, [said("Say ok.")], most=64), own)


def _together(thunks: Sequence[Callable[[], T]]) -> list[T]:
    """All at once; each ends at the deadline at the latest."""
    with ThreadPoolExecutor(len(thunks) or 1) as pool:
        return list(pool.map(lambda thunk: thunk(), thunks))


def _told_locally(talk: Talk) -> dict[str, Heard]:
    """What the servers people start themselves tell at the root of their address."""
    asks = local_servers.questions(talk.target.main)
    parts = urlsplit(talk.target.url)
    origin = f"{parts.scheme}://{parts.netloc}"
    answers = _together([partial(talk.ask, ask, origin, patience=PATIENCE) for ask in asks])
    return {ask.path: heard for ask, heard in zip(asks, answers, strict=True)}


# --- what to do about a refusal ---


def right_address(talk: Talk) -> str | None:
    """Where on this host the Messages API answers, of the places it could be."""
    ask = bare(talk.target.manner, talk.target.main)
    urls = access.other_addresses(talk.target.url)
    heard = _together([partial(talk.ask, ask, url, patience=PATIENCE) for url in urls])
    answering = [url for url, h in zip(urls, heard, strict=True) if access.speaks_messages(h)]
    return answering[0] if answering else None


def is_other_header_right(talk: Talk, heard: Heard) -> bool:
    rule = known(heard)
    if heard.status in (402, 429) or (rule is not None and rule.fix):
        return False
    other: AuthStyle = "x-api-key" if talk.target.style == "bearer" else "bearer"
    answer = talk.ask(bare(talk.target.manner, talk.target.main), style=other)
    return 0 < answer.status < 500 and not access.is_key_refused(answer)


def _what_is_refused(talk: Talk, call: "Call") -> tuple[Feature, ...]:
    """The features without which the request is taken; none when even the bare one is refused."""
    manner = talk.target.manner
    present = [feature for feature in FEATURES if manner.has(feature)]
    tries = _together([partial(call.first, manner.without(feature)) for feature in present])
    for feature, (heard, _) in zip(present, tries, strict=True):
        if heard.ok:
            return (feature,)
    left_out: list[Feature] = []
    for feature in reversed(present):
        left_out.append(feature)
        if call.first(manner.without(*left_out))[0].ok:
            break
    else:
        return ()
    needless = [f for f in left_out if call.first(manner.without(*(set(left_out) - {f})))[0].ok]
    return tuple(feature for feature in left_out if feature not in needless)


def _listed(talk: Talk) -> Heard:
    """The list of models: where Claude Code's own path has it, else where vendors put it."""
    heard = Heard()
    for url in addresses(talk.target.url, talk.target.models_url):
        heard = talk.ask(Ask("GET", "", {"accept": "application/json"}), url, None, PATIENCE)
        if heard.ok and access.ids_listed(heard):
            return heard
        if heard.status in (401, 403):
            break
    return heard if heard.ok else Heard()


# --- the conversation ---


class Call:
    """One conversation with two tool calls. Words and outputs are new each time: no answer can be
    known beforehand."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.streams = True
        self.words = [f"ccm-{secrets.token_hex(3)}" for _ in range(2)]
        self.outputs = [f"{word}-{secrets.token_hex(3)}" for word in self.words]
        self._turns: list[Json] = [said(CALL.format(word=self.words[0]))]

    def first(self, manner: Manner) -> tuple[Heard, Message]:
        return self._say(self._turns, manner)

    def next(self, manner: Manner, before: Message, number: int) -> tuple[Heard, Message]:
        """What is answered to the result of the call in `before`."""
        result = told(before.blocks("tool_use")[0], self.outputs[number])
        more = [CALL.format(word=self.words[1])] if number == 0 else []
        self._turns = [*self._turns, before.turn, said(result, *more)]
        return self._say(self._turns, manner)

    def _say(self, turns: Sequence[Json], manner: Manner) -> tuple[Heard, Message]:
        return self.talk.say(
            Wish(self.talk.target.main, turns, [BASH], stream=self.streams), manner
        )

    def problem(self, answers: Sequence[Message]) -> str:
        """What is wrong with the last of these answers; "" when nothing is."""
        number, message = len(answers) - 1, answers[-1]
        if number == 0:
            return speech.call_problem(message, self.words[0])
        before = str(answers[-2].blocks("tool_use")[0].get("id"))
        if number == 1:
            return speech.call_problem(message, self.words[1], before)
        return speech.answer_problem(message, self.outputs[1])


def _conversation(call: Call, manner: Manner, heard: Heard, message: Message) -> Iterator[Row]:
    """Call, result, call, result, answer; thinking goes back as it came."""
    target = call.talk.target
    if "in words" in call.problem([message]) and manner.has("tools"):
        heard, message = call.first(manner)  # models have moods
    stream = speech.stream_row(heard, message, target)
    if stream.result == "failed" and speech.asks_again_whole(heard, message):
        call.streams = False
        heard, message = call.first(manner)
        if heard.status == 200 and message.content:
            twice = f"{stream.detail}: Claude Code asks for each answer a second time, without"
            stream = replace(stream, result="limited", detail=twice)
    answers = [message]
    while stream.result != "failed" or not (message.error or heard.is_slow):
        problem = call.problem(answers) if manner.has("tools") else ""
        if problem or len(answers) == 3 or not manner.has("tools"):
            if manner.has("tools"):
                yield speech.tools_row(problem, target)
            break
        heard, message = call.next(manner, message, len(answers) - 1)
        if heard.status != 200:
            yield probe.refused("tools", heard, target, "the result of a tool is refused")
            break
        answers.append(message)
        if stream.result == "ok":
            stream = speech.stream_row(heard, message, target)
    yield stream
    yield speech.thinking_row(answers, manner)
