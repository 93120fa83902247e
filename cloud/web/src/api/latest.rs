//! Endpoint for the latest values of a device, and the columns of lists that show some of them.

use std::collections::HashMap;

use iottly_protocol::DeviceId;

use super::Answer;
use super::dto::{LatestDto, ValueDto};
use super::spaced::Spaced;
use crate::auth::{DeviceAccess, ProjectAccess};
use crate::error::ApiError;
use iottly_core::model::UnixMs;
use iottly_core::series::{Latest, MAX_PATH_BYTES, Reading};

/// Maximum number of columns with latest values.
pub(crate) const MAX_COLUMNS: usize = 8;

/// Returns the latest values of a device: the newest number, flag or short text of each path of its messages.
#[utoipa::path(
    get,
    path = "/device/{device}/latest",
    tag = "devices",
    responses((status = 200, description = "The values, by path", body = LatestDto))
)]
pub(crate) async fn show(access: DeviceAccess) -> Answer<LatestDto> {
    Ok(Spaced(LatestDto::of(&of(&access).await?)))
}

/// Returns the latest values of a device.
///
/// # Errors
/// 500 when the store fails.
pub(crate) async fn of(access: &DeviceAccess) -> Result<Latest, ApiError> {
    let scope = access.scope();
    let found = access
        .services()
        .store
        .latest_of(scope.project, &[scope.device])
        .await?;
    Ok(found
        .into_iter()
        .next()
        .map(|(_, latest)| latest)
        .unwrap_or_default())
}

/// Columns of a list of devices: paths of latest values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Columns(Vec<String>);

impl Columns {
    /// Reads a list of paths, separated by commas.
    ///
    /// # Errors
    /// 400 if there are too many, or one is too long.
    pub(crate) fn of(text: &str) -> Result<Self, ApiError> {
        let mut paths: Vec<String> = Vec::new();
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            let invalid = |reason: String| Err(ApiError::invalid("invalid_query", reason));
            if path.len() > MAX_PATH_BYTES {
                return invalid(format!("a path in columns is longer than {MAX_PATH_BYTES} bytes"));
            }
            if !paths.iter().any(|known| known == path) {
                paths.push(path.to_owned());
            }
            if paths.len() > MAX_COLUMNS {
                return invalid(format!("columns has more than {MAX_COLUMNS} paths"));
            }
        }
        Ok(Self(paths))
    }

    /// Returns the paths.
    pub(crate) fn paths(&self) -> &[String] {
        &self.0
    }

    /// Returns the list as it stands in an address.
    pub(crate) fn text(&self) -> String {
        self.0.join(",")
    }

    /// Reads the values of some devices.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub(crate) async fn read(
        &self,
        access: &ProjectAccess,
        devices: impl Iterator<Item = DeviceId>,
    ) -> Result<Shown, ApiError> {
        if self.0.is_empty() {
            return Ok(Shown::default());
        }
        let devices: Vec<_> = devices.collect();
        let found = access.services().store.latest_of(access.id(), &devices).await?;
        let picked = found
            .into_iter()
            .map(|(device, latest)| (device, latest.of_paths(&self.0)));
        Ok(Shown(picked.collect()))
    }
}

/// Values of the columns of some devices.
#[derive(Debug, Default)]
pub(crate) struct Shown(HashMap<DeviceId, Vec<Option<(Reading, UnixMs)>>>);

impl Shown {
    /// Returns the value of a column of a device, by the column's place; none without one.
    pub(crate) fn value(&self, device: DeviceId, column: usize) -> Option<&(Reading, UnixMs)> {
        self.0.get(&device)?.get(column)?.as_ref()
    }

    /// Returns the values of a device with their paths.
    pub(super) fn of_device<'a>(
        &'a self,
        device: DeviceId,
        columns: &'a Columns,
    ) -> impl Iterator<Item = (String, ValueDto)> + 'a {
        columns.0.iter().enumerate().filter_map(move |(place, path)| {
            let (value, at) = self.value(device, place)?;
            let value = ValueDto {
                value: value.clone(),
                at: (*at).into(),
            };
            Some((path.clone(), value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_paths_that_are_named_once() {
        let columns = Columns::of(" temp,room.hum,,temp ").expect("columns");
        assert_eq!(
            (columns.text().as_str(), columns.paths().len()),
            ("temp,room.hum", 2)
        );
        assert!(Columns::of("a,b,c,d,e,f,g,h").is_ok() && Columns::of("a,b,c,d,e,f,g,h,i").is_err());
        assert!(Columns::of(&"x".repeat(MAX_PATH_BYTES + 1)).is_err());
    }
}
