-- Rows and bytes by store, of the whole snapshot.
SELECT
    store,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(coalesce(sum(value_bytes), 0) AS BIGINT) AS value_bytes,
    CAST(coalesce(min(value_bytes), 0) AS BIGINT) AS smallest
FROM rows
GROUP BY store
ORDER BY store ASC NULLS LAST
