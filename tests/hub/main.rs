//! The whole hub, as a process of its own, over real MQTT, Modbus and HTTP. Every module is a sentence.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod a_backup_is_taken_and_restored;
mod a_bad_packet_harms_only_its_sender;
mod a_case_closes_when_its_sensor_agrees;
mod a_device_registers_itself;
mod a_full_disk_refuses_and_heals;
mod a_gate_moves_only_when_it_is_safe;
mod a_gateway_speaks_for_its_devices;
mod a_hostile_codec_harms_only_its_device;
mod a_kill_loses_nothing_that_was_acknowledged;
mod a_newcomer_watches_the_town_live;
mod a_profile_changes_while_the_hub_runs;
mod a_serial_line_is_read_rightly;
mod a_service_finds_its_messages_after_a_restart;
mod a_sleeping_device_finds_its_command;
mod a_town_feeds_its_city;
mod an_alert_lives_until_the_sensor_agrees;
mod an_alert_reaches_people_and_their_systems;
mod an_engine_goes_away_and_comes_back;
mod other_brokers_carry_the_towns_devices;
mod peers_that_we_did_not_write_are_served;
mod published_codecs_run_as_they_are;
mod refusals_say_what_would_be_right;
mod the_door_follows_both_standards;
mod the_door_keeps_its_promises;
mod the_health_dashboard_shows_what_the_hub_says;
mod the_hub_says_what_is_wrong_with_itself;
