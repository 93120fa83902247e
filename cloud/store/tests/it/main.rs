//! Runs one suite on both stores.

mod cluster;
mod suite;

use suite::Setup;

macro_rules! suites {
    ($($module:ident: $($test:ident),+;)+) => {
        mod sqlite {
            $($(#[tokio::test]
            async fn $test() {
                super::suite::$module::$test(super::Setup::sqlite().await).await;
            })+)+
        }
        mod postgres {
            $($(#[tokio::test]
            async fn $test() {
                if let Some(setup) = super::Setup::postgres().await {
                    super::suite::$module::$test(setup).await;
                }
            })+)+
        }
    };
}

suites! {
    history:
        what_is_written_is_there_after_reopening,
        pages_meet_without_overlap_whatever_the_timestamps,
        pages_by_number_select_and_sort,
        what_is_measured_is_what_is_read,
        presence_is_written_once_per_change,
        forgotten_streams_are_the_oldest,
        two_processes_store_each_number_once,
        months_have_room;
    health:
        the_latest_report_of_a_device_replaces_the_one_before,
        reports_go_with_their_device_and_its_project;
    logs:
        logs_keep_the_newest_lines,
        logs_of_a_project_are_searched;
    projects:
        names_and_ids_are_taken_once,
        a_device_id_belongs_to_one_project,
        a_change_that_fails_leaves_nothing,
        properties_of_a_device_change_together_or_not_at_all,
        concurrent_changes_are_numbered_one_by_one,
        groups_tokens_and_pair_codes,
        branches_and_definitions,
        names_sort_by_their_bytes;
    device_lists:
        pages_of_devices_have_each_device_once,
        devices_are_counted_as_they_are,
        filters_get_what_they_need,
        members_and_firmware_of_groups_are_counted_and_paged;
    alerts:
        a_value_raises_once_and_clears_once,
        a_rule_of_a_group_watches_its_devices_only,
        effects_of_several_processes_raise_one_alert,
        mutes_are_silent_and_a_removed_rule_clears,
        alerts_are_bounded_and_leave_with_their_project,
        a_planned_absence_is_kept_and_found_at_its_end,
        test_mails_are_of_the_allowance_and_the_times_of_a_cloud_are_kept;
    alert_limits:
        old_and_fresh_messages_in_one_commit_raise_and_clear,
        messages_that_a_rule_was_not_applied_to_are_counted,
        devices_leave_room_for_alerts_about_the_cloud,
        the_last_message_is_known_however_much_the_agent_has_sent_since;
    deletion:
        a_project_is_deleted_while_everything_writes_to_it;
    jobs:
        ten_thousand_devices_move_in_slices,
        a_worker_that_lost_its_lease_changes_nothing,
        devices_fail_one_by_one_and_a_job_as_a_whole,
        jobs_are_bounded_fair_and_of_their_project,
        an_export_keeps_its_place_and_begins_again_elsewhere;
    audit:
        a_flood_of_one_change_drops_nothing_of_another,
        a_change_is_made_so_often_in_an_hour,
        what_ends_something_is_always_done;
    commands:
        a_command_goes_its_way,
        every_change_of_a_status_is_as_the_table_says,
        a_key_stands_for_one_request,
        what_waits_for_a_device_has_a_bound_that_holds_for_requests_at_once,
        what_waits_is_read_in_pages_of_bytes,
        no_deadline_is_further_away_than_one_may_be,
        lists_page_without_overlap;
    upkeep:
        data_of_a_deleted_device_goes_in_steps_and_late_records_with_it,
        a_deleted_project_leaves_nothing,
        messages_older_than_their_project_keeps_go,
        a_damaged_row_is_named_and_its_neighbours_work,
        a_newer_schema_is_not_touched,
        a_populated_first_schema_is_brought_up_to_date,
        a_status_that_was_presumed_by_its_text_stays_presumed;
    series:
        each_value_counts_once_in_its_minute_and_its_hour,
        percentiles_of_many_commits_are_within_one_percent,
        devices_and_groups_have_lines_of_their_own,
        a_device_has_the_paths_that_it_has_sent,
        missing_messages_are_counted_beside_the_values,
        what_exceeds_the_bounds_of_series_is_counted_and_stored,
        rollups_go_with_their_messages,
        older_histories_are_filled_once_in_steps,
        a_damaged_distribution_keeps_no_message_away;
    leases:
        a_lease_goes_its_way,
        orders_have_rising_counters_and_are_stored_while_the_lease_is_open,
        leases_are_bounded_and_a_device_is_in_one,
        leases_end_with_their_time_and_vanish_with_their_devices;
    approval:
        a_board_without_a_code_waits_and_fetches_its_secret,
        a_waiting_key_lets_boards_in_by_approval_only;
    enrolment:
        a_pair_code_is_used_once_and_by_one_board,
        a_replaced_board_is_locked_out,
        devices_outlive_their_enrolment_key,
        an_id_is_kept_by_an_earlier_key_and_by_nothing_else,
        a_former_secret_ends_after_the_hand_over,
        devices_of_an_ephemeral_key_are_found_when_abandoned,
        a_key_of_the_cloud_is_made_once;
    browser_logins:
        a_login_is_found_by_the_hash_of_its_secret_at_every_cloud,
        one_token_or_person_ends_its_own_oldest_login,
        logins_go_with_what_they_belong_to;
    people:
        accounts_follow_the_groups_of_their_provider,
        machine_logins_are_bounded_and_go_with_their_person,
        an_account_of_a_provider_gets_no_password;
    backup:
        a_backup_holds_everything_and_fits_into_either_database,
        a_backup_is_of_one_moment,
        what_is_no_backup_is_refused;
    limits:
        usage_is_counted_and_uncounted,
        messages_over_a_limit_are_refused_by_name,
        the_oldest_messages_go_when_bytes_are_over,
        a_replaced_board_gets_a_code_of_its_own;
    bounds:
        a_used_up_quota_holds_for_everything_that_a_device_causes,
        gaps_over_a_quota_lengthen_one_entry,
        deletions_that_settle_hold_up_no_other,
        an_erasure_outlives_a_step_of_the_clock,
        every_project_has_its_turn_when_old_messages_go;
    rollouts:
        a_rollout_goes_its_way,
        an_operators_command_does_what_the_rule_says,
        devices_are_counted_by_the_root_that_they_trust,
        facts_and_counters_are_the_devices_own,
        devices_of_a_rollout_are_paged_and_counted;
    steady:
        a_wall_clock_that_is_set_halts_no_rollout_and_keeps_none_from_ending,
        the_newest_rollout_is_the_one_that_was_started_last,
        the_steady_clock_only_goes_forward,
        a_rollout_outlives_its_group_and_counts_whom_it_told,
        failures_of_a_trial_are_counted_and_others_are_not,
        old_rollouts_are_forgotten_and_needed_releases_are_known;
    code:
        code_is_counted_and_refused_over_its_limit,
        files_of_a_branch_are_added_renamed_and_removed,
        a_branch_carries_its_manifest_through_revisions_and_copies;
    drafts:
        a_draft_is_its_author_s_and_goes_with_its_branch,
        drafts_have_bounds,
        an_edit_of_an_older_text_is_refused;
    model:
        histories_are_what_a_model_in_memory_says;
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    if let Some(setup) = Setup::postgres().await {
        suite::schema::both_databases_have_the_same_tables_and_columns(setup).await;
    }
}
