-- The task rows of a snapshot.
SELECT
    dag_id, run_id, task_id, map_index, region_id,
    key, value_bytes, updated_at, expires_at, never_expire
FROM rows
WHERE store = 'task'
