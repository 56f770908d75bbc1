-- The numbers of one task's rows under a key: one, or one for each run, instance and region that is not told.
SELECT rowid AS row_number
FROM rows
WHERE store = 'task' AND dag_id = $dag_id AND task_id = $task_id AND key = $key
    AND run_id = coalesce($run_id, run_id) AND map_index = coalesce($map_index, map_index)
ORDER BY run_id ASC NULLS LAST, map_index ASC NULLS LAST, region_id ASC NULLS LAST
LIMIT $size
