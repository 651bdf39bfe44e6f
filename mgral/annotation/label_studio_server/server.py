"""One server: its address, who asks it, and what its answers mean.

Label Studio knows two kinds of token. A legacy token goes with every question. A personal access token is a JWT that is
good for nothing but a second one, which goes with the questions and ends after some minutes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from mgral.data.formats.reading import shown
from mgral.errors import ConfigError, StateError

TOKEN = "LABEL_STUDIO_API_KEY"
"""The environment variable that holds the token."""
CONNECT, ANSWER = 10.0, 300.0
"""Seconds that a connection and an answer may take: an export of 10,000 tasks takes about 20."""
MAKE_ONE = "make one in Label Studio (the menu of your account, Account & Settings, Personal Access Token)"
FIRST_PAGE = "give the address of Label Studio's own first page, without what follows it"
AGAIN = "the same command goes on where it was"


def token_from(environment: Mapping[str, str]) -> str:
    """The token that the environment holds.

    Raises:
        ConfigError: none, or what cannot be one; it is not shown.
    """
    token = environment.get(TOKEN, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        got = "blanks or other signs in it" if token else "none"
        raise ConfigError(f"{TOKEN}: expected a token of Label Studio in this environment variable, got {got}; "
                          f"{MAKE_ONE} and type `export {TOKEN}=…`")
    return token


def address_of(url: str) -> str:
    """The address of a server without slashes at its end; a path is kept.

    Raises:
        ConfigError: no address of a web server, or one with a password or a query in it.
    """
    expected = "expected the address of Label Studio, such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and url.isprintable()
        httpx.URL(url.strip())
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise ConfigError(f"--label-studio: {expected}, got {shown(url.rpartition('@')[2])}; correct it")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"--label-studio: {expected}, got one with a user, a '?' or a '#' in it; leave that out: who "
                          f"you are says {TOKEN}")
    return url.strip().rstrip("/")


class Server:
    """Asks one Label Studio, for as long as the `with` block lasts.

    Redirects are not followed: the token is for this address alone. Every fault of an answer is a `StateError` of one
    line, and no line shows a token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = address_of(url)
        self._token, self._access = token, ""
        self._client = httpx.Client(timeout=httpx.Timeout(ANSWER, connect=CONNECT), follow_redirects=False)

    def __enter__(self) -> Server:
        try:
            self._check()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def json(self, method: str, path: str, what: str, **given: Any) -> Any:
        """What the server answers, read as JSON; `what` is expected in words, `given` as httpx names it."""
        return self._read(self.ask(method, path, what, **given), what)

    def ask(self, method: str, path: str, what: str, missing_is_fault: bool = True, **given: Any) -> httpx.Response:
        """The answer to a question, one of success; also one of 404 where that is no fault.

        Raises:
            StateError: no answer, or one that says no.
        """
        response = self._ask(method, path, self._headers(), **given)
        if response.status_code == 401 and self._is_personal:
            self._access = ""  # it has ended
            response = self._ask(method, path, self._headers(), **given)
        if response.is_success or (response.status_code == 404 and not missing_is_fault):
            return response
        raise self._refusal(response, what)

    def fault(self, expected: str, got: str, advice: str) -> StateError:
        return StateError(self._without_tokens(f"{self.url}: expected {expected}, got {got}; {advice}"))

    @property
    def _is_personal(self) -> bool:
        return "." in self._token  # legacy tokens are hexadecimal digits

    def _check(self) -> None:
        """Says nothing if this is a Label Studio that takes the token; only such a server is shown it."""
        version = self._read(self._ask("GET", "/api/version", {}), "the version of a Label Studio")
        if not isinstance(version, dict) or not any(str(key).startswith("label-studio") for key in version):
            raise self.fault("the version of a Label Studio", f"{shown(version)} at /api/version", FIRST_PAGE)
        # Pages answer for the version too, so that an address with too much behind it is only found here.
        response = self.ask("GET", "/api/current-user/whoami", "the token's user", missing_is_fault=False)
        if response.status_code == 404:
            raise self.fault("Label Studio's API", "404", FIRST_PAGE)

    def _headers(self) -> dict[str, str]:
        if not self._is_personal:
            return {"Authorization": f"Token {self._token}"}
        if not self._access:
            response = self._ask("POST", "/api/token/refresh/", {}, json={"refresh": self._token})
            if response.status_code == 404:
                raise self.fault("a Label Studio that takes personal access tokens", "404", f"{FIRST_PAGE}; if it is "
                                 "older than 1.16, take the legacy token of your account")
            if not response.is_success:
                raise self._refusal(response, "a personal access token that is good")
            answer = self._read(response, "an access token")
            self._access = answer["access"] if isinstance(answer, dict) and "access" in answer else "-"
        return {"Authorization": f"Bearer {self._access}"}

    def _ask(self, method: str, path: str, who: Mapping[str, str], **given: Any) -> httpx.Response:
        headers = {**given.pop("headers", {}), **who}
        try:
            return self._client.request(method, self.url + path, headers=headers, **given)
        except httpx.TimeoutException as error:
            patience = CONNECT if isinstance(error, httpx.ConnectTimeout) else ANSWER
            raise self.fault("an answer", f"none within {patience:.0f} seconds", f"try again: {AGAIN}") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self.fault("Label Studio", *_unreachable(error)) from error

    def _read(self, response: httpx.Response, what: str) -> Any:
        if not response.is_success:
            raise self._refusal(response, what)
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("content-type", "no content type")
            raise self.fault(f"{what} as JSON", f"something else ({kind}) from {response.url.path}",
                             FIRST_PAGE) from error

    def _refusal(self, response: httpx.Response, what: str) -> StateError:
        status, said = response.status_code, _said(self._without_tokens(response.text))
        if response.has_redirect_location:
            return self.fault(what, f"a redirect to {shown(response.headers['location'])}, which the token does not "
                              "follow", "give the address at which Label Studio itself answers")
        if status == 401:
            return self.fault(what, f"401 ({said or 'no token that is good'})", self._advice_on_token(said))
        advice = {403: "have the token's user made a member who may, or take another user's token",
                  404: "correct the address, or look whether somebody deleted it",
                  413: "let the server or the proxy before it take larger requests (client_max_body_size of nginx)",
                  429: f"wait, then try again: {AGAIN}"}.get(status, "correct what it names")
        if status >= 500:
            advice = f"look into the server's log and try again: {AGAIN}"
        return self.fault(what, f"{status}" + (f" ({said})" if said else ""), advice)

    def _advice_on_token(self, said: str) -> str:
        if self._is_personal:
            return (f"{TOKEN} holds a personal access token that this server does not take (it is shown whole only "
                    f"when it is made): {MAKE_ONE}")
        if "legacy" in said:
            return f"{TOKEN} holds a legacy token, which this server does not take: {MAKE_ONE}"
        return f"{TOKEN} holds a legacy token that is of no user here: copy it again, or {MAKE_ONE}"

    def _without_tokens(self, text: str) -> str:
        for secret in (self._token, self._access):
            text = text.replace(secret, "…") if len(secret) > 1 else text
        return text


def _unreachable(error: Exception) -> tuple[str, str]:
    """What came instead of an answer, and what to do about it."""
    said = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY" in said:
        return (f"a certificate that is not trusted ({shown(said)})",
                "name the file of the authority that signed it in the environment variable SSL_CERT_FILE")
    if "SSL" in said:
        return f"no TLS ({shown(said)})", "correct the address: http:// or https://"
    return f"no answer ({shown(said)})", "start it, or correct the address"


def _said(body: str) -> str:
    """The server's own words on one line, short; nothing of a web page."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return shown(answer, 200)
    more = answer.get("validation_errors")
    words = _flat(more) if more else [str(answer.get("detail") or "")]
    text = " ".join(" ".join(words).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _flat(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for key, inner in value.items() for word in ([] if key == "non_field_errors" else [f"{key}:"])
                + _flat(inner)]
    return [word for inner in value for word in _flat(inner)] if isinstance(value, list) else [str(value)]
