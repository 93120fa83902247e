//! Values at the border to the device: hostile objects, and a language that the script has changed.

use crate::host::{Setup, check};

#[test]
fn proxies_and_getters_are_only_objects() {
    check(&[
        (
            "a proxy as payload",
            "send_msg(new Proxy({ a: 1 }, { get(t, k) { log('get', k); return t[k]; } }));",
            "get toJSON\nget a\nsent: {\"a\":1}",
        ),
        (
            "a getter that throws",
            "send_msg({ get a() { throw new Error('no'); } });",
            "error: Error: no\n  at get a (main.js:1:32)\n  at <anonymous> (main.js:1:1)\n! failed: Error: no at get a (main.js:1:32)",
        ),
        (
            "a proxy as options",
            "send_msg({}, new Proxy({}, { get(t, k) { return k === 'channel' ? 'c' : true; } }));",
            "sent on c durably: {}",
        ),
        (
            "a revoked proxy",
            "const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); try { send_msg(proxy); } catch (e) { log(e.name); }",
            "TypeError",
        ),
        (
            "a list that is a proxy",
            "import { set, get } from 'iottly:firmware/state@0.1.0'; set('k', new Proxy([1, 2, 3], {})); log([...get('k')]);",
            "[1,2,3]",
        ),
        (
            "a list that shrinks while it is read",
            "import { set } from 'iottly:firmware/state@0.1.0'; const a = [1, 2, 3]; Object.defineProperty(a, 0, { get() { a.length = 1; return 1; } }); try { set('k', a); } catch (e) { log(e.message); }",
            "value is not a number",
        ),
        (
            "a list with a length of its own",
            "import { set } from 'iottly:firmware/state@0.1.0'; for (const length of [2 ** 40, -1, NaN, '2', { valueOf() { throw new Error('v'); } }]) try { set('k', { length, 0: 1, 1: 2 }); log('set', length); } catch (e) { log(e.message); }",
            "value has too many elements\nset -1\nset NaN\nset 2\nv",
        ),
        (
            "a buffer that is detached",
            "import { set, get } from 'iottly:firmware/state@0.1.0'; const u = new Uint8Array([1]); u.buffer.transfer(); try { set('k', u); log(get('k').length); } catch (e) { log(e.name); }",
            "TypeError",
        ),
        (
            "a typed array of another kind",
            "import { set, get } from 'iottly:firmware/state@0.1.0'; set('k', new Uint16Array([1, 255])); log([...get('k')]); try { set('k', new Uint16Array([256])); } catch (e) { log(e.message); }",
            "[1,255]\nvalue is not a whole number from 0 to 255",
        ),
        (
            "words and truths",
            "import { send } from 'iottly:firmware/telemetry@0.1.0'; for (const word of ['loud', '', 'durable\\0', 5, null, { toString() { return 'durable'; } }]) try { send('{}', undefined, word); } catch (e) { log(e.message); }",
            "durability is not one of its words\ndurability is not one of its words\ndurability is not one of its words\ndurability is not one of its words\ndurability is not one of its words\ndurability is not one of its words",
        ),
        (
            "texts are not made from other values",
            "import { write } from 'iottly:firmware/log@0.1.0'; for (const t of [5, null, { toString() { return 't'; } }, Symbol('s'), ['a']]) try { write('info', t); } catch (e) { log(e.message); }",
            "text is not a text\ntext is not a text\ntext is not a text\ntext is not a text\ntext is not a text",
        ),
        (
            "too few and too many arguments",
            "import { write } from 'iottly:firmware/log@0.1.0'; import { cancel } from 'iottly:firmware/timers@0.1.0'; try { write(); } catch (e) { log(e.message); } cancel(1, 2, 3);",
            "level is not one of its words\ntimer 1 cancelled",
        ),
        (
            "the prelude shows any value",
            "const o = {}; o.o = o; log('a', 1, { b: [2] }, null, undefined, o, Symbol('s'), () => 1, 5n, new Proxy({}, {}), Object.create(null));",
            "a 1 {\"b\":[2]} null undefined [object Object] Symbol(s) () => 1 5 {} {}",
        ),
        (
            "values that cannot be shown",
            "log({ toJSON() { throw 1; }, toString() { throw 2; } }, new Proxy({}, { get() { throw 3; } }));",
            "[object] [object]",
        ),
        (
            "options of other types",
            "for (const o of [5, true, [], null, Symbol('x')]) try { send_msg({}, o); } catch (e) { log(e.name); }",
            "sent: {}\nsent: {}\nsent: {}\nsent: {}\nsent: {}",
        ),
        (
            "a channel that is not a text",
            "try { send_msg({}, { channel: 5 }); } catch (e) { log(e.message); }",
            "send_msg takes a text as the channel, not number",
        ),
        (
            "payloads that are not objects",
            "for (const p of [null, [], 'x', 5, undefined, () => {}]) try { send_msg(p); } catch (e) { log(e.message); }",
            "send_msg takes an object, not null\nsend_msg takes an object, not an array\nsend_msg takes an object, not string\nsend_msg takes an object, not number\nsend_msg takes an object, not undefined\nsend_msg takes an object, not function",
        ),
        (
            "a payload that JSON makes nothing of",
            "try { send_msg({ toJSON() {} }); } catch (e) { log(e.message); }",
            "send_msg takes an object that JSON can hold",
        ),
        (
            "hardware that the manifest does not name",
            "for (const f of [() => gpio.output('x'), () => i2c.open, () => adc.open('a')]) try { f(); } catch (e) { log(e.tag, e.message); }",
            "denied gpio: firmware.toml names no label of it, see [capabilities]\ndenied i2c: firmware.toml names no label of it, see [capabilities]\ndenied adc: firmware.toml names no label of it, see [capabilities]",
        ),
    ]);
}

