-- Every row with its verdict at $now: the SQL form of storekit.retention.verdicts.judge, case by case.
-- A margin (microseconds to the expiry; negative: since) is null where there is no expiry.
SELECT
    judged.*,
    CASE WHEN judged.reason = 'expired' THEN 'delete' ELSE 'keep' END AS verdict
FROM (
    SELECT
        rows.*,
        rowid AS row_number,
        CASE
            WHEN store = 'asset' THEN 'asset-row'
            WHEN never_expire THEN 'never-expire'
            WHEN expires_at IS NULL AND never_expire IS NULL THEN 'never-expire-or-retention-0'
            WHEN expires_at IS NULL THEN 'no-expiry'
            WHEN expires_at < instant($now) THEN 'expired'
            ELSE 'not-yet-expired'
        END AS reason,
        age_us(expires_at, instant($now)) AS margin_us
    FROM rows
) AS judged
