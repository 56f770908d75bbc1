-- over: endangered
-- Every row with what `Snapshot.select` shows of it besides: who wrote it, its margin, its dangers by name.
SELECT
    endangered.*,
    margin_us AS margin,
    CASE WHEN store = 'asset' THEN coalesce(last_updated_by_kind, 'not recorded') END AS writer,
    nullif(
        concat_ws(
            ', ',
            CASE WHEN unfinished_task THEN 'unfinished-task' END,
            CASE WHEN orphaned_object THEN 'orphaned-object' END,
            CASE WHEN inactive_asset THEN 'inactive-asset' END,
            CASE WHEN expires_before_retry THEN 'expires-before-retry' END
        ), ''
    ) AS dangers
FROM endangered
