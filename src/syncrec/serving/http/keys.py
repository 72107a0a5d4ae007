"""API keys with roles; a file of them holds no key, but what tells whether one is right.

```toml
[[key]]
name = "shop"
roles = ["read", "write"]
sha256 = "..."
```

A key is 256 random bits, so one round of SHA-256 protects it as well as a slow hash protects a password.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from syncrec import artifacts
from syncrec.config import parse_settings, read_toml
from syncrec.errors import ConfigError

__all__ = ["KeyRing", "Role", "add_key"]

Role = Literal["read", "write", "admin"]


class _Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    roles: tuple[Role, ...] = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: tuple[_Key, ...] = ()


@dataclass(frozen=True)
class KeyRing:
    """The keys of a file; `admin` may do everything, `read` asks and `write` sends events."""

    keys: tuple[_Key, ...]

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read a file of keys.

        Raises:
            ConfigError: it is missing, no TOML, holds no key, a bad one, or one name twice.
        """
        keys = parse_settings(_KeyFile, read_toml(path), str(path)).key
        names = [key.name for key in keys]
        if not keys:
            raise ConfigError(f"{path}: holds no key; `syncrec api-key NAME --keys {path} --role read` adds one")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"{path}: the key {twice[0]!r} is there twice; rename one")
        return cls(keys)

    def find(self, secret: str) -> tuple[str, frozenset[str]] | None:
        """Name and roles of the key `secret`, None if it is none; takes as long for every `secret`."""
        digest, found = _digest(secret), None
        for key in self.keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key.name, frozenset(key.roles)
        return found


def add_key(path: Path, name: str, roles: tuple[str, ...]) -> str:
    """Add a new key to the file at `path`, which is made if it is not there; gives the key, which nobody sees again.

    Raises:
        ConfigError: the name is taken or is none, a role is unknown, or the file is damaged.
    """
    known = parse_settings(_KeyFile, read_toml(path), str(path)).key if path.exists() else ()
    if name in [key.name for key in known]:
        raise ConfigError(f"{path}: has a key {name!r} already; take it out, or choose another name")
    if unknown := [role for role in roles if role not in get_args(Role)]:
        raise ConfigError(f"unknown role {unknown[0]!r}; roles are {', '.join(get_args(Role))}")
    secret = f"syncrec_{secrets.token_urlsafe(32)}"
    added = parse_settings(_Key, {"name": name, "roles": roles, "sha256": _digest(secret)}, f"key {name!r}")
    with artifacts.replaced_file(path) as place:
        place.write_text("\n".join(_as_toml(key) for key in (*known, added)), encoding="utf-8")
    path.chmod(0o600)
    return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _as_toml(key: _Key) -> str:
    roles = ", ".join(f'"{role}"' for role in key.roles)
    return f'[[key]]\nname = "{key.name}"\nroles = [{roles}]\nsha256 = "{key.sha256}"\n'
