//! Every page of the dashboard, with the browser test that does its main act and the place of its states. Pages are read from the
//! source of the router, so that a new one without a row fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::table::SCREENS;
use crate::routes::routes;

/// States of a page that other parts of the table look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// A filter that nothing matches.
    Nothing,
    /// A part that the store does not answer for.
    Part,
    /// A login that may only read.
    NoRight,
}

use State::{NoRight, Nothing, Part};

/// Place in which the states of a page are tried.
enum States {
    /// Rows of `SCREENS` with this path, but for states that the page does not have, each with the reason.
    Screen(&'static str, &'static [(State, &'static str)]),
    /// Another test, and what the page shows there.
    Test(&'static str, &'static str),
}

use States::{Screen, Test};

/// Route of a page below `/p/{project}`, or a whole one, with the test of its main act.
struct Page(&'static str, &'static str, States);

const NO_FILTER: (State, &str) = (Nothing, "it has no filter");
const NO_ACT: (State, &str) = (NoRight, "it changes nothing");
const QUESTION: &str = "a question: its answer is refused to readers, and the page with them";

const ACTS: &str = "browser_acts::screens_do_their_main_acts";
const SCREENS_TEST: &str = "browser_screens::every_screen_has_its_states";
const TOUR: &str = "journey::the_tour_of_the_readme_works_in_the_browser_and_from_the_command_line";
const STATES: &str = "browser_build::code_is_edited_flashed_and_seen_to_run";
const BACK: &str = "browser_back::what_was_done_is_taken_back_in_the_browser";
const PEOPLE: &str = "pages/people::an_owner_invites_a_person_who_joins_and_may_only_look";

const PAGES: &[Page] = &[
    Page("/", TOUR, Screen("/", &[NO_FILTER, NO_ACT])),
    Page("/devices", TOUR, Screen("/devices", &[])),
    Page(
        "/devices/add",
        SCREENS_TEST,
        Screen(
            "/devices/add",
            &[
                NO_FILTER,
                (Part, "boards that wait are in the memory of the cloud"),
                (
                    NoRight,
                    "the form is disabled, with the reason; `a_reader_sees_no_act` looks at it",
                ),
            ],
        ),
    ),
    Page(
        "/devices/waiting",
        "approval::a_person_compares_the_code_and_approves_the_board_in_the_browser",
        Screen(
            "/devices/waiting",
            &[
                NO_FILTER,
                (Part, "boards that wait are in the memory of the cloud"),
                (
                    NoRight,
                    "with no board that waits there is no act; `states` of cloud/web tries one",
                ),
            ],
        ),
    ),
    Page(
        "/enroll",
        "approval::a_person_compares_the_code_and_approves_the_board_in_the_browser",
        Test(
            "approval::a_person_compares_the_code_and_approves_the_board_in_the_browser",
            "a wrong code, and a board to compare",
        ),
    ),
    Page(
        "/devices/{device}/arrival",
        "arrival::an_arrival_is_seen_as_it_happens_and_a_lost_device_too",
        Test(
            "arrival::the_reason_of_a_wrong_secret_appears_by_itself",
            "waiting, refused, and arrived",
        ),
    ),
    Page(
        "/devices/{device}",
        "browser::a_person_logs_in_sends_a_command_and_sees_the_answer",
        Screen("/devices/<device>", &[NO_ACT]),
    ),
    Page(
        "/devices/{device}/commands",
        SCREENS_TEST,
        Screen(
            "/devices/<device>/commands",
            &[
                NO_FILTER,
                (
                    NoRight,
                    "without a definition there is no form; the suite `screens` of cloud/web tries one",
                ),
            ],
        ),
    ),
    Page(
        "/devices/{device}/board",
        "board::a_person_sees_the_board_of_the_demo_and_moves_its_parts",
        Test(
            "board::a_killed_agent_is_seen_again_and_a_policy_hides_the_board",
            "live, away, and hidden by the device's owner; it reads one thing",
        ),
    ),
    Page(
        "/devices/{device}/timeline",
        ACTS,
        Screen("/devices/<device>/timeline", &[NO_FILTER, NO_ACT]),
    ),
    Page(
        "/devices/{device}/logs",
        ACTS,
        Screen("/devices/<device>/logs", &[NO_FILTER, NO_ACT]),
    ),
    Page(
        "/devices/{device}/history",
        ACTS,
        Screen("/devices/<device>/history", &[NO_ACT]),
    ),
    Page(
        "/devices/{device}/settings",
        SCREENS_TEST,
        Screen(
            "/devices/<device>/settings",
            &[NO_FILTER, (Part, "the device itself is all that it reads")],
        ),
    ),
    Page(
        "/devices/{device}/plots",
        TOUR,
        Screen("/devices/<device>/plots", &[NO_FILTER, NO_ACT]),
    ),
    Page("/groups", SCREENS_TEST, Screen("/groups", &[NO_FILTER])),
    Page(
        "/groups/{group}",
        "browser_group::a_group_of_many_devices_follows_its_rollout_without_loading_again",
        Screen("/groups/<group>", &[NO_FILTER]),
    ),
    Page(
        "/groups/{group}/rollouts/{rollout}",
        "browser_build::a_bad_release_goes_back_and_the_page_says_why",
        Screen("/groups/<shed>/rollouts/<rollout>", &[NO_FILTER]),
    ),
    Page(
        "/groups/{group}/rollouts/{rollout}/devices",
        "browser_group::a_group_of_many_devices_follows_its_rollout_without_loading_again",
        Screen(
            "/groups/<shed>/rollouts/<rollout>/devices?place=committed",
            &[
                NO_FILTER,
                NO_ACT,
                (Part, "the rollout and its devices are all that it reads"),
            ],
        ),
    ),
    Page("/groups/{group}/flash", STATES, Test(SCREENS_TEST, QUESTION)),
    Page("/groups/{group}/pause", BACK, Test(SCREENS_TEST, QUESTION)),
    Page("/groups/{group}/resume", BACK, Test(SCREENS_TEST, QUESTION)),
    Page("/groups/{group}/cancel", BACK, Test(SCREENS_TEST, QUESTION)),
    Page("/groups/{group}/rollback", BACK, Test(SCREENS_TEST, QUESTION)),
    Page("/groups/{group}/delete", BACK, Test(SCREENS_TEST, QUESTION)),
    Page(
        "/jobs",
        "jobs::a_job_goes_on_after_its_tab_is_closed",
        Screen("/jobs", &[NO_ACT]),
    ),
    Page(
        "/jobs/{job}",
        "jobs::a_job_goes_on_after_its_tab_is_closed",
        Screen(
            "/jobs/<job>",
            &[
                NO_FILTER,
                (
                    NoRight,
                    "a job that has ended has no act; `states` of cloud/web refuses the cancel",
                ),
            ],
        ),
    ),
    Page("/code/{branch}/{file}", STATES, Screen("/code", &[NO_FILTER])),
    Page("/code/{branch}/{file}/delete", BACK, Test(SCREENS_TEST, QUESTION)),
    Page(
        "/pushed/{branch}/{revision}",
        BACK,
        Test(
            BACK,
            "a revision that was not pushed; readers get a text, as `build_pages` of cloud/web shows",
        ),
    ),
    Page("/releases", ACTS, Screen("/releases", &[NO_FILTER])),
    Page(
        "/releases/keys",
        SCREENS_TEST,
        Screen("/releases/keys", &[NO_FILTER]),
    ),
    Page("/definitions", SCREENS_TEST, Screen("/definitions", &[NO_FILTER])),
    Page(
        "/definitions/new",
        SCREENS_TEST,
        Screen(
            "/definitions/new",
            &[NO_FILTER, (Part, "an empty form reads nothing")],
        ),
    ),
    Page(
        "/definitions/{type}",
        SCREENS_TEST,
        Test(SCREENS_TEST, "the definition, which is all that it reads"),
    ),
    Page(
        "/stream",
        "browser_cut::live_pages_say_that_the_network_is_cut_and_continue_when_it_is_back",
        Screen(
            "/stream",
            &[(Part, "it shows what comes, and reads nothing"), NO_ACT],
        ),
    ),
    Page(
        "/plots",
        TOUR,
        Screen(
            "/plots",
            &[
                NO_FILTER,
                (
                    NoRight,
                    "without numbers there is nothing to save; `states` of cloud/web tries the form",
                ),
            ],
        ),
    ),
    Page("/logs", ACTS, Screen("/logs", &[NO_ACT])),
    Page("/alerts", TOUR, Screen("/alerts", &[])),
    Page("/crashes", ACTS, Screen("/crashes", &[NO_FILTER, NO_ACT])),
    Page("/webhooks", SCREENS_TEST, Screen("/webhooks", &[NO_FILTER])),
    Page(
        "/webhooks/{webhook}",
        ACTS,
        Screen("/webhooks/<hook>", &[NO_FILTER]),
    ),
    Page("/tokens", SCREENS_TEST, Screen("/tokens", &[NO_FILTER])),
    Page(
        "/audit",
        SCREENS_TEST,
        Screen(
            "/audit",
            &[(NoRight, "readers do not see it; `a_reader_sees_no_act` says so")],
        ),
    ),
    Page(
        "/keys",
        "browser_live::pages_resume_after_a_restart_and_belong_to_their_tenant",
        Screen(
            "/keys",
            &[NO_FILTER, NO_ACT, (Part, "a text, which reads nothing")],
        ),
    ),
    Page(
        "~/login",
        "browser::a_person_logs_in_sends_a_command_and_sees_the_answer",
        Test(
            "browser::a_person_logs_in_sends_a_command_and_sees_the_answer",
            "wrong passwords and tokens",
        ),
    ),
    Page(
        "~/login/machine",
        "login::a_machine_is_signed_in_on_a_page_and_signed_out",
        Test(
            "login::a_login_that_is_rejected_or_forgotten_stores_nothing",
            "rejected and forgotten codes",
        ),
    ),
    Page("~/join", PEOPLE, Test(PEOPLE, "a link, and one that was used")),
    Page(
        "~/account",
        PEOPLE,
        Test(
            "login::a_machine_is_signed_in_on_a_page_and_signed_out",
            "machines and their ends",
        ),
    ),
    Page(
        "~/members/{organization}",
        PEOPLE,
        Test(PEOPLE, "owners and viewers"),
    ),
    Page(
        "~/members/{organization}/audit",
        PEOPLE,
        Test(PEOPLE, "entries, and none that matches"),
    ),
    Page(
        "~/enroll",
        "approval::a_person_compares_the_code_and_approves_the_board_in_the_browser",
        Test(
            "approval::a_person_compares_the_code_and_approves_the_board_in_the_browser",
            "a code to compare",
        ),
    ),
];

/// Addresses that lead to a page, or give a file, a part or a stream of one.
const NO_PAGES: [&str; 16] = [
    "~/",
    "~/login/provider",
    "~/login/provider/callback",
    "~/members/{organization}/csv",
    "~/members/{organization}/audit/csv",
    "~/assets/{version}/{name}",
    "~/favicon.ico",
    "/jobs/{job}/file",
    "/plots/data",
    "/plots/csv",
    "/suggestions",
    "/audit.jsonl",
    "/csv/{table}",
    "/code",
    "/code/{branch}",
    "/events",
];

/// Returns the name of a route in the table.
fn name(path: &str) -> String {
    match path.strip_prefix("/p/{project}") {
        Some(below) => below.to_owned(),
        None => format!("~{path}"),
    }
}

/// Returns true if the suite has the test, named by its file and function.
fn is_test(named: &str) -> bool {
    let Some((file, function)) = named.split_once("::") else {
        return false;
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/{file}.rs"));
    let source = std::fs::read_to_string(path).unwrap_or_default();
    source.contains(&format!("#[test]\nfn {function}()"))
}

/// Returns the states that rows of a screen have.
fn states_of(path: &str) -> Option<BTreeSet<State>> {
    let rows: Vec<_> = SCREENS.iter().filter(|screen| screen.path == path).collect();
    let any = |has: fn(&super::table::Screen) -> bool| rows.iter().any(|row| has(row));
    let found = [
        (Nothing, any(|row| !row.nothing.0.is_empty())),
        (Part, any(|row| !row.table.is_empty())),
        (NoRight, any(|row| !row.act.is_empty())),
    ];
    let found = found.into_iter().filter_map(|(state, has)| has.then_some(state));
    (!rows.is_empty()).then(|| found.collect())
}

#[test]
fn every_page_has_a_browser_test_and_its_states() {
    let mut known: BTreeMap<&str, &Page> = BTreeMap::new();
    let mut defects = Vec::new();
    for page in PAGES {
        if known.insert(page.0, page).is_some() {
            defects.push(format!("{} is there twice", page.0));
        }
    }
    let mut screens: BTreeSet<&str> = SCREENS.iter().map(|screen| screen.path).collect();
    for route in routes().into_iter().filter(|route| route.method == "GET") {
        let name = name(&route.path);
        let page = known.remove(name.as_str());
        match (page, NO_PAGES.contains(&name.as_str())) {
            (Some(Page(_, act, states)), false) => {
                if !is_test(act) {
                    defects.push(format!("{name}: there is no test {act}"));
                }
                match states {
                    Test(test, shows) if is_test(test) => {
                        if shows.len() < 10 {
                            defects.push(format!("{name}: say what {test} shows of it"));
                        }
                    }
                    Test(test, _) => defects.push(format!("{name}: there is no test {test}")),
                    Screen(path, missing) => {
                        screens.remove(path);
                        let missing: BTreeSet<State> = missing.iter().map(|(state, _)| *state).collect();
                        let all = BTreeSet::from([Nothing, Part, NoRight]);
                        match states_of(path) {
                            None => defects.push(format!("{name}: no row of SCREENS has the path {path}")),
                            Some(has) if has.is_disjoint(&missing) && &has | &missing == all => {}
                            Some(has) => defects.push(format!(
                                "{name}: has {has:?}, and {missing:?} have a reason to be missing"
                            )),
                        }
                    }
                }
            }
            (None, true) => {}
            (Some(_), true) => defects.push(format!("{name} is a page and none")),
            (None, false) => defects.push(format!(
                "{name} has no row: name the browser test of its main act, and its states"
            )),
        }
    }
    defects.extend(known.keys().map(|name| format!("{name} is no page")));
    defects.extend(
        screens
            .iter()
            .map(|path| format!("{path} of SCREENS is of no page")),
    );
    assert!(defects.is_empty(), "{defects:#?}");
}
