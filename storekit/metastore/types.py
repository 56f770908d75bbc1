"""Column types whose storage differs by database, so that no statement has to know."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BINARY, CHAR, BindParameter, ColumnElement, DateTime, String, Uuid, func
from sqlalchemy.dialects.mysql import DATETIME, TIMESTAMP
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from storekit.clock import as_utc

__all__ = ["ExactString", "MySqlInstantKind", "RegionId", "UtcInstant", "is_mysql"]


def is_mysql(dialect: Dialect) -> bool:
    """Whether a dialect is MySQL's or MariaDB's."""
    return dialect.name in {"mysql", "mariadb"}


MySqlInstantKind = type[TIMESTAMP] | type[DATETIME]


class UtcInstant(TypeDecorator[datetime]):
    """An aware instant, in UTC on both sides.

    SQLite keeps naive UTC text with six decimals, PostgreSQL ``timestamptz``. On MySQL, Airflow has
    ``TIMESTAMP(6)``, which ends in January 2038; storekit's own layout has ``DATETIME(6)``, which does not.
    """

    impl = DateTime
    cache_ok = True

    def __init__(self, mysql_kind: MySqlInstantKind = DATETIME) -> None:
        super().__init__()
        self.mysql_kind = mysql_kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if is_mysql(dialect):
            return dialect.type_descriptor(self.mysql_kind(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        instant = as_utc(value)
        return instant if dialect.name == "postgresql" else instant.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactString(TypeDecorator[str]):
    """A string compared character by character.

    MySQL's default collations take ``a`` and ``A`` for one key, and its padding ones ``a`` and ``a`` with a
    trailing space; two keys must never be one.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        length = self.impl_instance.length if isinstance(self.impl_instance, String) else None
        if is_mysql(dialect):
            exact = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
            return dialect.type_descriptor(String(length, collation=exact))
        return dialect.type_descriptor(String(length))


class _HexBinary(BINARY):
    """``BINARY(n)`` whose values are sent as hex digits: ``UNHEX('00…')``.

    aiomysql up to 0.3.2 cannot send ``bytes`` beside PyMySQL 1.2.3 and later (aio-libs/aiomysql#1080).
    """

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def bind_expression(self, bindvalue: BindParameter[Any]) -> ColumnElement[Any]:
        return func.unhex(bindvalue)


class RegionId(TypeDecorator[uuid.UUID]):
    """Airflow 3.4's ``region_id``: ``uuid`` on PostgreSQL, ``BINARY(16)`` on MySQL, 32 hex digits on SQLite."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if is_mysql(dialect):
            return dialect.type_descriptor(_HexBinary(16))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Uuid())
        return dialect.type_descriptor(CHAR(32))

    def process_bind_param(self, value: uuid.UUID | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return value.hex

    def process_result_value(self, value: Any, dialect: Dialect) -> uuid.UUID | None:
        if value is None or isinstance(value, uuid.UUID):
            return value
        return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(value)
