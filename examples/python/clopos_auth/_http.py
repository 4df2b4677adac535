"""HTTP requests with the token: for urllib, and for the package requests."""

from __future__ import annotations

import io
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, Optional, Tuple, Union

from ._kinds import Error
from ._token import Token, TokenSource


def urlopen(
    client: TokenSource,
    request: Union[str, urllib.request.Request],
    *,
    venue: Optional[str] = None,
    **options: Any,
) -> Any:
    """urllib.request.urlopen() with the client's current token in the header x-token.

    `venue` is put into the header x-venue of a request that has none: it is then about this venue instead of
    the token's.

    If the service refuses that token (a 401 whose body says "Invalid token" or "Token expired"), requests a
    new one and sends the request once more, provided that its data is bytes or None. If there is no new
    token, and for every other 401, the caller gets the 401 as an HTTPError. Requests to other hosts, and
    those of redirects, are sent without a token.
    """
    if isinstance(request, str):
        request = urllib.request.Request(request)
    if _origin(request.full_url) != _origin(client.base_url):
        return urllib.request.urlopen(request, **options)
    token = client.get_token()
    try:
        return _send(request, token, venue, options)
    except urllib.error.HTTPError as refusal:
        # The request of a redirect bears no token.
        if refusal.code != 401 or refusal.url != request.full_url:
            raise
        body = refusal.read()
        other = _other_token(client, token, body)
        if other is None or not isinstance(request.data, (bytes, type(None))):
            raise urllib.error.HTTPError(
                refusal.url, refusal.code, refusal.reason, refusal.headers, io.BytesIO(body)
            ) from None
    return _send(request, other, venue, options)


def _other_token(client: TokenSource, refused: Token, body: bytes) -> Optional[Token]:
    """Invalidates a token after a 401 with this body, and returns a new one. None: it was not refused, or
    there is no new one."""
    if b"Invalid token" not in body and b"Token expired" not in body:
        return None
    try:
        client.invalidate(refused)
        return client.get_token()
    except Error:
        return None


def _send(
    request: urllib.request.Request, token: Token, venue: Optional[str], options: Dict[str, Any]
) -> Any:
    # A copy: urllib changes the Request that it sends. With a proxy, the same Request would be sent without
    # TLS the second time.
    copy = urllib.request.Request(
        request.full_url,
        request.data,
        request.headers,
        request.origin_req_host,
        request.unverifiable,
        request.get_method(),
    )
    copy.unredirected_hdrs.update(request.unredirected_hdrs)
    # add_header() would send the token to the target of a redirect.
    copy.add_unredirected_header("X-token", token.value)
    if venue is not None and not copy.has_header("X-venue"):
        copy.add_unredirected_header("X-venue", venue)
    return urllib.request.urlopen(copy, **options)


def _origin(url: str) -> Tuple[str, Optional[str], int]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


class RequestsAuth:
    """For the package requests: session.auth = RequestsAuth(client), or requests.get(url, auth=...).

    Does what urlopen() does; a redirect to the service itself bears the token as well. A request whose body
    is a file or an iterator is not sent again: the caller gets the 401.
    """

    def __init__(self, client: TokenSource, venue: Optional[str] = None) -> None:
        self.client = client
        self.venue = venue

    def __call__(self, request: Any) -> Any:
        """Called by requests for each request, before it is sent."""
        if _origin(request.url) == _origin(self.client.base_url):
            token = self.client.get_token()
            self._put(request, token)
            request.register_hook("response", _ResponseHook(self, token))
        return request

    def _put(self, request: Any, token: Token) -> None:
        request.headers["x-token"] = token.value
        if self.venue is not None:
            request.headers.setdefault("x-venue", self.venue)

    def __repr__(self) -> str:
        return f"RequestsAuth({self.client!r}, venue={self.venue!r})"


class _ResponseHook:
    """Called by requests with the response to a request with this token, and with those of its redirects."""

    def __init__(self, auth: RequestsAuth, token: Token) -> None:
        self._auth, self._token = auth, token

    def __call__(self, response: Any, **options: Any) -> Any:
        request = response.request
        # Another host's request bore no token, nor did one that another host redirected to the service.
        if request.headers.get("x-token") != self._token.value:
            return response
        # Reading the body also frees the connection.
        if response.status_code == 401:
            other = _other_token(self._auth.client, self._token, response.content)
            if other is not None and isinstance(request.body, (bytes, str, type(None))):
                again = request.copy()
                self._auth._put(again, other)
                second = response.connection.send(again, **options)
                second.history.append(response)
                response = second
        # requests copies this request for a redirect, including the headers.
        if response.is_redirect:
            target = urllib.parse.urljoin(response.url, response.headers["location"])
            if _origin(target) != _origin(self._auth.client.base_url):
                for name in "x-token", "x-venue":
                    request.headers.pop(name, None)
        return response
