-- over: selected
-- How large values are: rows and bytes by the number of digits of the size; 0 for empty ones.
SELECT
    CAST(CASE WHEN value_bytes = 0 THEN 0 ELSE length(CAST(value_bytes AS VARCHAR)) END AS BIGINT) AS digits,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(sum(value_bytes) AS BIGINT) AS value_bytes
FROM selected
GROUP BY digits
ORDER BY digits ASC NULLS LAST
