"""A store of every kind: database by layout, opened by storekit, its parents made as their owner makes them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from parts import Family, Sandbox, Sandboxes

from storekit.clock import Clock, SystemClock
from storekit.config import StateStoreConfig
from storekit.metastore import MetastoreStateBackend
from storekit.metastore.layouts import Layout, layout_named
from storekit.state import AssetScope
from storekit.testing import ANY_TEXT, TextRules

__all__ = ["TestedStore", "asset_rules_of", "open_store", "text_rules_of"]

_PLAIN_CONFIG = StateStoreConfig()

# Airflow's ids on MySQL: utf8mb3_bin holds three-byte characters and pads; its assets' names are latin1_general_cs.
_PADDED_BMP = TextRules(max_codepoint=0xFFFF, tells_trailing_spaces=False)
_ASCII = TextRules(max_codepoint=0x7E, control_characters=False, max_characters=250)


def text_rules_of(family: Family, layout_name: str) -> TextRules:
    """Return which keys and ids a database holds and tells apart."""
    return _PADDED_BMP if family == "mysql" and layout_name != "storekit" else ANY_TEXT


def asset_rules_of(family: Family, layout_name: str) -> TextRules:
    """Return which assets' names a database holds."""
    return _ASCII if family == "mysql" and layout_name != "storekit" else TextRules(max_characters=250)


class TestedStore:
    """A backend and the hands that make its parents.

    On Airflow's tables the parents are Airflow's to make, so they are inserted here directly.
    """

    __test__ = False

    def __init__(
        self, backend: MetastoreStateBackend, family: Family, layout_name: str, sandbox: Sandbox | None
    ) -> None:
        self.backend = backend
        self.family = family
        self.layout: Layout = layout_named(layout_name)
        self.engine: sa.Engine = sandbox.engine if sandbox is not None else backend.database.engine

    def add_dag_run(self, dag_id: str, run_id: str) -> None:
        if not self.layout.is_airflow:
            self.backend.add_dag_run(dag_id, run_id)
            return
        table = self.layout.dag_run
        this = (table.c.dag_id == dag_id) & (table.c.run_id == run_id)
        with self.engine.begin() as connection:
            if connection.scalar(sa.select(table.c.id).where(this)) is None:
                connection.execute(table.insert().values(dag_id=dag_id, run_id=run_id, state="running"))

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        table = self.layout.dag_run
        self._execute(table.delete().where(table.c.dag_id == dag_id, table.c.run_id == run_id))

    def add_asset(self, name: str, uri: str) -> int:
        if not self.layout.is_airflow:
            return self.backend.add_asset(name=name, uri=uri)
        asset, active = self.layout.asset, self.layout.asset_active
        with self.engine.begin() as connection:
            found = connection.scalar(sa.select(asset.c.id).where(asset.c.name == name, asset.c.uri == uri))
            if found is None:
                made = connection.execute(asset.insert().values(name=name, uri=uri)).inserted_primary_key
                found = made[0] if made is not None else None
            this = (active.c.name == name) & (active.c.uri == uri)
            if connection.scalar(sa.select(active.c.name).where(this)) is None:
                connection.execute(active.insert().values(name=name, uri=uri))
        return int(found or 0)

    def deactivate_asset(self, name: str, uri: str) -> None:
        if not self.layout.is_airflow:
            self.backend.deactivate_asset(AssetScope(name=name, uri=uri))
            return
        table = self.layout.asset_active
        self._execute(table.delete().where(table.c.name == name, table.c.uri == uri))

    def delete_asset(self, name: str, uri: str) -> None:
        if not self.layout.is_airflow:
            self.backend.delete_asset(AssetScope(asset_id=self._asset_id(name, uri)))
            return
        table = self.layout.asset
        self._execute(table.delete().where(table.c.name == name, table.c.uri == uri))

    def _asset_id(self, name: str, uri: str) -> int:
        table = self.layout.asset
        with self.engine.connect() as connection:
            return int(connection.scalar(sa.select(table.c.id).where(table.c.name == name, table.c.uri == uri)) or 0)

    def _execute(self, statement: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement)


def open_store(
    sandboxes: Sandboxes,
    family: Family,
    layout_name: str,
    *,
    clock: Clock | None = None,
    config: StateStoreConfig = _PLAIN_CONFIG,
    backend_class: type[MetastoreStateBackend] = MetastoreStateBackend,
) -> TestedStore:
    """Return an empty store; close its ``backend`` at the end."""
    clock = clock if clock is not None else SystemClock()
    if family == "memory":
        backend = backend_class("sqlite://", clock=clock, config=config)
        layout = layout_named(layout_name)
        backend.database.run(layout.metadata.create_all)
        return TestedStore(backend, family, layout_name, None)
    sandbox = sandboxes.get(family)
    sandbox.hold(layout_name)
    backend = backend_class(sandbox.url, clock=clock, config=config)
    return TestedStore(backend, family, layout_name, sandbox)
