-- over: endangered
-- Rows and bytes by danger, in one row: a row may be in several, and none is looked at twice.
SELECT
    CAST(sum(CASE WHEN unfinished_task THEN 1 ELSE 0 END) AS BIGINT) AS unfinished_task_rows,
    CAST(sum(CASE WHEN unfinished_task THEN value_bytes ELSE 0 END) AS BIGINT) AS unfinished_task_bytes,
    CAST(sum(CASE WHEN orphaned_object THEN 1 ELSE 0 END) AS BIGINT) AS orphaned_object_rows,
    CAST(sum(CASE WHEN orphaned_object THEN value_bytes ELSE 0 END) AS BIGINT) AS orphaned_object_bytes,
    CAST(sum(CASE WHEN inactive_asset THEN 1 ELSE 0 END) AS BIGINT) AS inactive_asset_rows,
    CAST(sum(CASE WHEN inactive_asset THEN value_bytes ELSE 0 END) AS BIGINT) AS inactive_asset_bytes,
    CAST(sum(CASE WHEN db_clean THEN 1 ELSE 0 END) AS BIGINT) AS db_clean_rows,
    CAST(sum(CASE WHEN db_clean THEN value_bytes ELSE 0 END) AS BIGINT) AS db_clean_bytes,
    CAST(sum(CASE WHEN expires_before_retry THEN 1 ELSE 0 END) AS BIGINT) AS expires_before_retry_rows,
    CAST(sum(CASE WHEN expires_before_retry THEN value_bytes ELSE 0 END) AS BIGINT) AS expires_before_retry_bytes
FROM endangered
