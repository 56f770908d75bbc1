-- over: selected
-- A selection's rows, in an order that the caller chose.
SELECT
    store, dag_id, run_id, task_id, map_index, region_id, asset_id, asset_name, asset_uri, active,
    key, value_bytes, updated_at, expires_at, never_expire, writer, task_state, is_reference,
    verdict, reason, margin, dangers
FROM selected
ORDER BY :order:
LIMIT $size OFFSET $skip
