//! Kinds of the packets of an MQTT connection, recognised in its bytes without keeping them. Pure.

use crate::model::Packet;

/// Returns the kind of a packet by its first byte.
const fn kind_of(byte: u8) -> Packet {
    match byte >> 4 {
        1 => Packet::Connect,
        3 => Packet::Publish,
        4 => Packet::Puback,
        8 => Packet::Subscribe,
        12 => Packet::Ping,
        14 => Packet::Disconnect,
        _ => Packet::Other,
    }
}

/// Maximum number of bytes of the length of a packet.
const LENGTH_BYTES: u32 = 4;
/// Bytes at the start of a CONNECT that hold its keep-alive: the protocol's name with its length, version and flags.
const CONNECT_HEAD: usize = 16;

/// Follows the bytes that a device sends.
#[derive(Debug, Default)]
pub struct Packets {
    state: State,
    /// Start of the CONNECT, until its keep-alive is known.
    head: Vec<u8>,
    keep_alive: Option<u16>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Start,
    Length {
        kind: Packet,
        read: u32,
        length: usize,
    },
    Body {
        kind: Packet,
        left: usize,
    },
    /// Not MQTT: nothing is recognised any more.
    Lost,
}

impl Packets {
    /// Takes bytes; returns the kind of the last packet that is complete with them.
    pub fn take(&mut self, mut bytes: &[u8]) -> Option<Packet> {
        let mut complete = None;
        while let Some((&first, rest)) = bytes.split_first() {
            match self.state {
                State::Lost => return complete,
                State::Start => {
                    let kind = kind_of(first);
                    self.state = State::Length {
                        kind,
                        read: 0,
                        length: 0,
                    };
                    bytes = rest;
                }
                State::Length { kind, read, length } => {
                    let length = length | usize::from(first & 0x7f) << (7 * read);
                    bytes = rest;
                    self.state = if first & 0x80 == 0 {
                        State::Body { kind, left: length }
                    } else if read + 1 == LENGTH_BYTES {
                        State::Lost
                    } else {
                        State::Length {
                            kind,
                            read: read + 1,
                            length,
                        }
                    };
                }
                State::Body { kind, left } => {
                    let (body, rest) = bytes.split_at(left.min(bytes.len()));
                    if kind == Packet::Connect {
                        self.connect(body);
                    }
                    bytes = rest;
                    self.state = State::Body {
                        kind,
                        left: left - body.len(),
                    };
                }
            }
            if let State::Body { kind, left: 0 } = self.state {
                complete = Some(kind);
                self.state = State::Start;
            }
        }
        complete
    }

    /// Returns the keep-alive of the connection in seconds, as its CONNECT asks for it; 0 for none.
    #[must_use]
    pub const fn keep_alive(&self) -> Option<u16> {
        self.keep_alive
    }

    fn connect(&mut self, body: &[u8]) {
        if self.keep_alive.is_some() {
            return;
        }
        let room = CONNECT_HEAD.saturating_sub(self.head.len());
        self.head.extend(body.iter().take(room));
        let Some(&[high, low]) = self.head.first_chunk() else {
            return;
        };
        // Behind the name: version and flags, a byte each.
        let at = 2 + usize::from(u16::from_be_bytes([high, low])) + 2;
        if let Some(&[high, low]) = self.head.get(at..).and_then(|rest| rest.first_chunk()) {
            self.keep_alive = Some(u16::from_be_bytes([high, low]));
            self.head = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x04\x02\0\x1e\0\x04abcd";
    const PING: &[u8] = b"\xc0\0";

    fn publish(length: usize) -> Vec<u8> {
        let mut packet = vec![0x32];
        let mut rest = length;
        loop {
            let byte = u8::try_from(rest & 0x7f).expect("seven bits");
            rest >>= 7;
            packet.push(if rest == 0 { byte } else { byte | 0x80 });
            if rest == 0 {
                break;
            }
        }
        packet.resize(packet.len() + length, 0xc0);
        packet
    }

    #[test]
    fn packets_are_recognised_in_pieces_of_any_size() {
        let all = [CONNECT, &publish(3), PING, &publish(300), PING].concat();
        for size in [1, 2, 3, 7, 100, all.len()] {
            let mut packets = Packets::default();
            let kinds: Vec<_> = all.chunks(size).filter_map(|chunk| packets.take(chunk)).collect();
            assert_eq!(kinds.last(), Some(&Packet::Ping), "{size}");
            assert_eq!(packets.keep_alive(), Some(30), "{size}");
            if size == 1 {
                let expected = [
                    Packet::Connect,
                    Packet::Publish,
                    Packet::Ping,
                    Packet::Publish,
                    Packet::Ping,
                ];
                assert_eq!(kinds, expected);
            }
        }
    }

    #[test]
    fn half_a_packet_proves_nothing_and_rubbish_is_not_followed() {
        let mut packets = Packets::default();
        assert_eq!(packets.take(&CONNECT[..10]), None);
        assert_eq!(packets.take(&CONNECT[10..]), Some(Packet::Connect));
        assert_eq!(packets.take(b"\x30\xff\xff\xff\xff\x01"), None);
        assert_eq!(packets.take(PING), None);
    }

    #[test]
    fn a_strange_connect_has_no_keep_alive() {
        let mut packets = Packets::default();
        assert_eq!(packets.take(b"\x10\x04\xff\xff\0\0"), Some(Packet::Connect));
        assert_eq!(packets.keep_alive(), None);
        assert!(packets.head.len() <= CONNECT_HEAD);
    }

    #[test]
    fn every_kind_has_a_word() {
        for kind in Packet::ALL {
            assert_eq!(Packet::named(kind.as_str()), Some(kind));
        }
        assert_eq!(Packet::named("telegram"), None);
    }
}
