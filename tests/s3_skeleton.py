"""The example skeleton of the seed document, as its reader would take it.

Between the two marks it is the document's text, changed in one place: the import names storekit. Above them is
what the skeleton leaves to its reader (``json``, a client, a bucket; and postponed annotations, since it imports
``JsonValue`` for the type checker only). Below them are the "remaining abstract methods", as pass-throughs.
"""
# ruff: noqa: E402, F401, PIE790 - the document's own order and imports

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

s3_client: Any = None
BUCKET = "state"

# fmt: off
# --- the document's text ---
from storekit.state import BaseStoreBackend, TaskScope, AssetScope  # noqa: I001

if TYPE_CHECKING:
    from pydantic import JsonValue


class S3StateBackend(BaseStoreBackend):

    def _task_ref(self, ti_id: str, key: str) -> str:
        return f"airflow/task-store/{ti_id}/{key}"

    def _asset_ref(self, asset_ref: str, key: str) -> str:
        import hashlib

        safe = hashlib.sha256(asset_ref.encode()).hexdigest()[:16]
        return f"airflow/asset-store/{safe}/{key}"

    def serialize_task_store_to_ref(self, *, value: JsonValue, key: str, ti_id: str) -> str:
        s3_key = self._task_ref(ti_id, key)
        s3_client.put_object(Bucket=BUCKET, Key=s3_key, Body=json.dumps(value).encode())
        return s3_key

    def deserialize_task_store_from_ref(self, stored: str) -> JsonValue:
        s3_object = s3_client.get_object(Bucket=BUCKET, Key=stored)
        return json.loads(s3_object["Body"].read().decode())

    def serialize_asset_store_to_ref(self, *, value: JsonValue, key: str, asset_ref: str) -> str:
        s3_key = self._asset_ref(asset_ref, key)
        s3_client.put_object(Bucket=BUCKET, Key=s3_key, Body=json.dumps(value).encode())
        return s3_key

    def deserialize_asset_store_from_ref(self, stored: str) -> JsonValue:
        s3_object = s3_client.get_object(Bucket=BUCKET, Key=stored)
        return json.loads(s3_object["Body"].read().decode())

    # Implement the remaining abstract methods as pass-throughs or delegating to the
    # default MetastoreStateBackend for the DB side
    ...
    # --- the end of the document's text ---
    # fmt: on

    def get(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        return None

    def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        pass

    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        pass

    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        pass

    async def aget(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        return None

    async def aset(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        pass

    async def adelete(self, scope: Any, key: str, *, session: Any = None) -> None:
        pass

    async def aclear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        pass
