"""Tokens, and where they come from."""

from __future__ import annotations

import datetime
from typing import Callable, NoReturn, Optional, Protocol, Union

from ._kinds import Error

#: Where the service is.
DEFAULT_BASE_URL = "https://integrations.clopos.com"

_HOUR = datetime.timedelta(hours=1)


class _Secret:
    """A text that repr(), vars(), pickle and tracebacks with local variables do not show."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal: Callable[[], str] = lambda: text

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")

    def __deepcopy__(self, _memo: object) -> _Secret:
        return self


class Token:
    """A token. Get it from the client again before each request: that is cheap.

    Neither repr() nor vars() shows its value, and pickle refuses it. A host's tests make their own:
    Token("value").
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
        #: "Bearer", which the header x-token does not want.
        self.token_type = token_type
        #: When it ends, on the server's clock; this device's may differ.
        self.expires_at = expires_at or datetime.datetime.now(datetime.timezone.utc) + expires_in
        #: What was left of its life when it was handed out, whatever this device's date says.
        self.expires_in = expires_in
        #: Its number: the same token has the same, and no other token of its client has it.
        self.serial = serial

    @property
    def value(self) -> str:
        """The JWT, to be sent as it is in the header x-token."""
        return self._value.reveal()

    def __repr__(self) -> str:
        return f"Token({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class TokenSource(Protocol):
    """What a host's own code needs of a Client. Its tests use a StaticSource, or a class of their own."""

    #: Where the service is: the HTTP helpers send the token nowhere else.
    base_url: str

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """A token, or an Error."""

    async def get_token_async(self, timeout: Optional[float] = None) -> Token:
        """The same in an event loop."""

    def invalidate(self, refused: Union[Token, str, None] = None) -> None:
        """The service has refused this token."""


class StaticSource:
    """A source for a host's tests: hands out one token, or raises one Error. Sends nothing."""

    def __init__(self, result: Union[Token, Error], base_url: str = DEFAULT_BASE_URL) -> None:
        #: May be replaced at any time.
        self.result = result
        self.base_url = base_url
        #: The values that invalidate() was called with; None for "whichever".
        self.refused: list[Optional[str]] = []

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """The token, or the error."""
        if isinstance(self.result, Error):
            raise self.result
        return self.result

    async def get_token_async(self, timeout: Optional[float] = None) -> Token:
        """The same in an event loop."""
        return self.get_token(timeout)

    def invalidate(self, refused: Union[Token, str, None] = None) -> None:
        """Remembers the value in `refused`."""
        self.refused.append(refused.value if isinstance(refused, Token) else refused)

    def __repr__(self) -> str:
        return f"StaticSource({self.result!r})"
