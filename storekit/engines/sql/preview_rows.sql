-- over: verdicts
-- The rows with their verdicts at $now, of one verdict or ('') of both, in one total order: task rows first,
-- then by natural key.
SELECT
    store, dag_id, run_id, task_id, map_index, region_id, asset_name, asset_uri,
    key, value_bytes, updated_at, expires_at, verdict, reason, margin_us AS margin
FROM verdicts
WHERE $verdict IN ('', verdict)
ORDER BY
    store DESC NULLS LAST, dag_id ASC NULLS LAST, run_id ASC NULLS LAST, task_id ASC NULLS LAST,
    map_index ASC NULLS LAST, region_id ASC NULLS LAST, asset_name ASC NULLS LAST, asset_uri ASC NULLS LAST,
    key ASC NULLS LAST
LIMIT $size OFFSET $skip
