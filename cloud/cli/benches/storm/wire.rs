//! MQTT packets as the devices of the benchmark send and read them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Adds a text with its length.
pub(crate) fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    body.extend(text.as_bytes());
}

/// Returns a packet of a kind with its body.
pub(crate) fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut rest) = (vec![kind], body.len());
    loop {
        let byte = u8::try_from(rest % 128).expect("small");
        rest /= 128;
        packet.push(if rest == 0 { byte } else { byte | 0x80 });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// Reads a packet; returns its kind and its body.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}
