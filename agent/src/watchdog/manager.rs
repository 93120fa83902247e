//! Notices to the service manager (systemd's protocol): datagrams to the socket that it names in the environment.
//! Decides nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Variable with the address of the socket.
const SOCKET_VAR: &str = "NOTIFY_SOCKET";

/// Connection to the service manager.
#[derive(Debug)]
pub(super) struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// Connects to the service manager of the environment; `None` if there is none.
    ///
    /// # Errors
    /// The address is not one of a local socket, or the system has no more sockets.
    pub(super) fn of_environment() -> io::Result<Option<Self>> {
        match std::env::var_os(SOCKET_VAR) {
            Some(name) if !name.is_empty() => Self::at(&name).map(Some),
            _ => Ok(None),
        }
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A full socket must not stop the thread that watches the others.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address: address(name)?,
        })
    }

    /// Sends a notice, such as `READY=1`.
    pub(super) fn tell(&self, notice: &str) -> io::Result<()> {
        self.socket.send_to_addr(notice.as_bytes(), &self.address)?;
        Ok(())
    }
}

/// Returns the address with this name: a path, or with `@` in front a name without a file.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the address of a local socket",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram, name: &OsStr) -> String {
        let manager = Manager::at(name).expect("an address");
        manager.tell("READY=1").expect("sent");
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).expect("received");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    #[test]
    fn notices_reach_sockets_with_and_without_a_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        assert_eq!(received(&socket, path.as_os_str()), "READY=1");

        let name = format!("iottly-notify-test-{}", std::process::id());
        let bound = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&bound).expect("bound");
        assert_eq!(received(&socket, OsStr::new(&format!("@{name}"))), "READY=1");
    }

    #[test]
    fn a_name_that_is_no_local_socket_is_an_error() {
        for name in ["", "vsock:2:1", "notify"] {
            assert!(Manager::at(OsStr::new(name)).is_err(), "{name:?}");
        }
    }
}
