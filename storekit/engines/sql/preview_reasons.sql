-- over: verdicts
-- What cleanup would do at $now, by reason.
SELECT
    verdict,
    reason,
    CAST(count(*) AS BIGINT) AS entries,
    CAST(coalesce(sum(value_bytes), 0) AS BIGINT) AS value_bytes,
    min(margin_us) AS soonest_margin,
    max(margin_us) AS latest_margin
FROM verdicts
GROUP BY verdict, reason
ORDER BY verdict ASC NULLS LAST, entries DESC NULLS LAST, reason ASC NULLS LAST
