//! Arbitrary scripts: calls of the device with hostile values, and changed pieces of the other tests' scripts.

use std::fmt::Write as _;

use super::answers::text;
use super::random::Random;
use super::surface::Surface;

/// Begin of every script that is made here: values that calls returned are kept, so that later ones find them.
const HEAD: &str = "const pool = []; const pick = (n) => pool[n % (pool.length || 1)];
const keep = (f) => { try { const v = f(); if (pool.length < 99) pool.push(v); return v; } catch (e) { log(e); } };\n";

/// Values that the glue and the prelude may meet. `#` becomes another value, `@` a statement, `~` a word of the world.
const VALUES: [&str; 48] = [
    "undefined",
    "null",
    "true",
    "-0",
    "NaN",
    "Infinity",
    "0.5",
    "2 ** 53",
    "-(2 ** 31) - 1",
    "4294967295",
    "5n",
    "Symbol('s')",
    "''",
    "'a\\0b'",
    "'\\ud83d'",
    "'ü😀\\udc00'",
    "'x'.repeat(100000)",
    "'label'",
    "'~'",
    "'~'",
    "'~'",
    "{ tag: '~', val: # }",
    "{ tag: '~', val: # }",
    "{ get tag() { @ return '~'; }, get val() { @ return #; } }",
    "{ baud: #, parity: '~', stopBits: # }",
    "{ get baud() { @ return 9600; }, parity: 'none', stopBits: 1 }",
    "[]",
    "[#]",
    "[#, #, #]",
    "[1, , 3]",
    "{ length: #, 0: # }",
    "{ get length() { @ return 3; }, 0: 1, 1: 2, 2: 3 }",
    "{ length: 16777216 }",
    "{ valueOf() { @ return 7; }, toString() { @ return 'label'; } }",
    "{ [Symbol.toPrimitive]() { throw #; } }",
    "new Uint8Array([1, 2, 255])",
    "new Uint8Array(100000)",
    "(() => { const u = new Uint8Array([1]); u.buffer.transfer(); return u; })()",
    "(() => { const b = new ArrayBuffer(8, { maxByteLength: 16 }); const u = new Uint8Array(b, 4); b.resize(#); return u; })()",
    "new Uint16Array([1, 256])",
    "new BigInt64Array(2)",
    "new Proxy([1, 2], {})",
    "new Proxy({}, { get(t, k) { @ return #; } })",
    "new Proxy(() => {}, { get() { throw #; }, apply() { @ return #; }, getPrototypeOf() { throw #; } })",
    "(() => { const { proxy, revoke } = Proxy.revocable([], {}); revoke(); return proxy; })()",
    "(() => { const a = [1, 2, 3]; Object.defineProperty(a, 0, { get() { a.length = 1; @ return 1; } }); return a; })()",
    "((a) => { @ return #; })",
    "Object.create(null, { then: { get() { @ return #; } } })",
];

/// Values that contain no other.
const SIMPLE: [&str; 6] = ["1", "'a'", "[]", "{}", "undefined", "pick(3)"];

