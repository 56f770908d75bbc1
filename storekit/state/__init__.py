"""The contract of a state store, under the names of the seed document (``airflow.sdk.state`` there).

A backend written against these names runs with nothing changed but its import.
"""

from storekit.state.contract import (
    NEVER_EXPIRE,
    AssetScope,
    AssetWriter,
    BaseStoreBackend,
    JsonValue,
    NeverExpire,
    StoreScope,
    TaskScope,
    WriterKind,
)
from storekit.state.keys import MAX_KEY_LENGTH, check_key
from storekit.state.references import REFERENCE_KEY
from storekit.state.released import ReleasedBackendAdapter, adapt_backend, is_released_backend

__all__ = [
    "MAX_KEY_LENGTH",
    "NEVER_EXPIRE",
    "REFERENCE_KEY",
    "AssetScope",
    "AssetWriter",
    "BaseStoreBackend",
    "JsonValue",
    "NeverExpire",
    "ReleasedBackendAdapter",
    "StoreScope",
    "TaskScope",
    "WriterKind",
    "adapt_backend",
    "check_key",
    "is_released_backend",
]
