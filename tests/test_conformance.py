"""Our own backend passes the public kit, on every database and in every layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from backdoor import read_rows
from parts import Family, Sandboxes
from profiles import ON_CI
from stores import TestedStore, asset_rules_of, open_store, text_rules_of

from storekit.metastore import MetastoreStateBackend
from storekit.state import NEVER_EXPIRE, AssetScope, TaskScope
from storekit.testing import BackendConformance


class MetastoreConformance(BackendConformance):
    """The kit over one database and layout."""

    family: ClassVar[Family]
    layout_name: ClassVar[str]
    needs_parents = True
    keeps_expiry = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        on_server = cls.family in ("postgres", "mysql")
        if "max_examples" not in vars(cls):
            cls.max_examples = (20 if ON_CI else 4) if on_server else (40 if ON_CI else 8)
        cls.key_rules = cls.id_rules = text_rules_of(cls.family, cls.layout_name)
        cls.asset_rules = asset_rules_of(cls.family, cls.layout_name)
        cls.keeps_never_expire = cls.layout_name == "storekit"

    @pytest.fixture
    def backend(self, sandboxes: Sandboxes) -> Iterator[MetastoreStateBackend]:
        self.store: TestedStore = open_store(sandboxes, self.family, self.layout_name)
        yield self.store.backend
        self.store.backend.close()

    def prepare_task(self, backend: MetastoreStateBackend, scope: TaskScope) -> None:
        self.store.add_dag_run(scope.dag_id, scope.run_id)

    def prepare_asset(self, backend: MetastoreStateBackend, name: str, uri: str) -> AssetScope:
        return AssetScope(asset_id=self.store.add_asset(name, uri))

    def stored_expiry(self, backend: MetastoreStateBackend, scope: TaskScope, key: str) -> Any:
        owner = (scope.dag_id, scope.run_id, scope.task_id, scope.map_index)
        rows = [row for row in read_rows(self.store.engine, self.layout_name) if row.owner == owner and row.key == key]
        assert len(rows) == 1
        if rows[0].never_expire:
            assert rows[0].expires_at is None
            return NEVER_EXPIRE
        return rows[0].expires_at


class TestInMemory(MetastoreConformance):
    """The cheapest store gets the most examples."""

    family = "memory"
    layout_name = "storekit"
    max_examples = 100 if ON_CI else 40


class TestSqliteStorekit(MetastoreConformance):
    family = "sqlite"
    layout_name = "storekit"


class TestSqliteAirflow33(MetastoreConformance):
    family = "sqlite"
    layout_name = "airflow-3.3"


class TestSqliteAirflow34(MetastoreConformance):
    family = "sqlite"
    layout_name = "airflow-3.4"


class TestPostgresStorekit(MetastoreConformance):
    family = "postgres"
    layout_name = "storekit"


class TestPostgresAirflow33(MetastoreConformance):
    family = "postgres"
    layout_name = "airflow-3.3"


class TestPostgresAirflow34(MetastoreConformance):
    family = "postgres"
    layout_name = "airflow-3.4"


class TestMysqlStorekit(MetastoreConformance):
    family = "mysql"
    layout_name = "storekit"


class TestMysqlAirflow33(MetastoreConformance):
    family = "mysql"
    layout_name = "airflow-3.3"


class TestMysqlAirflow34(MetastoreConformance):
    family = "mysql"
    layout_name = "airflow-3.4"
