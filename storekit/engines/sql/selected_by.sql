-- over: selected
-- What was selected, by columns that the caller chose.
SELECT
    :keys:,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(sum(value_bytes) AS BIGINT) AS value_bytes,
    max(updated_at) AS newest_at
FROM selected
GROUP BY :keys:
ORDER BY value_bytes DESC NULLS LAST, :keys_order:
LIMIT $size