/// Statements; `#`, `@` and `~` as in [`VALUES`].
const STATEMENTS: [&str; 40] = [
    "keep(() => #);",
    "keep(() => send_msg(#, #));",
    "keep(() => send_msg({ a: # }, { channel: #, durable: # }));",
    "keep(() => log(#, #));",
    "keep(() => log.warn(#));",
    "keep(() => state.set(#, #));",
    "keep(() => state.get(#, #));",
    "keep(() => state.keys(#));",
    "keep(() => config.get(#));",
    "keep(() => [config.version, identity.device, identity.board]);",
    "keep(() => gpio.output(#, #));",
    "keep(() => gpio.input(#, '~'));",
    "keep(() => { const p = gpio.input('a'); p.onChange(#); p.onRising((v) => { @ }); return p; });",
    "keep(() => i2c.open('bus').transaction(#, [#, #]));",
    "keep(() => i2c.open(#).writeRead(#, #, #));",
    "keep(() => spi.open('dev').transfer(#));",
    "keep(() => spi.open('dev').writeRead(#, #));",
    "keep(() => { const p = uart.open('port', #); p.onData((b) => { @ }); p.write(#); return p.read(#); });",
    "keep(() => pwm.open('fan', #).duty(#));",
    "keep(() => adc.open('in').read());",
    "keep(() => setTimeout(#, #));",
    "keep(() => setTimeout(() => { @ }, #, #));",
    "keep(() => setInterval(() => { @ }, 5));",
    "keep(() => clearTimeout(#));",
    "keep(() => pick(1).close());",
    "keep(() => pick(2)[Symbol.dispose]());",
    "keep(() => { pool.length = 0; });",
    "keep(() => Promise.reject(#));",
    "keep(() => Promise.resolve(#).then((v) => { @ }).finally(() => { @ }));",
    "keep(() => (async () => { await #; @ throw #; })());",
    "keep(() => { throw new Fault(#, #); });",
    "keep(() => { const e = new Error(#, { cause: # }); e.stack = 'at x (main.js:1:1)\\n'.repeat(50) + #; throw e; });",
    "keep(() => { const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { @ return #; } }); throw e; });",
    "keep(() => { Error.prepareStackTrace = (e, s) => { @ return #; }; });",
    "keep(() => { Object.defineProperty(Object.prototype, '~', { set(v) { @ }, get() { @ return #; }, configurable: true }); });",
    "keep(() => { for (const k of ['tag', 'val', 'length', '0', 'then', 'stack']) Object.defineProperty(Array.prototype, k, { get() { return #; }, configurable: true }); });",
    "keep(() => new FinalizationRegistry((v) => { @ }).register({}, #));",
    "keep(() => JSON.parse(JSON.stringify(#), (k, v) => { @ return v; }));",
    "keep(() => [...Array(50)].map(() => #));",
    "keep(() => import('./other.js').then((m) => m.f(#)));",
];

/// Ways to put a piece of a script somewhere else; `$` is the piece.
const WRAPS: [&str; 9] = [
    "try { $ } catch (e) { log(e); }",
    "(async () => { $ })();",
    "for (let i = 0; i < 3; i++) { $ }",
    "function init() { $ }",
    "function* g() { yield 1; $ } for (const v of g()) log(v);",
    "class A { static { $ } }",
    "setTimeout(() => { $ }, 1);",
    "Promise.resolve().then(() => { $ });",
    "new Proxy({}, { get() { $ } }).x;",
];

/// Tokens that a piece may get.
const TOKENS: [&str; 32] = [
    "await",
    "yield",
    "async",
    "function",
    "=>",
    "...",
    "new",
    "class",
    "super",
    "this",
    "arguments",
    "eval",
    "delete",
    "in",
    "of",
    "try",
    "finally",
    "return",
    "throw",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "`${",
    "/",
    "?.",
    "??=",
    "using",
    "#x",
    "import.meta",
];

/// Writes scripts.
pub(super) struct Author<'a> {
    pub(super) surface: &'a Surface,
    pub(super) pieces: &'a [String],
}

