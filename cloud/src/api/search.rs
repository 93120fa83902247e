use iottly_protocol::GroupId;

use super::query::Params;
use crate::error::ApiError;
use crate::model::Device;

/// Which devices are meant. Every condition that is given has to hold.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// Part of the name, the id, the MAC address or a tag; upper and lower case are the same.
    search: Option<String>,
    /// A tag.
    tag: Option<String>,
    /// The deployment group.
    #[schema(value_type = Option<String>, format = "uuid")]
    deployment_group: Option<GroupId>,
    /// `connected` or `disconnected`.
    operatingstatus: Option<OperatingStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum OperatingStatus {
    Connected,
    Disconnected,
}

impl Search {
    pub(super) fn from_params(params: &Params) -> Result<Self, ApiError> {
        let invalid = |message: String| ApiError::invalid("invalid_query", message);
        let group = params.get("deployment_group").map(str::parse::<GroupId>).transpose();
        let status = match params.get("operatingstatus") {
            None => None,
            Some("connected") => Some(OperatingStatus::Connected),
            Some("disconnected") => Some(OperatingStatus::Disconnected),
            Some(_) => return Err(invalid("operatingstatus is not connected or disconnected".to_owned())),
        };
        Ok(Self {
            search: params.get("search").map(str::to_owned),
            tag: params.get("tag").map(str::to_owned),
            deployment_group: group.map_err(|error| invalid(error.to_string()))?,
            operatingstatus: status,
        })
    }

    /// Says whether no condition is given.
    pub(super) fn is_everything(&self) -> bool {
        self.search.is_none() && self.tag.is_none() && self.deployment_group.is_none() && self.operatingstatus.is_none()
    }

    pub(super) fn matches(&self, device: &Device) -> bool {
        let found = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            let id = device.scope.device.to_string();
            let texts =
                [device.name.as_str(), &device.mac_address, &id].into_iter().chain(device.tags.iter().map(String::as_str));
            texts.into_iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        self.search.as_ref().is_none_or(found)
            && self.tag.as_ref().is_none_or(|tag| device.tags.contains(tag))
            && self.deployment_group.is_none_or(|group| device.group == group)
            && self.operatingstatus.is_none_or(|status| device.online == (status == OperatingStatus::Connected))
    }
}
