-- The asset rows of a snapshot.
SELECT
    asset_id, asset_name, asset_uri, active,
    key, value_bytes, updated_at,
    last_updated_by_kind, last_updated_by_dag_id, last_updated_by_run_id,
    last_updated_by_task_id, last_updated_by_map_index
FROM rows
WHERE store = 'asset'
