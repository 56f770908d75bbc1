-- over: shown
-- What selected_rows says of rows, by their numbers, in no particular order: the caller knows it.
SELECT
    row_number,
    store, dag_id, run_id, task_id, map_index, region_id, asset_id, asset_name, asset_uri, active,
    key, value_bytes, updated_at, expires_at, never_expire, writer, task_state, is_reference,
    verdict, reason, margin, dangers
FROM shown
WHERE row_number IN (SELECT unnest($numbers))
