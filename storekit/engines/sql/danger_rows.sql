-- over: endangered
-- The rows that one danger threatens, in the order of preview_rows.
SELECT
    store, dag_id, run_id, task_id, map_index, region_id, asset_name, asset_uri,
    key, value_bytes, updated_at, expires_at, verdict, reason, margin_us AS margin, task_state, run_started_at
FROM endangered
WHERE CASE $danger
    WHEN 'unfinished-task' THEN unfinished_task
    WHEN 'orphaned-object' THEN orphaned_object
    WHEN 'inactive-asset' THEN inactive_asset
    WHEN 'db-clean' THEN db_clean
    WHEN 'expires-before-retry' THEN expires_before_retry
END
ORDER BY
    store DESC NULLS LAST, dag_id ASC NULLS LAST, run_id ASC NULLS LAST, task_id ASC NULLS LAST,
    map_index ASC NULLS LAST, region_id ASC NULLS LAST, asset_name ASC NULLS LAST, asset_uri ASC NULLS LAST,
    key ASC NULLS LAST
LIMIT $size OFFSET $skip
