use proptest::prelude::*;

use super::*;
use iottly_core::model::Scopes;

const HOUR_MS: i64 = 60 * 60 * 1000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;
/// Steps of a wall clock, in milliseconds.
const STEPS: [i64; 4] = [-TEN_YEARS_MS, -3 * HOUR_MS, 3 * HOUR_MS, TEN_YEARS_MS];
/// Date at which the tests begin.
const START: i64 = 1_700_000_000_000;

fn login(project: u8, token: u8, expires: Option<i64>) -> Login {
    let id = TokenId::from_bytes([token; 16]);
    let project = ProjectId::from_bytes([project; 12]);
    Login {
        holder: Holder::Token(Principal {
            project,
            actor: Actor::Token(id),
            name: "t".into(),
            scopes: Scopes::PROJECT,
            group: None,
            address: None,
        }),
        expires,
        round: 0,
    }
}

/// Returns the moment `hours` after the start, on a wall clock that was stepped by `step` in between.
fn after(hours: f64, step: i64) -> Moment {
    let millis = (hours * HOUR_MS as f64) as i64;
    Moment {
        date: START + millis + step,
        steady: Duration::from_millis(millis as u64),
    }
}

fn open(sessions: &Sessions, login: Login, now: Moment) -> String {
    sessions.open(login, now).expect("randomness")
}

#[test]
fn a_login_lasts_twelve_hours_whatever_becomes_of_the_wall_clock() {
    for step in STEPS.into_iter().chain([0]) {
        let sessions = Sessions::default();
        let secret = open(&sessions, login(1, 1, None), after(0.0, 0));
        assert!(
            sessions.find(&secret, after(0.0, step)).is_some(),
            "at once after a step of {step} ms"
        );
        assert!(
            sessions.find(&secret, after(11.9, step)).is_some(),
            "after a step of {step} ms"
        );
        assert!(
            sessions.find(&secret, after(12.0, step)).is_none(),
            "after a step of {step} ms"
        );
    }
}

#[test]
fn a_login_ends_with_its_token_and_no_step_makes_it_longer() {
    for step in STEPS {
        let sessions = Sessions::default();
        let secret = open(&sessions, login(1, 1, Some(START + HOUR_MS)), after(0.0, 0));
        assert!(sessions.find(&secret, after(0.9, 0)).is_some());
        // A step forward passes the token's expiry; a step back leaves the hour that the login had when it
        // began.
        assert_eq!(
            sessions.find(&secret, after(0.9, step)).is_some(),
            step < 0,
            "after a step of {step} ms"
        );
        assert!(
            sessions.find(&secret, after(1.0, step)).is_none(),
            "after a step of {step} ms"
        );
        assert!(
            sessions.find(&secret, after(0.5, 0)).is_none(),
            "what has ended stays ended"
        );
    }
    let sessions = Sessions::default();
    let dead = open(&sessions, login(1, 1, Some(START)), after(0.0, 0));
    assert!(
        sessions.find(&dead, after(0.0, 0)).is_none(),
        "an expired token is not a login"
    );
}

#[test]
fn a_link_works_once_and_for_an_hour_whatever_becomes_of_the_wall_clock() {
    for step in STEPS.into_iter().chain([0]) {
        let sessions = Sessions::default();
        let key = sessions
            .mint_link(login(1, 1, None), after(0.0, 0))
            .expect("randomness");
        for _ in 0..3 {
            assert!(
                sessions.is_link(&key, after(0.9, step)),
                "a look leaves it as it is"
            );
        }
        assert_eq!(
            sessions.redeem_link(&key, after(0.9, step)),
            Some(login(1, 1, None))
        );
        assert!(!sessions.is_link(&key, after(0.9, step)));
        assert_eq!(sessions.redeem_link(&key, after(0.9, step)), None);
        let late = sessions
            .mint_link(login(1, 1, None), after(0.0, 0))
            .expect("randomness");
        assert!(
            sessions.redeem_link(&late, after(1.0, step)).is_none(),
            "after a step of {step} ms"
        );
    }
    assert_eq!(Sessions::default().redeem_link("guess", after(0.0, 0)), None);
}

