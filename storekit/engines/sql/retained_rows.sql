-- Rows by their numbers, by natural key.
SELECT
    rowid AS row_number, store, dag_id, run_id, task_id, map_index, region_id, key,
    value_bytes, updated_at, expires_at, task_state, is_reference
FROM rows
WHERE rowid IN (SELECT unnest($numbers))
ORDER BY
    store DESC NULLS LAST, dag_id ASC NULLS LAST, run_id ASC NULLS LAST, task_id ASC NULLS LAST,
    map_index ASC NULLS LAST, region_id ASC NULLS LAST, key ASC NULLS LAST
LIMIT $size OFFSET $skip
