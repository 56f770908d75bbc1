-- Two snapshots, older and newer, key by key; only the keys that differ. GROUP BY takes two nulls for one key,
-- so that no comparison here needs to say so. An asset is known by name and URI: its id may be reused.
SELECT
    compared.*,
    CASE
        WHEN NOT in_older THEN 'appeared'
        WHEN NOT in_newer THEN 'disappeared'
        WHEN updated_at IS DISTINCT FROM older_updated_at OR value_bytes IS DISTINCT FROM older_value_bytes
            THEN 'rewritten'
        ELSE 'expiry'
    END AS change,
    in_older AND in_newer
        AND (expires_at IS DISTINCT FROM older_expires_at OR never_expire IS DISTINCT FROM older_never_expire)
        AS expiry_changed
FROM (
    SELECT
        store, dag_id, run_id, task_id, map_index, region_id, asset_name, asset_uri, key,
        max(CASE WHEN side = 'older' THEN 1 ELSE 0 END) = 1 AS in_older,
        max(CASE WHEN side = 'newer' THEN 1 ELSE 0 END) = 1 AS in_newer,
        CAST(max(CASE WHEN side = 'older' THEN value_bytes END) AS BIGINT) AS older_value_bytes,
        CAST(max(CASE WHEN side = 'newer' THEN value_bytes END) AS BIGINT) AS value_bytes,
        max(CASE WHEN side = 'older' THEN updated_at END) AS older_updated_at,
        max(CASE WHEN side = 'newer' THEN updated_at END) AS updated_at,
        max(CASE WHEN side = 'older' THEN expires_at END) AS older_expires_at,
        max(CASE WHEN side = 'newer' THEN expires_at END) AS expires_at,
        bool_or(CASE WHEN side = 'older' THEN never_expire END) AS older_never_expire,
        bool_or(CASE WHEN side = 'newer' THEN never_expire END) AS never_expire
    FROM (
        SELECT 'older' AS side, older.* FROM older
        UNION ALL
        SELECT 'newer' AS side, newer.* FROM newer
    ) AS sides
    GROUP BY store, dag_id, run_id, task_id, map_index, region_id, asset_name, asset_uri, key
) AS compared
WHERE in_older <> in_newer
    OR value_bytes IS DISTINCT FROM older_value_bytes
    OR updated_at IS DISTINCT FROM older_updated_at
    OR expires_at IS DISTINCT FROM older_expires_at
    OR never_expire IS DISTINCT FROM older_never_expire
