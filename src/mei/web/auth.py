"""Who may call: a bearer token or a JWT (HS256), compared in constant time."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path

from mei.model.errors import ConfigError

_MIN_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """At least one of a bearer token and a JWT secret (≥ 32 bytes); either opens every route.

    A JWT must be HS256; `exp` and `nbf` are enforced when they are in it.
    """

    bearer_token: str | None = field(default=None, repr=False)
    jwt_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.bearer_token and not self.jwt_secret:
            raise ConfigError("authentication needs a bearer token or a JWT secret; neither is set")
        if self.jwt_secret and len(self.jwt_secret.encode()) < _MIN_SECRET_BYTES:
            raise ConfigError(
                f"the JWT secret must have at least {_MIN_SECRET_BYTES} bytes, "
                f"found {len(self.jwt_secret.encode())}; make a longer one"
            )

    def allows(self, authorization: bytes | None) -> bool:
        """Whether an `Authorization` header (raw) opens the routes."""
        scheme, _, credential = (authorization or b"").partition(b" ")
        credential = credential.strip()
        if scheme.lower() != b"bearer" or not credential:
            return False
        if self.bearer_token and hmac.compare_digest(credential, self.bearer_token.encode()):
            return True
        return bool(self.jwt_secret) and self._is_valid_jwt(credential)

    def _is_valid_jwt(self, credential: bytes) -> bool:
        import jwt

        try:
            jwt.decode(credential, self.jwt_secret or "", algorithms=["HS256"])
        except jwt.PyJWTError:
            return False
        return True


def auth_from(
    *, require_auth: bool, token_file: Path | None, secret_file: Path | None
) -> AuthSettings | None:
    """Auth out of settings (REQUIRE_AUTH, AUTH_TOKEN_FILE, JWT_SECRET_FILE); None = open.

    Either file turns auth on. ConfigError if auth is required without one, so that a service meant to
    be closed never starts open, or if a file cannot be read or is empty.
    """
    token = _secret("AUTH_TOKEN_FILE", token_file)
    secret = _secret("JWT_SECRET_FILE", secret_file)
    if token or secret:
        return AuthSettings(token, secret)
    if require_auth:
        raise ConfigError(
            "REQUIRE_AUTH=true needs AUTH_TOKEN_FILE or JWT_SECRET_FILE; neither is set"
        )
    return None


def _secret(variable: str, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{variable}={path} must be a readable text file: {error}") from error
    if not secret:
        raise ConfigError(f"{variable}={path} must hold a secret; the file is empty")
    return secret
