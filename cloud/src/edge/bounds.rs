//! Limits for connections, derived from the process's limit of file descriptors.

use rustix::process::{Resource, getrlimit};

/// Share of the descriptors that is reserved for the database, releases, webhooks and child processes: one in
/// this number …
const RESERVE_SHARE: usize = 8;
/// … but at least and at most these numbers of descriptors.
const RESERVE: (usize, usize) = (48, 1024);
/// Maximum number of logged-in devices.
const MAX_DEVICES: usize = 20_000;
/// Maximum number of MQTT connections without a login.
const MAX_LOGINS: usize = 2048;
/// Maximum number of HTTP connections.
const MAX_HTTP: usize = 2048;
/// Minimum number of descriptors for connections with which a cloud starts.
const FEWEST: usize = 48;

/// Maximum numbers of simultaneous connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// Logged-in devices in total.
    pub devices: usize,
    /// Logged-in devices of a project; low enough that a project cannot shut out all others.
    pub devices_per_project: usize,
    /// MQTT connections without a login in total.
    pub logins: usize,
    /// MQTT connections without a login from an address.
    pub logins_per_address: usize,
    /// HTTP connections in total.
    pub http: usize,
    /// HTTP connections from an address.
    pub http_per_address: usize,
}

/// Error of a limit of file descriptors that is too low for a cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of open files is {limit}, but at least {needed} are needed; raise it (`ulimit -n`, LimitNOFILE=)"
)]
pub struct BoundsError {
    limit: usize,
    needed: usize,
}

impl ConnectionBounds {
    /// Smallest limits with which a cloud starts.
    pub const SMALLEST: Self = Self::sharing(FEWEST);

    /// Returns the limits for this process's limit of open files, `own` of which the process needs for other
    /// purposes.
    ///
    /// # Errors
    /// When the limit is too low.
    pub fn for_process(own: usize) -> Result<Self, BoundsError> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::within(usize::try_from(limit).unwrap_or(usize::MAX), own)
    }

    /// Returns the limits for a limit of open files.
    ///
    /// # Errors
    /// When the limit is too low.
    pub fn within(limit: usize, own: usize) -> Result<Self, BoundsError> {
        let reserve = (limit / RESERVE_SHARE)
            .clamp(RESERVE.0, RESERVE.1)
            .saturating_add(own);
        match limit.checked_sub(reserve) {
            Some(rest) if rest >= FEWEST => Ok(Self::sharing(rest)),
            _ => Err(BoundsError {
                limit,
                needed: RESERVE.0 + own + FEWEST,
            }),
        }
    }

    /// Returns the limits raised by `devices`, for devices that run in this process.
    #[must_use]
    pub const fn with_own_devices(self, devices: usize) -> Self {
        Self {
            devices: self.devices + devices,
            devices_per_project: self.devices_per_project + devices,
            logins: self.logins + devices,
            logins_per_address: self.logins_per_address + devices,
            http: self.http + devices,
            http_per_address: self.http_per_address + devices,
        }
    }

    /// Distributes descriptors over the kinds of connections: a quarter for HTTP, a quarter for MQTT
    /// connections without a login, the rest for devices.
    const fn sharing(rest: usize) -> Self {
        let http = least(rest / 4, MAX_HTTP);
        let logins = least(rest / 4, MAX_LOGINS);
        let devices = least(rest - http - logins, MAX_DEVICES);
        Self {
            devices,
            devices_per_project: devices - devices / 4,
            logins,
            logins_per_address: logins / 2,
            http,
            http_per_address: http / 2,
        }
    }
}

const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bounds_together_leave_the_reserve() {
        for (limit, own) in [
            (128, 0),
            (256, 30),
            (1024, 0),
            (1024, 300),
            (20_000, 0),
            (1 << 20, 10_000),
            (usize::MAX, 0),
        ] {
            let bounds = ConnectionBounds::within(limit, own).expect("enough");
            let all = bounds.devices + bounds.logins + bounds.http;
            assert!(all + own + RESERVE.0 <= limit, "{limit}: {bounds:?}");
            assert!(
                bounds.http_per_address < bounds.http && bounds.logins_per_address < bounds.logins,
                "{bounds:?}"
            );
            assert!(
                bounds.http_per_address >= 5 && bounds.devices_per_project < bounds.devices,
                "{bounds:?}"
            );
        }
        assert_eq!(
            ConnectionBounds::within(1 << 20, 0).expect("enough").devices,
            MAX_DEVICES
        );
    }

    #[test]
    fn a_limit_that_is_too_low_is_named() {
        for (limit, own) in [(0, 0), (64, 0), (95, 0), (1024, 1000)] {
            assert!(ConnectionBounds::within(limit, own).is_err(), "{limit} {own}");
        }
        let error = ConnectionBounds::within(64, 0).expect_err("too low").to_string();
        assert!(error.contains("64") && error.contains("96"), "{error}");
    }
}
