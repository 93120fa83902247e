//! A proxy that disturbs the connection between a device and the cloud.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Time that an idle connection survives a cut; a busy one ends in the middle of what it carries.
const CUT_WAIT: Duration = Duration::from_millis(100);
/// Bytes that are passed on at once.
const CHUNK: usize = 16 << 10;

#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// Delay of everything that is passed on.
    delay: Duration,
    /// Set while nothing is passed on and nothing is closed.
    frozen: bool,
    /// Set while no connection is accepted.
    closed: bool,
    /// Count of cuts; connections that were open before the last one are cut.
    cuts: u64,
    /// Count of abandonments; connections that were open before the last one have lost their cloud's side.
    abandoned: u64,
}

/// A listener that passes connections on to one address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    pub(crate) fn start(runtime: &Handle, target: SocketAddr) -> Self {
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (weather, watched) = watch::channel(Weather::default());
        runtime.spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                if !watched.borrow().closed {
                    tokio::spawn(carry(device, target, watched.clone()));
                }
            }
        });
        Self { address, weather }
    }

    /// Ends every connection, a busy one in the middle of a packet.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Closes the cloud's side of every connection; the device's side stays open and silent.
    pub(crate) fn abandon(&self) {
        self.weather.send_modify(|weather| weather.abandoned += 1);
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.weather.send_modify(|weather| weather.frozen = frozen);
    }

    /// Cuts every connection and lets no new one through, until it is opened again.
    pub(crate) fn close(&self, closed: bool) {
        self.weather.send_modify(|weather| {
            weather.closed = closed;
            weather.cuts += u64::from(closed);
        });
    }
}

async fn carry(device: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let Ok(cloud) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (device.set_nodelay(true), cloud.set_nodelay(true));
    let opened = *weather.borrow_and_update();
    let ((mut device_reads, mut device_writes), (mut cloud_reads, mut cloud_writes)) =
        (device.into_split(), cloud.into_split());
    let abandoned = tokio::select! {
        () = pump(&mut device_reads, &mut cloud_writes, weather.clone(), opened.cuts) => false,
        () = pump(&mut cloud_reads, &mut device_writes, weather.clone(), opened.cuts) => false,
        () = until(weather.clone(), |now| now.cuts != opened.cuts) => {
            tokio::time::sleep(CUT_WAIT).await;
            false
        }
        () = until(weather.clone(), |now| now.abandoned != opened.abandoned) => true,
    };
    drop((cloud_reads, cloud_writes));
    if abandoned {
        let mut void = vec![0; CHUNK];
        while device_reads.read(&mut void).await.is_ok_and(|count| count > 0) {}
    }
}

/// Passes on until either end closes, or a cut comes: then half of the next piece still goes through.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    cuts: u64,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        if weather.wait_for(|now| !now.frozen).await.is_err() {
            return;
        }
        let now = *weather.borrow();
        tokio::time::sleep(now.delay).await;
        let cut = now.cuts != cuts;
        let passed = if cut { count / 2 } else { count };
        if to.write_all(&buffer[..passed]).await.is_err() || cut {
            return;
        }
    }
}

async fn until(mut weather: watch::Receiver<Weather>, wanted: impl Fn(&Weather) -> bool) {
    // Without a sender the test is over, and the connection with it.
    let _ = weather.wait_for(wanted).await;
}
