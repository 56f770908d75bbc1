-- over: difference
SELECT
    change,
    expiry_changed,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(coalesce(sum(value_bytes), 0) AS BIGINT) AS value_bytes,
    CAST(coalesce(sum(older_value_bytes), 0) AS BIGINT) AS older_value_bytes
FROM difference
GROUP BY change, expiry_changed
ORDER BY change ASC NULLS LAST, expiry_changed ASC NULLS LAST
