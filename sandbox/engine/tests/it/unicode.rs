//! Texts: every character crosses to the device, and halves of characters become U+FFFD.

use crate::host::{Setup, check};

#[test]
fn texts_cross_unharmed() {
    check(&[
        (
            "ascii, latin, greek, han, emoji",
            "log('aé', 'Ωж', '漢字', '😀');",
            "aé Ωж 漢字 😀",
        ),
        ("an emoji made of several", "log('👩‍👩‍👧', [...'👩‍👩‍👧'].length);", "👩‍👩‍👧 5"),
        (
            "zero bytes",
            "log('a\\0b'.length, JSON.stringify('a\\0b'));",
            "3 \"a\\u0000b\"",
        ),
        (
            "a text that was built from pieces",
            "let s = ''; for (let i = 0; i < 5; i++) s += 'ü' + i; log(s);",
            "ü0ü1ü2ü3ü4",
        ),
        (
            "a rope and a slice",
            "const s = 'x'.repeat(10000) + '😀'; log(s.slice(9999));",
            "x😀",
        ),
        (
            "keys of payloads",
            "send_msg({ 'größe': 1, '😀': 2 });",
            "sent: {\"größe\":1,\"😀\":2}",
        ),
        ("channels", "send_msg({}, 'kanäle/漢');", "sent on kanäle/漢: {}"),
    ]);
}

#[test]
fn halves_of_characters_become_replacement_characters() {
    check(&[
        ("log", "log('a\\ud83d');", "a\u{fffd}"),
        ("log of a low half", "log('\\udc00b');", "\u{fffd}b"),
        (
            "two halves in the wrong order",
            "log('\\udc00\\ud83d');",
            "\u{fffd}\u{fffd}",
        ),
        (
            "a cut emoji",
            "log('😀'.slice(0, 1), '😀'[1]);",
            "\u{fffd} \u{fffd}",
        ),
        ("halves beside whole ones", "log('😀\\ud83d😀');", "😀\u{fffd}😀"),
        (
            "payload",
            "send_msg({ t: '\\ud83d' });",
            "sent: {\"t\":\"\\ud83d\"}",
        ),
        ("channel", "send_msg({}, 'c\\ud83d');", "sent on c\u{fffd}: {}"),
        (
            "a text past the prelude",
            "import { write } from 'iottly:firmware/log@0.1.0'; write('info', '\\ud800x\\udfff');",
            "\u{fffd}x\u{fffd}",
        ),
        (
            "a payload past the prelude",
            "import { send } from 'iottly:firmware/telemetry@0.1.0'; send('{\"a\":\"\\ud83d\"}', '\\ude00', 'buffered');",
            "sent on \u{fffd}: {\"a\":\"\u{fffd}\"}",
        ),
        (
            "keys of the state",
            "state.set('k\\ud83d', '\\ud83d'); log(state.keys(), state.get('k\\ud83e'));",
            "[\"k\u{fffd}\"] \u{d7ff}".replace('\u{d7ff}', "\u{fffd}").leak(),
        ),
        (
            "an error's text",
            "throw new Error('\\ud83d!');",
            "error: Error: \u{fffd}!\n  at <anonymous> (main.js:1:11)\n! failed: Error: \u{fffd}! at <anonymous> (main.js:1:11)",
        ),
        (
            "a function's name",
            "const o = { ['f\\ud83d']() { throw new Error('x'); } }; o['f\\ud83d']();",
            "error: Error: x\n  at f\u{fffd} (main.js:1:39)\n  at <anonymous> (main.js:1:55)\n! failed: Error: x at f\u{fffd} (main.js:1:39)",
        ),
        (
            "a fault",
            "throw new Fault('busy', '\\ud83d');",
            "error: Fault: \u{fffd}\n  at <anonymous> (main.js:1:11)\n! busy",
        ),
    ]);
}

#[test]
fn commands_and_reasons_arrive_whole() {
    let mut script = Setup::new(
        "commands['größe😀'] = (c) => log(c['größe😀'].text, c['größe😀'].text.length);
         function shutdown(reason) { log(reason); }",
    )
    .start();
    assert!(script.handle("größe😀", "{\"text\":\"漢😀\"}"));
    assert!(script.handle("größe😀", "{\"text\":\"\\ud83d\"}"));
    assert!(script.shutdown("schluß 😀"));
    assert_eq!(script.output(), "漢😀 3\n\u{fffd} 1\nschluß 😀\n");
}

#[test]
fn the_language_knows_unicode() {
    check(&[
        (
            "code points",
            "log('😀'.codePointAt(0).toString(16), String.fromCodePoint(0x1f600));",
            "1f600 😀",
        ),
        ("iteration", "log([...'a😀b'].length, 'a😀b'.length);", "3 4"),
        (
            "isWellFormed",
            "log('a'.isWellFormed(), '\\ud83d'.isWellFormed(), '\\ud83d'.toWellFormed());",
            "true false \u{fffd}",
        ),
        (
            "normalize",
            "log('e\\u0301'.normalize('NFC').length, 'é'.normalize('NFD').length);",
            "1 2",
        ),
        (
            "case",
            "log('straße'.toUpperCase(), 'ΣΑΣ'.toLowerCase(), 'İ'.toLowerCase().length);",
            "STRASSE σας 2",
        ),
        (
            "identifiers",
            "const größe = 1, \\u0061b = 2; log(größe + ab);",
            "3",
        ),
        (
            "regular expressions",
            "log(/^\\p{L}+$/u.test('größe'), /^.$/u.test('😀'), /^.$/.test('😀'));",
            "true true false",
        ),
        (
            "encodeURIComponent",
            "log(encodeURIComponent('ü😀'), decodeURIComponent('%C3%BC'));",
            "%C3%BC%F0%9F%98%80 ü",
        ),
        (
            "encodeURIComponent of a half",
            "try { encodeURIComponent('\\ud83d'); } catch (e) { log(e.name); }",
            "URIError",
        ),
        (
            "JSON",
            "log(JSON.stringify('\\ud83d😀'), JSON.parse('\"\\\\ud83d\\\\ude00\"'));",
            "\"\\ud83d😀\" 😀",
        ),
        (
            "localeCompare and sort",
            "log(['b', 'ä', 'a'].sort());",
            "[\"a\",\"b\",\"ä\"]",
        ),
        (
            "padStart, at, replaceAll",
            "log('5'.padStart(3, '0'), 'abc'.at(-1), 'a-b-c'.replaceAll('-', '+'));",
            "005 c a+b+c",
        ),
        (
            "template literals",
            "const tag = (s, ...v) => s.raw.join('|') + v; log(tag`a\\n${1}b`);",
            "a\\n|b1",
        ),
    ]);
}
