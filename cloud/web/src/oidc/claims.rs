//! Claims of a verified ID token that the cloud uses: who the person is, and in which groups.

use std::collections::BTreeMap;

use iottly_core::model::{Role, UserName};
use openidconnect::core::CoreGenderClaim;
use openidconnect::{AdditionalClaims, IdTokenClaims};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::OidcSettings;

/// Maximum number of groups of a token that are read.
const MAX_GROUPS: usize = 1024;

/// Claims that the standard does not name, such as groups.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Further {
    #[serde(flatten)]
    claims: BTreeMap<String, Value>,
}

impl AdditionalClaims for Further {}

/// Person as the provider names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// URL of the provider.
    pub(crate) issuer: String,
    /// Id of the person at the provider; together with the issuer the only thing by which an account is found.
    pub(crate) subject: String,
    /// Name for display; the provider may give it to another person later.
    pub(crate) name: Option<UserName>,
    /// Role of the person's groups; none if they have none.
    pub(crate) role: Option<Role>,
}

impl Identity {
    pub(super) fn of(claims: &IdTokenClaims<Further, CoreGenderClaim>, settings: &OidcSettings) -> Self {
        let names = [
            claims.preferred_username().map(|name| name.as_str()),
            claims.email().map(|email| email.as_str()),
        ];
        let groups = groups(&claims.additional_claims().claims, &settings.groups_claim);
        Self {
            issuer: settings.issuer.to_string(),
            subject: claims.subject().to_string(),
            name: names.into_iter().flatten().find_map(|name| name.parse().ok()),
            role: settings.role_of(&groups),
        }
    }
}

/// Returns the groups in a claim: a list of texts, or one text.
fn groups(claims: &BTreeMap<String, Value>, claim: &str) -> Vec<String> {
    match claims.get(claim) {
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => {
            let texts = groups.iter().filter_map(Value::as_str).take(MAX_GROUPS);
            texts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn groups_are_a_list_of_texts_or_one_text() {
        let read = |value: Value| groups(&BTreeMap::from([("groups".to_owned(), value)]), "groups");
        assert_eq!(read(json!(["a", 1, null, ["b"], "c"])), ["a", "c"]);
        assert_eq!(read(json!("a b")), ["a b"]);
        for none in [json!(null), json!(7), json!({"a": true}), json!(true)] {
            assert!(read(none.clone()).is_empty(), "{none}");
        }
        assert!(groups(&BTreeMap::new(), "groups").is_empty());
        assert_eq!(read(json!(vec!["a"; 5000])).len(), MAX_GROUPS);
    }
}
