-- How long ago rows were written last, at $now: rows and bytes by age in whole days; -1: after $now.
SELECT
    CAST(greatest(floor(age_us(instant($now), updated_at) / 86400000000), -1) AS BIGINT) AS days,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(sum(value_bytes) AS BIGINT) AS value_bytes
FROM rows
GROUP BY days
ORDER BY days ASC NULLS LAST
