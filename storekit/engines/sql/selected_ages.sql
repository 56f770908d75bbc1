-- over: selected
-- How long before $taken_at rows were written last: rows and bytes by age in whole days; -1: after it.
SELECT
    CAST(CASE WHEN updated_at > instant($taken_at) THEN -1
        ELSE age_us(instant($taken_at), updated_at) // 86400000000 END AS BIGINT) AS days,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(sum(value_bytes) AS BIGINT) AS value_bytes
FROM selected
GROUP BY days
ORDER BY days ASC NULLS LAST
