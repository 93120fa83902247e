//! Checks the first packet of an MQTT connection before the broker buffers it. Pure.

/// Maximum size of a CONNECT without its fixed header, in bytes. An agent's CONNECT has about 300: ids,
/// secret, status topic and will.
const MAX_CONNECT: usize = 4096;
/// Maximum length of a fixed header, in bytes.
const MAX_FIXED: usize = 5;
/// Number of bytes that have to be peeked at to see a whole CONNECT.
pub(super) const ROOM: usize = MAX_CONNECT + MAX_FIXED + 1;
/// First byte of a CONNECT.
const CONNECT: u8 = 0x10;

/// Result of a look at the first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Beginning of a CONNECT.
    Part,
    /// Whole CONNECT, possibly followed by more bytes.
    Whole,
    /// Other packet, or a CONNECT that is too large.
    Refused(&'static str),
}

/// Checks the first bytes of a connection.
pub(super) fn look(bytes: &[u8]) -> First {
    let Some((kind, rest)) = bytes.split_first() else {
        return First::Part;
    };
    if *kind != CONNECT {
        return First::Refused("the first packet is not a CONNECT");
    }
    let mut length = 0;
    for (index, byte) in rest.iter().take(MAX_FIXED - 1).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if length > MAX_CONNECT {
            return First::Refused("the CONNECT is too large");
        }
        if byte & 0x80 == 0 {
            return if rest.len() - index > length {
                First::Whole
            } else {
                First::Part
            };
        }
    }
    if rest.len() >= MAX_FIXED - 1 {
        First::Refused("the length of the CONNECT is invalid")
    } else {
        First::Part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(length: usize) -> Vec<u8> {
        let mut packet = vec![CONNECT];
        let mut rest = length;
        loop {
            let byte = u8::try_from(rest & 0x7f).expect("seven bits");
            rest >>= 7;
            packet.push(if rest == 0 { byte } else { byte | 0x80 });
            if rest == 0 {
                break;
            }
        }
        packet.resize(packet.len() + length, b'x');
        packet
    }

    #[test]
    fn whole_packets_up_to_the_bound_pass() {
        for length in [0, 1, 127, 128, 300, MAX_CONNECT] {
            let packet = connect(length);
            assert!(packet.len() < ROOM);
            for cut in 0..packet.len() {
                assert_eq!(look(&packet[..cut]), First::Part, "{cut} of {length}");
            }
            assert_eq!(look(&packet), First::Whole, "{length}");
            assert_eq!(look(&[&packet[..], b"more"].concat()), First::Whole, "{length}");
        }
    }

    #[test]
    fn others_are_refused_at_the_fixed_header() {
        for bad in [
            &connect(MAX_CONNECT + 1)[..3],
            &connect(2 << 20)[..5],
            b"\x10\xff\xff\xff\xff",
            b"\x10\x80\x80\x80\x80",
            b"GET /",
            b"\x16\x03",
            b"\x11\0",
        ] {
            assert!(matches!(look(bad), First::Refused(_)), "{bad:?}");
        }
    }
}
