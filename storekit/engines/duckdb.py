"""DuckDB in memory: loads Arrow streams, then is frozen and only answers.

What is frozen for good: no table can be written, no file or network address can be opened, no setting changed.
Three independent locks hold that: DuckDB's own configuration (no external access, then locked), a read-only
transaction around every query, and, for SQL that a user wrote, a look at the parsed statement.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from storekit.engines.texts import Order, parameters, text, with_columns, with_order
from storekit.errors import QueryError, SnapshotError

__all__ = ["BATCH_ROWS", "DuckDBEngine"]

BATCH_ROWS = 32_768
"""Rows of a batch of a streamed answer."""

_CHUNK_ROWS = 122_880
# One row group of DuckDB. Loading chunk by chunk with a checkpoint after each keeps no more than that uncompressed:
# 1,000,000 rows end in 24 MB instead of passing through 210 MB.

_MACROS = (
    # The few functions that the texts in sql/ stand on; another engine declares its own under the same names.
    "CREATE MACRO instant(iso) AS CAST(iso AS TIMESTAMPTZ)",
    # TRY: the distance of two instants 290,000 years apart does not fit 64 bits of microseconds.
    "CREATE MACRO age_us(later, earlier) AS TRY(epoch_us(later) - epoch_us(earlier))",
)

# Plain words at the very start. Nothing is made of comments or options: what is not this is refused.
_EXPLAIN = re.compile(r"[ \t\r\n]*explain[ \t\r\n]+(?:analyze[ \t\r\n]+)?", re.IGNORECASE)

_REFUSED_FUNCTIONS = frozenset(
    {
        # They run a text: one that `_functions` would not see.
        "query",
        "json_execute_serialized_sql",
        # They do something, if little: there is nothing left to checkpoint, and the log is off for good.
        "checkpoint",
        "force_checkpoint",
        "truncate_duckdb_logs",
        "write_log",
        # They change what the whole engine knows, or run a function by its name on a connection of their own.
        "create_external_resource",
        "deregister_external_resource",
        "destroy_external_resource",
        "duckdb_external_resources",
        "register_external_resource",
        "register_external_resource_type",
    }
)
# Of the others that DuckDB 2.0 has, those that set an option (enable_logging, disable_profiling, ...) are refused by
# the locked configuration, those that read files or secrets by the closed access, and those that take a pointer
# (arrow_scan, pandas_scan, python_map_function, seq_scan) get none from SQL. setseed() is the cursor's alone.

_FROZEN = (
    "a snapshot is frozen: send one SELECT, EXPLAIN, DESCRIBE, SUMMARIZE or SHOW; "
    "snap.tasks() and snap.assets() return DataFrames of your own to change"
)
_OUTSIDE = "a snapshot's SQL sees its own rows, tasks and assets only; join other data to the DataFrame it returns"


class DuckDBEngine:
    """An in-memory DuckDB, compressed, isolated from files, network and the variables of the program.

    Parameters
    ----------
    memory_limit
        DuckDB's own limit; beyond it, it spills to a private temporary directory that goes with the engine.
    threads
        Threads of a query; None: DuckDB's choice.
    """

    def __init__(self, *, memory_limit: str = "1GB", threads: int | None = None) -> None:
        # Blocks and sorts that exceed the limit go here; mkdtemp makes it readable by this user only.
        self._spill = tempfile.mkdtemp(prefix="storekit-")
        self._forget = weakref.finalize(self, shutil.rmtree, self._spill, ignore_errors=True)
        self._frozen = False
        self._threads = threads
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "python_enable_replacements": "false",
                # An unordered load needs less memory; every answer that has an order says so.
                "preserve_insertion_order": "false",
                # Otherwise it keeps what it frees while loading: 1,000,000 rows cost 60 MB more.
                "threads": "1",
                "memory_limit": memory_limit,
                "temp_directory": self._spill,
            },
        )
        self._run("SET GLOBAL TimeZone = 'UTC'")
        # An in-memory database is only compressed when it is attached so.
        self._run("ATTACH ':memory:' AS snap (COMPRESS)")
        self._run("USE snap")
        for macro in _MACROS:
            self._run(macro)

    def _run(self, sql: str) -> None:
        self._connection.execute(sql)

    def load(self, table: str, reader: pa.RecordBatchReader) -> None:
        """Create a table from a stream, chunk by chunk; a field that is not nullable refuses nulls."""
        schema = reader.schema
        self._register("incoming", pa.RecordBatchReader.from_batches(schema, []))
        self._run(f'CREATE TABLE "{table}" AS SELECT * FROM incoming')  # noqa: S608 - a name of ours
        for field in schema:
            if not field.nullable:
                self._run(f'ALTER TABLE "{table}" ALTER COLUMN "{field.name}" SET NOT NULL')
        source = _Source(reader)
        while source.fill():
            self._register("incoming", pa.RecordBatchReader.from_batches(schema, source.chunk()))
            try:
                self._run(f'INSERT INTO "{table}" SELECT * FROM incoming')  # noqa: S608 - a name of ours
            except duckdb.Error:
                if source.error is not None:
                    raise source.error from None
                raise
            self._run("CHECKPOINT snap")
        self._connection.unregister("incoming")

    def _register(self, name: str, reader: pa.RecordBatchReader) -> None:
        self._connection.unregister(name)
        self._connection.register(name, reader)

    def view(self, name: str) -> None:
        """Create a view from the text of the same name."""
        self._run(f'CREATE VIEW "{name}" AS {text(name)}')

    def freeze(self) -> None:
        """End loading: from here on nothing can be changed, and user SQL may come in."""
        if self._threads is None:
            self._run("RESET threads")
        else:
            self._run(f"SET threads = {int(self._threads)}")
        self._run("SET lock_configuration = true")
        self._frozen = True

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        try:
            cursor = self._connection.cursor()
        except duckdb.ConnectionException:
            raise SnapshotError(
                "this snapshot is closed", hint="take another: store.snapshot(), or open it again: open_snapshot()"
            ) from None
        cursor.execute("USE snap")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        return cursor

    def stream(
        self,
        name: str,
        values: Mapping[str, Any] | None = None,
        *,
        keys: Sequence[str] = (),
        order: Order = (),
        backwards: bool = False,
        allowed: Collection[str] = (),
    ) -> pa.RecordBatchReader:
        """Run a named text and hand out the answer batch by batch.

        Parameters
        ----------
        name
            The text in ``sql/``.
        values
            Its parameters; those it does not use are left out.
        keys, order, allowed
            The columns for its ``:keys:`` or its ``:order:``, and which ones it may take.
        backwards
            Turn the ``:order:`` round.
        """
        sql = text(name)
        if ":keys:" in sql:
            sql = with_columns(sql, keys, allowed=allowed)
        if ":order:" in sql:
            sql = with_order(sql, order, allowed=allowed, backwards=backwards)
        bound = {each: (values or {})[each] for each in sorted(parameters(sql))}
        cursor = self._cursor()
        reader = cursor.sql(sql, params=bound).to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(reader.schema, _drain(reader, cursor))

    def query(
        self,
        name: str,
        values: Mapping[str, Any] | None = None,
        *,
        keys: Sequence[str] = (),
        order: Order = (),
        backwards: bool = False,
        allowed: Collection[str] = (),
    ) -> pa.Table:
        """Run a named text and return the whole answer."""
        return self.stream(name, values, keys=keys, order=order, backwards=backwards, allowed=allowed).read_all()

    def ask(self, sql: str, values: Mapping[str, Any]) -> pa.Table:
        """Run one reading statement that a user wrote.

        Raises
        ------
        QueryError
            If it is not one statement, could change anything, reaches outside, or is wrong.
        """
        if not self._frozen:
            raise RuntimeError("freeze() comes before SQL from outside")
        if not isinstance(sql, str):
            raise QueryError(f"a query is text, not {type(sql).__name__}", hint=_FROZEN)
        cursor = self._cursor()
        try:
            statement = _one_reading_statement(cursor, sql)
            relation = cursor.sql(statement, params=dict(values))
            if relation is None:
                raise QueryError("that statement returns nothing", hint=_FROZEN)
            return relation.to_arrow_table()
        except duckdb.PermissionException as error:
            raise QueryError(_first(error), hint=_OUTSIDE) from error
        except duckdb.TransactionException as error:
            raise QueryError(_first(error), hint=_FROZEN) from error
        except duckdb.Error as error:
            raise QueryError(str(error), hint=_hint(error)) from error
        finally:
            cursor.close()

    def close(self) -> None:
        """Give back memory and the temporary directory; what is asked afterwards raises `SnapshotError`."""
        self._connection.close()
        self._forget()


class _Source:
    """A stream, chunk by chunk of about ``_CHUNK_ROWS`` rows, none of which is held; it remembers what failed.

    DuckDB would report only the text of an error that a batch raised.
    """

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._batches = iter(reader)
        self._next: pa.RecordBatch | None = None
        self.error: BaseException | None = None

    def fill(self) -> bool:
        """Tell whether another batch comes."""
        self._next = next(self._batches, None)
        return self._next is not None

    def chunk(self) -> Iterator[pa.RecordBatch]:
        rows = 0
        while self._next is not None:
            rows += self._next.num_rows
            yield self._next
            if rows >= _CHUNK_ROWS:
                return
            try:
                self._next = next(self._batches, None)
            except BaseException as error:
                self.error = error
                raise


def _drain(reader: pa.RecordBatchReader, cursor: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    finally:
        cursor.close()


def _one_reading_statement(cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        found = "no statement" if not statements else f"{len(statements)} statements"
        raise QueryError(f"{found} where one is expected", hint=_FROZEN)
    statement = statements[0]
    if statement.type == duckdb.StatementType.SELECT:
        _check_functions(cursor, statement.query)
        return statement
    if statement.type == duckdb.StatementType.MULTI:
        raise QueryError(
            "this PIVOT needs two passes, the first of which creates a type",
            hint="name the values: PIVOT rows ON store IN ('task', 'asset') USING sum(value_bytes)",
        )
    if statement.type == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains, a COMMIT included. The parser takes what stands behind the words
        # for one SELECT, or the whole is refused; so no text can be a SELECT here and something else to DuckDB.
        start = _EXPLAIN.match(sql)
        if start is None:
            raise QueryError(
                "an EXPLAIN starts with that word here, without comments or options",
                hint="EXPLAIN [ANALYZE] SELECT ...",
            )
        try:
            explained = cursor.extract_statements(sql[start.end() :])
        except duckdb.ParserException:
            explained = []
        if len(explained) == 1 and explained[0].type == duckdb.StatementType.SELECT:
            _check_functions(cursor, explained[0].query)
            return statement
        raise QueryError("only a SELECT can be explained here", hint="EXPLAIN [ANALYZE] SELECT ...")
    raise QueryError(f"{statement.type.name} is not a question", hint=_FROZEN)


def _check_functions(cursor: duckdb.DuckDBPyConnection, select: str) -> None:
    ((tree,),) = cursor.execute("SELECT json_serialize_sql(CAST($1 AS VARCHAR))", [select]).fetchall()
    try:
        parsed = json.loads(tree)
    except RecursionError:
        raise QueryError("that SELECT is nested too deeply", hint="write it with fewer levels") from None
    if parsed.get("error", True):
        raise QueryError(f"that SELECT cannot be checked: {parsed.get('error_message')}", hint="write it more plainly")
    for name in sorted(_functions(parsed)):
        if name in _REFUSED_FUNCTIONS:
            raise QueryError(f"{name}() does something, or runs another text", hint=_FROZEN)


def _functions(parsed: Any) -> Iterator[str]:
    """Iterate the names of the functions that a statement, parsed by DuckDB, calls."""
    left = [parsed]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            if isinstance(name := node.get("function_name"), str):
                yield name.lower()
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


def _hint(error: duckdb.Error) -> str:
    said = str(error).lower()
    if isinstance(error, duckdb.ParserException):
        return "it is DuckDB's SQL: https://duckdb.org/docs/sql"
    if isinstance(error, duckdb.OutOfMemoryException):
        return "ask for fewer columns or groups, or give the snapshot a higher memory_limit"
    if "parameter" in said:
        return "give each $name of the query a value, and only those: snap.sql(query, name=value)"
    return "DESCRIBE rows, DESCRIBE tasks and DESCRIBE assets list the columns"


def _first(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
