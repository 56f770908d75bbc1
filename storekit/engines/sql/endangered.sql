-- over: verdicts
-- Every row with what else endangers it at $now: storekit.frames.dangers.Danger says what each means.
-- $before: the cutoff of `airflow db clean`, or null. $airflow: whether Airflow's scheduler keeps house here.
SELECT
    verdicts.*,
    coalesce(
        verdict = 'delete' AND task_state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'), FALSE
    ) AS unfinished_task,
    verdict = 'delete' AND is_reference AS orphaned_object,
    coalesce(store = 'asset' AND NOT active AND CAST($airflow AS BOOLEAN), FALSE) AS inactive_asset,
    coalesce(run_started_at < instant($before) AND NOT run_is_kept, FALSE) AS db_clean,
    -- A day is the longest that Airflow waits between two tries: [core] max_task_retry_delay, 86,400 seconds.
    coalesce(
        reason = 'not-yet-expired' AND margin_us < 86400000000
            AND task_state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'), FALSE
    ) AS expires_before_retry
FROM verdicts
