//! Edge cases of signatures: the published vectors, and the classes on which implementations are known to
//! disagree.

use std::collections::BTreeMap;

use base64::Engine as _;
use ed25519_dalek::{Verifier as _, VerifyingKey};
use iottly_protocol::tuf::{
    Key, KeyVal, RoleKeys, Schemes, Signature, SigningKey, decode_hex, encode_hex, verify_threshold,
};

fn counts(key: Key, message: &[u8], signature: &str) -> bool {
    let keys = BTreeMap::from([("k".to_owned(), key)]);
    let signature = Signature {
        keyid: "k".to_owned(),
        sig: signature.to_owned(),
    };
    verify_threshold(
        "role",
        &RoleKeys::new(vec!["k".to_owned()], 1),
        &keys,
        message,
        &[signature],
        Schemes::WITH_P256,
    )
    .is_ok()
}

fn ed25519(public: &str) -> Key {
    let keyval = KeyVal {
        public: public.to_owned(),
        extra: BTreeMap::new(),
    };
    Key {
        keytype: "ed25519".to_owned(),
        scheme: "ed25519".to_owned(),
        keyval,
        extra: BTreeMap::new(),
    }
}

fn p256(point: &str) -> Key {
    let prefix = decode_hex("3059301306072a8648ce3d020106082a8648ce3d030107034200").expect("hex");
    let der = [prefix, decode_hex(point).expect("hex")].concat();
    let pem = base64::engine::general_purpose::STANDARD.encode(der);
    let keyval = KeyVal {
        public: format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n"),
        extra: BTreeMap::new(),
    };
    Key {
        keytype: "ecdsa".to_owned(),
        scheme: "ecdsa-sha2-nistp256".to_owned(),
        keyval,
        extra: BTreeMap::new(),
    }
}

/// Verifies by RFC 8032 without the additions of the strict rule.
fn lax(public: &[u8], message: &[u8], signature: &str) -> bool {
    let key = VerifyingKey::from_bytes(public.try_into().expect("32 bytes"));
    let signature =
        ed25519_dalek::Signature::from_slice(&decode_hex(signature).expect("hex")).expect("64 bytes");
    key.is_ok_and(|key| key.verify(message, &signature).is_ok())
}

/// Runs a table of vectors; returns how many there are.
fn vectors(table: &str, key: fn(&str) -> Key) -> usize {
    let lines: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &lines {
        let fields: Vec<_> = line.split('\t').collect();
        let [public, message, signature, result, comment] = fields[..] else {
            panic!("{line}")
        };
        let message = decode_hex(message).expect("hex");
        assert_eq!(
            counts(key(public), &message, signature),
            result == "valid",
            "{comment}"
        );
    }
    lines.len()
}

#[test]
fn ed25519_vectors() {
    assert_eq!(vectors(include_str!("data/wycheproof-ed25519.tsv"), ed25519), 151);
}

#[test]
fn p256_vectors() {
    assert_eq!(vectors(include_str!("data/wycheproof-p256.tsv"), p256), 484);
}

/// Points of small order: a signature of zeros under them fits many messages.
#[test]
fn keys_of_small_order_never_count() {
    let points = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        // The same points in another encoding.
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    let mut fooled = 0;
    for public in points {
        for r in points {
            let signature = format!("{r}{}", "00".repeat(32));
            for message in 0..16u8 {
                assert!(
                    !counts(ed25519(public), &[message], &signature),
                    "{public} {r} {message}"
                );
                fooled += usize::from(lax(&decode_hex(public).expect("hex"), &[message], &signature));
            }
        }
    }
    assert!(
        fooled > 0,
        "the lax rule accepts some of them, or this test shows nothing"
    );
}

/// A signer who wants signatures that only some verifiers accept uses a commitment of small order: `R` is the
/// neutral element, `s` the challenge times the secret of thirty-two sevens.
#[test]
fn commitments_of_small_order_never_count() {
    let signature = concat!(
        "0100000000000000000000000000000000000000000000000000000000000000",
        "d4c5323131ff9683cfb3d30197c786c9043f1052d6c2d5293f19d6f36b911104"
    );
    let public = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
    assert!(
        lax(public.as_bytes(), b"message", signature),
        "the lax rule accepts it"
    );
    assert!(!counts(
        SigningKey::from_secret(&[7; 32]).public(),
        b"message",
        signature
    ));
}

/// `s` and `s` plus the group order are the same number to a lax verifier: one document, two signatures.
#[test]
fn a_scalar_has_one_spelling() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let signer = SigningKey::from_secret(&[7; 32]);
    let key = signer.public();
    let mut signature = decode_hex(&signer.sign(b"message").sig).expect("hex");
    assert!(counts(key.clone(), b"message", &encode_hex(&signature)));
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert!(!counts(key.clone(), b"message", &encode_hex(&signature)));
    for length in [0, 63, 65, 128] {
        assert!(!counts(key.clone(), b"message", &"00".repeat(length)));
    }
}
