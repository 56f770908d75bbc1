"""Configuration: ``airflow.cfg``, ``AIRFLOW__…`` variables over it, keywords over both.

Sources: the seed document's "Configuration reference", and released Airflow for ``max_value_storage_bytes``,
``[workers] state_store_backend``, the spelling of booleans, interpolation (``%%``) and expansion (``$HOME``, ``~``).
"""

from storekit.config.database import metadata_database_url
from storekit.config.options import DEFAULT_BACKEND, StateStoreConfig
from storekit.config.resolving import resolve_backend_class
from storekit.config.sources import UnknownOptionWarning

__all__ = [
    "DEFAULT_BACKEND",
    "StateStoreConfig",
    "UnknownOptionWarning",
    "metadata_database_url",
    "resolve_backend_class",
]
