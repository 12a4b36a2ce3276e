//! The contract of every store: each of these tests runs against SQLite and against Postgres.

mod certificates;
mod complaints;
mod names;
mod proofs;
mod races;
mod sets;
mod tables;

macro_rules! contract {
    ($($file:ident: $($name:ident),+;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$file::$name(crate::fixture::StoreFixture::sqlite()).await;
                }
            )+)+
        }
        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$file::$name(crate::fixture::StoreFixture::postgres()).await;
                }
            )+)+
        }
    };
}

contract! {
    complaints:
        a_complaint_is_enforced_once_and_remembered,
        who_is_acknowledged_at_once_is_the_same_to_two_operators,
        edits_after_the_decision_change_what_is_enforced,
        what_nobody_has_had_is_kept_out_by_its_name,
        complaints_about_one_account_lift_their_own_suspension_alone,
        a_deleted_complaint_keeps_its_suspension_until_it_is_lifted,
        closed_sessions_are_counted_once_for_each_relay;
    names:
        a_name_belongs_to_the_account_that_had_it_first,
        the_newest_instance_has_a_new_generation,
        an_unused_name_is_free_after_lease_and_quarantine,
        a_released_name_is_closed_for_a_week_to_everyone_else,
        what_an_earlier_owner_does_changes_nothing,
        leases_are_extended_by_hundreds_and_the_lost_are_told,
        an_extension_never_shortens_a_lease,
        an_account_holds_no_more_names_than_its_limit,
        drawn_names_count_apart_and_can_be_had_again,
        a_drawn_name_becomes_a_chosen_one_while_there_is_room,
        idle_ports_and_idle_hosts_are_told_apart,
        ports_belong_to_a_region_and_host_names_to_the_provider;
    certificates:
        a_certificate_goes_to_those_whose_key_it_was_sealed_to,
        a_certificate_ends_its_order_and_its_challenges,
        without_its_fence_nothing_is_written,
        a_fence_is_one_s_until_it_ends_or_is_left,
        of_many_who_want_a_fence_exactly_one_has_it,
        challenges_have_a_version_and_an_end,
        accounts_orders_and_failures_are_kept,
        relays_are_woken_by_certificates_and_challenges;
    races:
        of_two_accounts_that_want_one_name_exactly_one_has_it,
        one_of_two_accounts_has_a_name_at_the_end_of_its_quarantine,
        instances_at_once_all_have_generations_of_their_own,
        names_at_once_do_not_exceed_the_limit,
        of_two_keys_that_use_one_token_exactly_one_may,
        overlapping_extensions_do_not_block_each_other,
        versions_grow_by_one_with_every_suspension;
    proofs:
        a_token_is_used_once_but_for_a_lost_reply,
        tokens_of_other_issuers_are_other_tokens,
        a_credential_stays_with_its_key,
        revoked_credentials_are_told_until_they_end;
    sets:
        suspensions_are_in_force_until_they_are_lifted_or_end,
        the_same_suspension_again_changes_nothing,
        a_change_wakes_who_waits,
        relays_are_seen_until_they_are_gone;
    tables:
        migrations_run_once_whoever_comes,
        a_store_without_tables_refuses,
        a_later_schema_is_left_alone,
        what_has_ended_is_pruned_and_nothing_else,
        text_comes_back_as_it_went_in,
        the_end_of_time_does_no_harm,
        a_call_goes_on_without_its_caller_and_on_any_runtime;
}
