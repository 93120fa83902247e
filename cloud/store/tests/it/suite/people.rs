//! Accounts of people whom an identity provider has named.

use iottly_core::model::{Invitation, OrganizationId, Role, SecretHash};
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