#[tokio::test]
async fn what_waits_for_the_end_of_a_login_hears_of_it() {
    let sessions = Sessions::default();
    let now = after(0.0, 0);
    for end in [
        (|sessions: &Sessions, secret: &str| sessions.close(secret)) as fn(&Sessions, &str),
        |sessions, _| sessions.close_all_of(TokenId::from_bytes([1; 16])),
        |sessions, _| assert_eq!(sessions.close_project(ProjectId::from_bytes([1; 12])), 1),
    ] {
        let (mine, other) = (
            open(&sessions, login(1, 1, None), now),
            open(&sessions, login(2, 2, None), now),
        );
        let session = sessions.find(&mine, now).expect("logged in");
        end(&sessions, &mine);
        tokio::time::timeout(Duration::from_secs(10), session.over())
            .await
            .expect("notified of the end");
        assert!(sessions.find(&mine, now).is_none() && sessions.find(&other, now).is_some());
        sessions.close(&other);
    }
}

#[test]
fn a_token_ends_its_own_oldest_login_and_nobody_elses() {
    let (sessions, now) = (Sessions::default(), after(0.0, 0));
    let victim = open(&sessions, login(2, 9, None), now);
    let colleague = open(&sessions, login(1, 2, None), now);
    let mine: Vec<_> = (0..1030)
        .map(|_| open(&sessions, login(1, 1, None), now))
        .collect();
    let live = mine
        .iter()
        .filter(|secret| sessions.find(secret, now).is_some())
        .count();
    assert_eq!(live, SESSIONS.actor);
    assert!(
        mine[1030 - SESSIONS.actor..]
            .iter()
            .all(|secret| sessions.find(secret, now).is_some()),
        "the newest stay"
    );
    assert!(sessions.find(&victim, now).is_some() && sessions.find(&colleague, now).is_some());
}

#[test]
fn a_project_has_its_share_and_its_busiest_token_gives_way() {
    let (sessions, now) = (Sessions::default(), after(0.0, 0));
    let victim = open(&sessions, login(2, 200, None), now);
    let quiet = open(&sessions, login(1, 100, None), now);
    for token in 1..50 {
        for _ in 0..SESSIONS.actor {
            open(&sessions, login(1, token, None), now);
        }
    }
    let held = sessions.lock().sessions.len();
    assert_eq!(held, SESSIONS.tenant + 1);
    assert!(sessions.find(&victim, now).is_some() && sessions.find(&quiet, now).is_some());
}

#[test]
fn when_all_places_are_taken_the_busiest_project_gives_way() {
    let (sessions, now) = (Sessions::default(), after(0.0, 0));
    let victim = open(&sessions, login(255, 1, None), now);
    for project in 0..45 {
        for token in 0..5 {
            for _ in 0..SESSIONS.actor {
                open(&sessions, login(project, token, None), now);
            }
        }
    }
    assert_eq!(sessions.lock().sessions.len(), SESSIONS.all);
    assert!(sessions.find(&victim, now).is_some());
    let newcomer = open(&sessions, login(254, 1, None), now);
    assert!(sessions.find(&newcomer, now).is_some() && sessions.find(&victim, now).is_some());
}

#[test]
fn a_login_has_eight_streams() {
    let (sessions, now) = (Sessions::default(), after(0.0, 0));
    let secret = open(&sessions, login(1, 1, None), now);
    // Each request looks up the login again.
    let stream = || sessions.find(&secret, now).expect("logged in").stream();
    let held: Vec<_> = (0..STREAMS_PER_SESSION)
        .map(|_| stream().expect("a place"))
        .collect();
    assert!(stream().is_none());
    drop(held);
    assert!(stream().is_some());
}

proptest! {
    /// However the wall clock is set, a login is never found later than twelve hours, or the token's
    /// remaining time, after it began.
    #[test]
    fn no_walk_of_the_wall_clock_prolongs_a_login(
        left in prop::option::of(0..20 * HOUR_MS),
        walk in prop::collection::vec((0..4 * HOUR_MS, -TEN_YEARS_MS..TEN_YEARS_MS), 1..8),
    ) {
        let sessions = Sessions::default();
        let secret = open(&sessions, login(1, 1, left.map(|left| START + left)), after(0.0, 0));
        let allowed = left.unwrap_or(i64::MAX).min(12 * HOUR_MS);
        let mut elapsed = 0;
        for (run, step) in walk {
            elapsed += run;
            let now = Moment { date: START + elapsed + step, steady: Duration::from_millis(elapsed as u64) };
            let found = sessions.find(&secret, now).is_some();
            prop_assert!(!found || elapsed < allowed);
            prop_assert!(left.is_some() || found == (elapsed < allowed), "without a date the wall clock means nothing");
        }
    }
}
