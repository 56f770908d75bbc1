-- The task rows, by natural key.
-- over: tasks
SELECT *
FROM tasks
ORDER BY
    dag_id ASC NULLS LAST, run_id ASC NULLS LAST, task_id ASC NULLS LAST, map_index ASC NULLS LAST,
    region_id ASC NULLS LAST, key ASC NULLS LAST
