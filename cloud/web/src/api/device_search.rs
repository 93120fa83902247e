//! Search conditions for devices.

use iottly_protocol::GroupId;

use super::query::Params;
use crate::error::ApiError;
use iottly_core::model::Device;

/// Maximum length of a search text, in bytes.
const MAX_SEARCH_BYTES: usize = 256;

/// Conditions on devices. A device has to meet every given condition.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Search)]
pub(crate) struct DeviceSearch {
    /// Text that is contained in the name, the id, the MAC address or a tag; upper and lower case are the
    /// same.
    #[schema(value_type = Option<String>)]
    search: Option<Needle>,
    /// Tag of the device.
    tag: Option<String>,
    /// Id of the device's deployment group.
    #[schema(value_type = Option<String>, format = "uuid")]
    deployment_group: Option<GroupId>,
    /// `connected` or `disconnected`.
    operatingstatus: Option<OperatingStatus>,
}

/// Search text, in lower case.
#[derive(Debug, serde::Deserialize)]
#[serde(try_from = "String")]
struct Needle(String);

impl TryFrom<String> for Needle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_SEARCH_BYTES {
            return Err(format!("search is longer than {MAX_SEARCH_BYTES} bytes"));
        }
        Ok(Self(text.to_lowercase()))
    }
}

/// Connection of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum OperatingStatus {
    /// The device is connected.
    Connected,
    /// The device is not connected.
    Disconnected,
}

impl DeviceSearch {
    pub(super) fn from_params(params: &Params) -> Result<Self, ApiError> {
        let invalid = |message: String| ApiError::invalid("invalid_query", message);
        let group = params
            .get("deployment_group")
            .map(str::parse::<GroupId>)
            .transpose();
        let status = match params.get("operatingstatus") {
            None => None,
            Some("connected") => Some(OperatingStatus::Connected),
            Some("disconnected") => Some(OperatingStatus::Disconnected),
            Some(_) => {
                return Err(invalid(
                    "operatingstatus is not connected or disconnected".to_owned(),
                ));
            }
        };
        Ok(Self {
            search: params
                .get("search")
                .map(|text| Needle::try_from(text.to_owned()))
                .transpose()
                .map_err(invalid)?,
            tag: params.get("tag").map(str::to_owned),
            deployment_group: group.map_err(|error| invalid(error.to_string()))?,
            operatingstatus: status,
        })
    }

    /// Returns true if no condition is given.
    pub(super) fn is_everything(&self) -> bool {
        self.search.is_none()
            && self.tag.is_none()
            && self.deployment_group.is_none()
            && self.operatingstatus.is_none()
    }

    pub(super) fn matches(&self, device: &Device) -> bool {
        let found = |Needle(wanted): &Needle| {
            let id = device.scope.device.to_string();
            let texts = [device.name.as_str(), &id]
                .into_iter()
                .chain(device.mac_address.as_deref())
                .chain(device.tags.iter().map(String::as_str));
            texts.into_iter().any(|text| text.to_lowercase().contains(wanted))
        };
        self.search.as_ref().is_none_or(found)
            && self.tag.as_ref().is_none_or(|tag| device.tags.contains(tag))
            && self.deployment_group.is_none_or(|group| device.group == group)
            && self
                .operatingstatus
                .is_none_or(|status| device.online == (status == OperatingStatus::Connected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_short_and_knows_no_case() {
        let needle = |text: String| Needle::try_from(text).map(|Needle(text)| text);
        assert_eq!(needle("BOILER É".to_owned()), Ok("boiler é".to_owned()));
        assert!(
            needle("x".repeat(MAX_SEARCH_BYTES)).is_ok() && needle("x".repeat(MAX_SEARCH_BYTES + 1)).is_err()
        );
        let long = format!(r#"{{"search":"{}"}}"#, "x".repeat(MAX_SEARCH_BYTES + 1));
        assert!(
            serde_json::from_str::<DeviceSearch>(&long).is_err(),
            "in a body too"
        );
    }
}
