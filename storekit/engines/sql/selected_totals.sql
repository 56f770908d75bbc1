-- over: selected
SELECT
    CAST(count(*) AS BIGINT) AS entries,
    CAST(coalesce(sum(value_bytes), 0) AS BIGINT) AS value_bytes
FROM selected