impl Author<'_> {
    pub(super) fn script(&self, random: &mut Random) -> String {
        match random.below(8) {
            0..=3 => self.calls(random),
            4 => {
                let piece = self.piece(random);
                let calls = self.calls(random);
                format!("{piece}\n{calls}")
            }
            _ => self.piece(random),
        }
    }

    /// Writes calls of everything that the device offers.
    fn calls(&self, random: &mut Random) -> String {
        let mut script = String::new();
        for (at, (interface, _)) in self.surface.interfaces.iter().enumerate() {
            let _ = writeln!(script, "import * as i{at} from '{interface}';");
        }
        script.push_str(HEAD);
        for _ in 0..random.below(12) {
            script.push_str(&self.statement(random, 3));
            script.push('\n');
        }
        for function in ["init", "loop", "health", "shutdown", "act"] {
            if random.once_in(2) {
                let statements: String = (0..random.below(4)).map(|_| self.statement(random, 3)).collect();
                let value = self.value(random, 2);
                let _ = writeln!(
                    script,
                    "function {function}(v) {{ {statements} return {value}; }}"
                );
            }
        }
        script
    }

    fn statement(&self, random: &mut Random, depth: usize) -> String {
        let list = |random: &mut Random, count: usize| {
            // Now and then one too few or one too many.
            let count = match random.below(16) {
                0 => count.saturating_sub(1),
                1 => count + 1,
                _ => count,
            };
            let values: Vec<_> = (0..count).map(|_| self.value(random, depth)).collect();
            values.join(", ")
        };
        match random.below(4) {
            0 => {
                let at = random.below(self.surface.interfaces.len());
                let functions = &self.surface.interfaces[at].1;
                if functions.is_empty() {
                    return String::new();
                }
                let (name, count) = random.of(functions);
                format!("keep(() => i{at}.{name}({}));", list(random, *count))
            }
            1 => {
                let (name, count) = random.of(&self.surface.methods);
                let (object, other) = (random.below(9), random.below(9));
                let values = list(random, *count);
                match random.below(4) {
                    0 => format!("keep(() => pick({object}).{name}.call(pick({other}), {values}));"),
                    1 => format!("keep(() => new (pick({object}).{name})({values}));"),
                    _ => format!("for (const o of [...pool]) keep(() => o.{name}({values}));"),
                }
            }
            _ => {
                let at = random.below(STATEMENTS.len());
                self.filled(random, STATEMENTS[at], depth)
            }
        }
    }

    fn value(&self, random: &mut Random, depth: usize) -> String {
        match random.below(10) {
            0 => format!("pick({})", random.below(9)),
            1 => random.below(300).to_string(),
            2 => format!("{:?}", text(random)),
            _ => {
                let at = random.below(VALUES.len());
                format!("({})", self.filled(random, VALUES[at], depth))
            }
        }
    }

    /// Fills a pattern; values that nest too deep become simple ones.
    fn filled(&self, random: &mut Random, pattern: &str, depth: usize) -> String {
        let mut text = String::new();
        for letter in pattern.chars() {
            match letter {
                '#' if depth == 0 => text.push_str(SIMPLE[random.below(SIMPLE.len())]),
                '#' => text.push_str(&self.value(random, depth - 1)),
                '@' if depth == 0 => {}
                '@' => text.push_str(&self.statement(random, depth - 1)),
                '~' => text.push_str(&self.surface.words[random.below(self.surface.words.len())]),
                other => text.push(other),
            }
        }
        text
    }

    /// Returns a piece of another test's script, changed.
    fn piece(&self, random: &mut Random) -> String {
        let mut piece = random.of(self.pieces).clone();
        for _ in 0..random.below(5) {
            piece = match random.below(4) {
                0 => WRAPS[random.below(WRAPS.len())].replace('$', &piece),
                1 => format!("{piece}\n{}", random.of(self.pieces)),
                2 => format!("eval({piece:?});"),
                _ => self.changed(random, &piece),
            };
        }
        piece
    }

    /// Changes a few tokens of a script.
    fn changed(&self, random: &mut Random, script: &str) -> String {
        let other = tokens(&self.pieces[random.below(self.pieces.len())]);
        let mut tokens = tokens(script);
        for _ in 0..=random.below(3) {
            if tokens.is_empty() {
                break;
            }
            let at = random.below(tokens.len());
            match random.below(6) {
                0 => drop(tokens.remove(at)),
                1 => tokens.insert(at, tokens[random.below(tokens.len())].clone()),
                2 => {
                    let with = random.below(tokens.len());
                    tokens.swap(at, with);
                }
                3 => tokens.insert(at, format!(" {} ", TOKENS[random.below(TOKENS.len())])),
                4 => tokens[at] = self.value(random, 2),
                _ => {
                    let from = random.below(other.len().max(1)).min(other.len());
                    let until = (from + random.below(12)).min(other.len());
                    tokens.splice(at..at, other[from..until].iter().cloned());
                }
            }
        }
        tokens.concat()
    }
}

/// Cuts a script into words, spaces and single signs.
fn tokens(script: &str) -> Vec<String> {
    let kind = |letter: char| match letter {
        letter if letter.is_alphanumeric() || letter == '_' || letter == '$' => 0,
        letter if letter.is_whitespace() => 1,
        _ => 2,
    };
    let mut tokens: Vec<String> = Vec::new();
    let mut before = 2;
    for letter in script.chars() {
        let this = kind(letter);
        match tokens.last_mut() {
            Some(last) if this == before && this != 2 => last.push(letter),
            _ => tokens.push(letter.into()),
        }
        before = this;
    }
    tokens
}
