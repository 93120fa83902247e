//! Accounts of people whom an identity provider has named.

use iottly_core::model::{
    Actor, Invitation, MAX_MACHINE_LOGINS, MachineLogin, MachineLoginId, OrganizationId, Role, Scopes,
    SecretHash, User,
};
use iottly_store::{Author, PeopleChange, ProviderUser, StoreError};

use super::Setup;

const NOW: i64 = 1_700_000_000_000;

fn person(subject: &str, name: &str, role: Option<Role>) -> ProviderUser {
    ProviderUser {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        name: Some(name.parse().expect("a name")),
        role,
        address: Some([192, 0, 2, 7].into()),
    }
}

pub(crate) async fn accounts_follow_the_groups_of_their_provider(setup: Setup) {
    let store = &setup.store;
    let sign_in = async |person: ProviderUser| store.sign_in(&person, NOW).await.expect("signs in");
    assert_eq!(
        sign_in(person("1", "ada", None)).await,
        None,
        "without a role there is no account"
    );
    let ada = sign_in(person("1", "ada", Some(Role::Owner)))
        .await
        .expect("an account");
    assert!(!ada.has_password && ada.seen == Some(NOW));
    let again = sign_in(person("1", "renamed", Some(Role::Owner)))
        .await
        .expect("an account");
    assert_eq!((again.id, again.name.as_str()), (ada.id, "ada"));
    let other = sign_in(person("2", "ada", Some(Role::Viewer)))
        .await
        .expect("an account");
    assert!(
        other.id != ada.id && other.name.as_str().starts_with("ada~"),
        "{other:?}"
    );
    let elsewhere = ProviderUser {
        issuer: "https://other.example".to_owned(),
        ..person("1", "ada", Some(Role::Viewer))
    };
    let elsewhere = sign_in(elsewhere).await.expect("an account");
    assert!(elsewhere.id != ada.id && elsewhere.name != other.name);

    let role = async |id| store.role_of(OrganizationId::DEFAULT, id).await.expect("reads");
    sign_in(person("1", "ada", Some(Role::Viewer)))
        .await
        .expect("an account");
    assert_eq!(role(ada.id).await, Some(Role::Viewer), "also the last owner");
    assert_eq!(sign_in(person("1", "ada", None)).await, None);
    assert_eq!(
        (role(ada.id).await, store.user(ada.id).await.expect("reads")),
        (None, None)
    );
    assert_eq!(sign_in(person("1", "ada", None)).await, None);
    let back = sign_in(person("1", "ada", Some(Role::Viewer)))
        .await
        .expect("an account");
    assert_ne!(back.id, ada.id);

    let log = store
        .organization_audit(OrganizationId::DEFAULT, None, 20)
        .await
        .expect("reads");
    let actions: Vec<_> = log.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert!(
        log.iter()
            .all(|entry| entry.address == Some([192, 0, 2, 7].into()))
    );
    assert_eq!(
        actions,
        [
            "member.join",
            "member.join",
            "member.join",
            "member.role",
            "member.remove",
            "member.join"
        ],
        "a sign-in that changes nothing is no entry"
    );
}

pub(crate) async fn an_account_of_a_provider_gets_no_password(setup: Setup) {
    let store = &setup.store;
    let ada = person("1", "ada", Some(Role::Owner));
    let ada = store
        .sign_in(&ada, NOW)
        .await
        .expect("signs in")
        .expect("an account");
    let by = Author {
        actor: iottly_core::model::Actor::User(ada.id),
        name: "ada".to_owned(),
        address: None,
    };
    let invitation = Invitation {
        organization: OrganizationId::DEFAULT,
        role: Role::Owner,
        user: Some(ada.id),
        by: "ada".to_owned(),
        created: NOW,
        expires: NOW + 1000,
    };
    for change in [
        PeopleChange::SetPassword(ada.id, "hash".to_owned()),
        PeopleChange::Invite(SecretHash::of(b"secret"), invitation),
    ] {
        let refused = store
            .change_people(OrganizationId::DEFAULT, &by, change, NOW)
            .await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
}

fn machine(user: &User, expires: i64) -> MachineLogin {
    MachineLogin {
        id: MachineLoginId::random(),
        user: user.id,
        machine: "laptop".to_owned(),
        prefix: "iotm_1234".to_owned(),
        address: Some("192.0.2.7".to_owned()),
        project: Some("58f73b41c3cc4800078010c5".parse().expect("an id")),
        scopes: Scopes::READ,
        created: NOW,
        expires,
        used: None,
        round: user.logins,
    }
}

pub(crate) async fn machine_logins_are_bounded_and_go_with_their_person(setup: Setup) {
    let store = &setup.store;
    let ada = store.sign_in(&person("1", "ada", Some(Role::Viewer)), NOW).await;
    let ada = ada.expect("signs in").expect("an account");
    let by = Author {
        actor: Actor::User(ada.id),
        name: "ada".to_owned(),
        address: None,
    };
    let change = async |change| {
        store
            .change_people(OrganizationId::DEFAULT, &by, change, NOW)
            .await
    };
    let hash = |n: i64| SecretHash::of(&n.to_be_bytes());
    let first = machine(&ada, NOW + 10);
    change(PeopleChange::CreateMachineLogin(hash(0), first.clone()))
        .await
        .expect("created");
    assert_eq!(
        store.machine_login(hash(0)).await.expect("reads"),
        Some(first.clone())
    );
    assert_eq!(store.machine_login(hash(1)).await.expect("reads"), None);
    store
        .touch_machine_login(ada.id, first.id, NOW + 5)
        .await
        .expect("touched");
    let used = store.machine_login_by_id(ada.id, first.id).await.expect("reads");
    assert_eq!(used.and_then(|login| login.used), Some(NOW + 5));
    // One that is over makes room.
    change(PeopleChange::CreateMachineLogin(hash(1), machine(&ada, NOW)))
        .await
        .expect("created");
    for n in 2..=MAX_MACHINE_LOGINS {
        change(PeopleChange::CreateMachineLogin(hash(n), machine(&ada, NOW + 10)))
            .await
            .expect("created");
    }
    let one_more = PeopleChange::CreateMachineLogin(hash(999), machine(&ada, NOW + 10));
    assert!(matches!(change(one_more).await, Err(StoreError::Full { .. })));
    let revoke = PeopleChange::RevokeMachineLogin(ada.id, first.id);
    change(revoke.clone()).await.expect("revoked");
    assert!(matches!(change(revoke).await, Err(StoreError::Missing { .. })));
    assert_eq!(store.machine_login(hash(0)).await.expect("reads"), None);
    let log = store
        .organization_audit(OrganizationId::DEFAULT, None, 1)
        .await
        .expect("reads");
    let entry = log.first().expect("an entry");
    assert_eq!(
        (entry.action.as_str(), entry.detail.as_str()),
        ("machine_login.revoke", "laptop")
    );
    assert_eq!(
        store
            .sign_in(&person("1", "ada", None), NOW)
            .await
            .expect("reads"),
        None
    );
    assert_eq!(store.machine_logins(ada.id).await.expect("reads"), []);
}
