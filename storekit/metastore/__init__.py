"""All that speaks SQLAlchemy: layouts, statements, engines, the metastore backend and its cleanup."""

from storekit.metastore.backend import MetastoreStateBackend
from storekit.metastore.layouts import AIRFLOW_3_3, AIRFLOW_3_4, STOREKIT, Layout

__all__ = ["AIRFLOW_3_3", "AIRFLOW_3_4", "STOREKIT", "Layout", "MetastoreStateBackend"]