/// Changes of the language that a script makes before it uses the device.
const SABOTAGE: [(&str, &str); 9] = [
    (
        "methods of Array",
        "for (const k of Object.getOwnPropertyNames(Array.prototype)) if (k !== 'length') Array.prototype[k] = () => { throw new Error('array ' + k); }; Array.prototype[Symbol.iterator] = () => { throw new Error('iterator'); };",
    ),
    (
        "methods of String",
        "for (const k of Object.getOwnPropertyNames(String.prototype)) if (k !== 'length') String.prototype[k] = () => { throw new Error('string ' + k); };",
    ),
    (
        "methods of Object",
        "for (const k of ['hasOwnProperty', 'toString', 'valueOf']) Object.prototype[k] = () => { throw new Error('object ' + k); }; for (const k of Object.getOwnPropertyNames(Object)) if (typeof Object[k] === 'function') Object[k] = () => { throw new Error('Object.' + k); };",
    ),
    (
        "methods of Function",
        "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('function'); };",
    ),
    (
        "JSON, Math, Reflect, Promise",
        "for (const o of [JSON, Math, Reflect, Promise.prototype]) for (const k of Object.getOwnPropertyNames(o)) if (typeof o[k] === 'function') try { o[k] = () => { throw new Error('static ' + k); }; } catch {}",
    ),
    (
        "regular expressions and maps",
        "for (const p of [RegExp.prototype, Map.prototype, Set.prototype]) for (const k of Reflect.ownKeys(p)) { const d = Object.getOwnPropertyDescriptor(p, k); if (d.configurable) Object.defineProperty(p, k, { get() { throw new Error('p'); } }); }",
    ),
    (
        "setters on Object.prototype and Array.prototype",
        "for (const k of ['tag', 'val', 'name', 'values', 'f', 'owner', 'stack_', 'code', 'channel', 'durable']) for (const p of [Object.prototype, Array.prototype]) Object.defineProperty(p, k, { set() { throw new Error('setter ' + k); }, get() { return undefined; }, configurable: true });",
    ),
    (
        "globals",
        "for (const k of ['String', 'Number', 'Error', 'TypeError', 'Uint8Array', 'Map', 'JSON', 'Math', 'Date', 'Symbol', 'Object', 'Array', 'log', 'Fault', 'Proxy', 'Reflect', 'RegExp']) globalThis[k] = undefined;",
    ),
    (
        "typed arrays",
        "const T = Object.getPrototypeOf(Uint8Array); for (const p of [T.prototype, Uint8Array.prototype]) for (const k of Reflect.ownKeys(p)) { const d = Object.getOwnPropertyDescriptor(p, k); if (d.configurable && k !== 'constructor') Object.defineProperty(p, k, { get() { throw new Error('t'); }, configurable: true }); }",
    ),
];

#[test]
fn a_changed_language_does_not_break_the_border() {
    for (name, change) in SABOTAGE {
        let mut script = Setup::new(&format!(
            "const say = log, send = send_msg, later = setTimeout, E = Error, store = state, F = Fault;
             {change}
             export function init() {{ say('init', 1, {{ a: [1, 2] }}); later((a) => say('timer', a), 5, 'x'); }}
             export function ping(c) {{ send(c, 'c'); store.set('k', {{ v: 'ü' }}); say(store.get('k').v); }}
             export function wrong() {{ null.x; }}
             export function refused() {{ throw new F('denied', 'not you'); }}
             export function loop() {{ return 7; }}"
        ))
        .start();
        script.event(1);
        script.handle("ping", "{\"n\":[1,{\"a\":2}]}");
        script.handle("wrong", "{}");
        script.handle("refused", "{}");
        script.handle("absent", "{}");
        assert_eq!(script.tick(), Some(7), "{name}: {}", script.output());
        assert_eq!(
            script.output(),
            "init 1 {\"a\":[1,2]}\ntimer 1 in 5 ms\ntimer x\nsent on c: {\"ping\":{\"n\":[1,{\"a\":2}]}}\nü\n\
             error: TypeError: cannot read property 'x' of null\n  at wrong (main.js:5:40)\n\
             ! failed: TypeError: cannot read property 'x' of null at wrong (main.js:5:40)\n\
             error: Fault: not you\n  at refused (main.js:6:52)\n! denied: not you\n\
             ! unsupported: no handler for \"absent\"\n",
            "{name}"
        );
    }
}
