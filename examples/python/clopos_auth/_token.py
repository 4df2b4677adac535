"""Tokens, and the classes that return them."""

from __future__ import annotations

import datetime
from typing import Callable, NoReturn, Optional, Protocol, Union

from ._kinds import Error

#: Where the service is.
DEFAULT_BASE_URL = "https://integrations.clopos.com"

_HOUR = datetime.timedelta(hours=1)


class _Secret:
    """A text that repr(), vars() and tracebacks with local variables do not show, and pickle refuses."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal: Callable[[], str] = lambda: text

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")

    def __deepcopy__(self, _memo: object) -> _Secret:
        return self


class Token:
    """A token. Get it from the client again before each request: that is cheap.

    repr() and vars() do not show its value, and pickle refuses it. For your tests: Token("value").
    """

    def __init__(
        self,
        value: str,
        token_type: str = "Bearer",
        expires_at: Optional[datetime.datetime] = None,
        expires_in: datetime.timedelta = _HOUR,
        serial: int = 0,
    ) -> None:
        self._value = _Secret(value)
        #: "Bearer". Do not send it in x-token.
        self.token_type = token_type
        #: The expiry time, by the server's clock; this device's may differ.
        self.expires_at = expires_at or datetime.datetime.now(datetime.timezone.utc) + expires_in
        #: The remaining time when the token was returned; independent of the device's date.
        self.expires_in = expires_in
        #: The number of the token: the same each time that this token is returned, different from that of
        #: every other token in this process. Client.current() returns it.
        self.serial = serial

    @property
    def value(self) -> str:
        """The JWT: 1 to 8192 visible ASCII characters. Send it unchanged in the header x-token."""
        return self._value.reveal()

    def __repr__(self) -> str:
        return f"Token({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class TokenSource(Protocol):
    """The part of a Client that code needs to send requests. A StaticSource replaces it in tests."""

    #: Where the service is: urlopen() and RequestsAuth send the token to no other host.
    base_url: str

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """Returns a token, or raises an Error."""

    async def get_token_async(self, timeout: Optional[float] = None) -> Token:
        """Like get_token(), in an event loop."""

    def invalidate(self, refused: Union[Token, str, None] = None) -> None:
        """Reports a token that the service refused."""


class StaticSource:
    """For tests: always returns one token, or raises one Error. Sends nothing."""

    def __init__(self, result: Union[Token, Error], base_url: str = DEFAULT_BASE_URL) -> None:
        #: The token or the error. May be replaced at any time.
        self.result = result
        self.base_url = base_url
        #: The values that invalidate() was called with; None for any token.
        self.refused: list[Optional[str]] = []

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """Returns the token, or raises the error."""
        if isinstance(self.result, Error):
            raise self.result
        return self.result

    async def get_token_async(self, timeout: Optional[float] = None) -> Token:
        """Like get_token()."""
        return self.get_token(timeout)

    def invalidate(self, refused: Union[Token, str, None] = None) -> None:
        """Appends the value to `refused`."""
        self.refused.append(refused.value if isinstance(refused, Token) else refused)

    def __repr__(self) -> str:
        return f"StaticSource({self.result!r})"
