//! A page of a project's devices: all of them, or those that a filter selects.

use std::cmp::Ordering;

use iottly_core::model::Device;
use iottly_core::natural_order;
use iottly_protocol::DeviceId;
use iottly_store::{DeviceNeeds, DevicePlace};

use super::device_filter::DeviceFilter;
use super::device_search::DeviceSearch;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Length of an id at the beginning of a place.
const ID: usize = 36;

/// A page of devices, by name, then id.
pub(crate) struct DeviceList {
    pub(crate) devices: Vec<Device>,
    /// Place of the page's last device, if there are others behind it.
    pub(crate) next: Option<DevicePlace>,
    /// Number of devices before the page.
    pub(crate) start: usize,
    /// Number of devices on all pages; none without a filter.
    pub(crate) matching: Option<usize>,
}

/// Reads a place: the id of a device and its name, or only the name.
pub(crate) fn place(text: &str) -> DevicePlace {
    let parts = text.split_at_checked(ID).and_then(|(id, name)| {
        let id: DeviceId = id.parse().ok()?;
        Some(DevicePlace {
            name: name.strip_prefix(' ')?.to_owned(),
            id,
        })
    });
    parts.unwrap_or_else(|| DevicePlace {
        name: text.to_owned(),
        id: DeviceId::from_bytes([0xff; 16]),
    })
}

/// Returns the text of a place.
pub(crate) fn written(place: &DevicePlace) -> String {
    format!("{} {}", place.id, place.name)
}

/// Compares devices by name in natural order, then id, as lists sort them.
pub(super) fn by_place(one: &Device, other: &Device) -> Ordering {
    natural_order::compare(&one.name, &other.name).then_with(|| one.scope.device.cmp(&other.scope.device))
}

impl DeviceList {
    /// Returns the first `limit` devices behind a place.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub(crate) async fn all(
        access: &ProjectAccess,
        after: Option<&DevicePlace>,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let store = &access.services().store;
        let mut devices = store.device_page(access.id(), after, limit + 1).await?;
        let more = devices.len() > limit;
        devices.truncate(limit);
        let start = match after {
            Some(place) => store.devices_until(access.id(), place).await?,
            None => 0,
        };
        Ok(Self {
            next: devices.last().filter(|_| more).map(DevicePlace::of),
            devices,
            start,
            matching: None,
        })
    }

    /// Returns the first `limit` devices behind a place that match a filter.
    ///
    /// # Errors
    /// 400 when the filter needs too many steps for that many devices, 500 when the store fails.
    pub(crate) async fn filtered(
        access: &ProjectAccess,
        filter: DeviceFilter,
        after: Option<&DevicePlace>,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let found = filter.unsorted(access).await?;
        Self::page(access, found, after, limit).await
    }

    /// Returns the first `limit` devices behind a place that match a search, and a filter if there is one.
    ///
    /// # Errors
    /// As [`filtered`](Self::filtered).
    pub(super) async fn searched(
        access: &ProjectAccess,
        search: &DeviceSearch,
        filter: Option<DeviceFilter>,
        after: Option<&DevicePlace>,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let store = &access.services().store;
        let mut found = store.devices_with(access.id(), DeviceNeeds::ALL).await?;
        found.retain(|device| search.matches(device));
        if let Some(filter) = filter {
            found = filter.select(found).await?;
        }
        Self::page(access, found, after, limit).await
    }

    /// Returns the first `limit` of some devices behind a place.
    async fn page(
        access: &ProjectAccess,
        mut found: Vec<Device>,
        after: Option<&DevicePlace>,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let matching = found.len();
        if let Some(place) = after {
            found.retain(|device| {
                natural_order::compare(&device.name, &place.name)
                    .then_with(|| device.scope.device.cmp(&place.id))
                    .is_gt()
            });
        }
        let (start, more) = (matching - found.len(), found.len() > limit);
        if more {
            // Only the page is sorted.
            found.select_nth_unstable_by(limit, by_place);
            found.truncate(limit);
        }
        let page: Vec<DeviceId> = found.iter().map(|device| device.scope.device).collect();
        // The filter has read only what it looks at.
        let store = &access.services().store;
        let devices = store.devices_with_ids(access.id(), &page).await?;
        Ok(Self {
            next: devices.last().filter(|_| more).map(DevicePlace::of),
            devices,
            start,
            matching: Some(matching),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for name in [
            "porch",
            "",
            "a b",
            "\u{202e}x",
            "0123456789012345678901234567890123456 7",
        ] {
            let place = DevicePlace {
                name: name.to_owned(),
                id: DeviceId::from_bytes([7; 16]),
            };
            assert_eq!(super::place(&written(&place)), place);
        }
        assert_eq!(place("porch").name, "porch");
    }
}
