-- over: shown
-- The rows that a selection asks for. A parameter that is null asks for nothing.
-- $text is no pattern. Letters are compared one by one, in Unicode's simple lower case.
SELECT *
FROM shown
WHERE ($store IS NULL OR store = $store)
    AND ($dag_id IS NULL OR dag_id = $dag_id)
    AND ($run_id IS NULL OR run_id = $run_id)
    AND ($task_id IS NULL OR task_id = $task_id)
    AND ($key IS NULL OR key = $key)
    AND ($asset_name IS NULL OR asset_name = $asset_name)
    -- Not by the column writer: DuckDB 2.0 cannot plan its coalesce where no row has a writer.
    AND ($writer IS NULL
        OR (store = 'asset' AND last_updated_by_kind IS NOT DISTINCT FROM nullif($writer, 'not recorded')))
    AND ($verdict IS NULL OR verdict = $verdict)
    AND ($reason IS NULL OR reason = $reason)
    AND ($danger IS NULL OR CASE $danger
        WHEN 'unfinished-task' THEN unfinished_task
        WHEN 'orphaned-object' THEN orphaned_object
        WHEN 'inactive-asset' THEN inactive_asset
        WHEN 'expires-before-retry' THEN expires_before_retry
    END)
    AND ($text IS NULL
        OR contains(lower(key), lower($text))
        OR contains(lower(dag_id), lower($text))
        OR contains(lower(run_id), lower($text))
        OR contains(lower(task_id), lower($text))
        OR contains(lower(asset_name), lower($text))
        OR contains(lower(asset_uri), lower($text)))
