-- over: verdicts
-- The rows that cleanup would delete at $now, which are task rows all, by natural key: the order of preview_rows.
SELECT dag_id, run_id, task_id, map_index, region_id, key, updated_at, expires_at, value_bytes
FROM verdicts
WHERE verdict = 'delete'
ORDER BY
    dag_id ASC NULLS LAST, run_id ASC NULLS LAST, task_id ASC NULLS LAST, map_index ASC NULLS LAST,
    region_id ASC NULLS LAST, key ASC NULLS LAST
LIMIT $size OFFSET $skip
