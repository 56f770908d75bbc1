-- over: difference
-- The keys that differ, of one kind of change or ('') of all.
SELECT
    change, expiry_changed,
    store, dag_id, run_id, task_id, map_index, region_id, asset_name, asset_uri, key,
    older_value_bytes, value_bytes, older_updated_at, updated_at, older_expires_at, expires_at
FROM difference
WHERE $change IN ('', change)
ORDER BY
    store DESC NULLS LAST, dag_id ASC NULLS LAST, run_id ASC NULLS LAST, task_id ASC NULLS LAST,
    map_index ASC NULLS LAST, region_id ASC NULLS LAST, asset_name ASC NULLS LAST, asset_uri ASC NULLS LAST,
    key ASC NULLS LAST
LIMIT $size OFFSET $skip
