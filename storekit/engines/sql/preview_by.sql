-- over: verdicts
-- What cleanup would do at $now, by columns that the caller chose.
SELECT
    :keys:,
    CAST(sum(CASE WHEN verdict = 'delete' THEN 1 ELSE 0 END) AS BIGINT) AS deleted,
    CAST(sum(CASE WHEN verdict = 'delete' THEN value_bytes ELSE 0 END) AS BIGINT) AS deleted_bytes,
    CAST(sum(CASE WHEN verdict = 'keep' THEN 1 ELSE 0 END) AS BIGINT) AS kept,
    CAST(sum(CASE WHEN verdict = 'keep' THEN value_bytes ELSE 0 END) AS BIGINT) AS kept_bytes,
    min(CASE WHEN reason = 'not-yet-expired' THEN expires_at END) AS next_expiry
FROM verdicts
GROUP BY :keys:
ORDER BY deleted_bytes DESC NULLS LAST, :keys_order:
