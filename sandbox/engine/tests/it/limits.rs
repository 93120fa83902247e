//! Scripts that take too much: of the stack, of time, of memory. Each ends as it is meant to, and none traps otherwise.

use crate::host::{Setup, check};

#[test]
fn endless_recursion_is_a_range_error_with_its_place() {
    check(&[
        (
            "uncaught",
            "function deeper(n) {\n  return deeper(n + 1) + 1;\n}\nfunction init() { deeper(0); }",
            concat!(
                "error: RangeError: Maximum call stack size exceeded\n  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n",
                "  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n",
                "  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n  at deeper (main.js:2:21)\n",
                "! failed: RangeError: Maximum call stack size exceeded at deeper (main.js:2:21)"
            ),
        ),
        (
            "caught, and the script runs on",
            "function deeper() { return deeper() + 1; } let caught; try { deeper(); } catch (e) { caught = e; } log(caught instanceof RangeError); Promise.resolve().then(() => log('on'));",
            "true\non",
        ),
        (
            "deep enough for authors",
            "function down(n) { return n ? down(n - 1) + 1 : 0; } log(down(400));",
            "400",
        ),
    ]);
}

/// Each recursion ends in a RangeError, or comes through; the stack of WebAssembly never overflows.
#[test]
fn no_recursion_overflows_the_stack() {
    let kinds = [
        "function f() { return f() + 1; } f();",
        "const f = () => f() + 1; f();",
        "function f(...a) { return f(...a, 1); } f();",
        "function f() { return f.apply(this, arguments); } f(1, 2, 3);",
        "function f() { return f.call(this); } f();",
        "const f = function () { return Reflect.apply(f, null, []) + 1; }; f();",
        "function f() { return new f(); } new f();",
        "class A { constructor() { new A(); } } new A();",
        "class A { constructor() { this.x = new this.constructor(); } } class B extends A { constructor() { super(); } } new B();",
        "const o = { get x() { return this.x + 1; } }; o.x;",
        "const o = { set x(v) { this.x = v; } }; o.x = 1;",
        "const o = { toString() { return `${this}`; } }; `${o}`;",
        "const o = { valueOf() { return +this; } }; +o;",
        "const o = { [Symbol.toPrimitive]() { return this + 1; } }; o + 1;",
        "const o = { toJSON() { return JSON.stringify(this); } }; JSON.stringify(o);",
        "let o = {}; for (let i = 0; i < 100000; i++) o = { o }; JSON.stringify(o);",
        "let a = []; for (let i = 0; i < 100000; i++) a = [a]; JSON.stringify(a);",
        "JSON.parse('['.repeat(100000) + ']'.repeat(100000));",
        "JSON.parse('{\"a\":'.repeat(100000) + '1' + '}'.repeat(100000));",
        "JSON.parse('[[1]]', function f(k, v) { return JSON.parse('[[1]]', f); });",
        "let a = []; for (let i = 0; i < 100000; i++) a = [a]; a.flat(Infinity);",
        "let a = []; for (let i = 0; i < 100000; i++) a = [a]; String(a);",
        "let a = []; for (let i = 0; i < 100000; i++) a = [a]; a.join();",
        "const a = []; a[0] = a; a.flat(Infinity);",
        "const f = () => [1].map(f); f();",
        "const f = () => [1].forEach(f); f();",
        "const f = () => [2, 1].sort(f); f();",
        "const f = () => [1].reduce(f, 0); f();",
        "const f = () => Array.from([1], f); f();",
        "const f = () => 'a'.replace(/a/, f); f();",
        "const f = () => 'a'.replaceAll('a', f); f();",
        "const f = () => new Map([[1, 1]]).forEach(f); f();",
        "const f = () => new Uint8Array(1).map(f); f();",
        "const f = () => new Uint8Array(2).sort(f); f();",
        "const f = () => Object.groupBy([1], f); f();",
        "function* g() { yield* g(); } g().next();",
        "function* g() { for (const v of g()) yield v; } [...g()];",
        "const o = { *[Symbol.iterator]() { yield [...this]; } }; [...o];",
        "async function f() { await f(); } f();",
        "async function f() { return f(); } f().catch(() => {});",
        "eval('('.repeat(100000) + '1' + ')'.repeat(100000));",
        "eval('['.repeat(100000));",
        "eval('{'.repeat(100000));",
        "eval('a?'.repeat(100000));",
        "eval('-'.repeat(2) + '+-'.repeat(100000) + '1');",
        "eval('!'.repeat(100000) + '1');",
        "eval('a=>'.repeat(100000) + '1');",
        "eval('a='.repeat(100000) + '1');",
        "eval('1+'.repeat(100000) + '1');",
        "eval('2**'.repeat(100000) + '1');",
        "eval('function f(){'.repeat(20000));",
        "eval('`${'.repeat(50000));",
        "eval('if(1)'.repeat(100000) + ';');",
        "eval('a:'.repeat(5000) + ';');",
        "eval('for(;0;)'.repeat(50000) + ';');",
        "eval('class a extends '.repeat(20000));",
        "eval('[' .repeat(50000) + ']'.repeat(50000) + '=1');",
        "eval('new '.repeat(100000) + 'f');",
        "eval('typeof '.repeat(100000) + '1');",
        "eval('async()=>'.repeat(20000) + '1');",
        "eval('({a:'.repeat(50000));",
        "eval('x' + '.a'.repeat(100000));",
        "const f = () => eval('f()'); f();",
        "const f = () => new Function('f', 'f()')(f); f();",
        "new RegExp('('.repeat(100000) + ')'.repeat(100000));",
        "new RegExp('(?:'.repeat(100000) + ')'.repeat(100000));",
        "new RegExp('(?='.repeat(100000) + ')'.repeat(100000));",
        "new RegExp('['.repeat(20000), 'v');",
        "new RegExp('(a|'.repeat(10000) + ')'.repeat(10000)).test('a');",
        "/(?:a|b)*c/.test('ab'.repeat(100000));",
        "/(a*)*b/.test('a'.repeat(25));",
        "let p = {}; for (let i = 0; i < 100000; i++) p = Object.create(p); p.missing;",
        "let p = new Proxy({}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); p.x;",
        "let p = new Proxy({}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); p.x = 1;",
        "let p = new Proxy({}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); Object.keys(p);",
        "let p = new Proxy({}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); 'x' in p;",
        "let p = new Proxy([], {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); Array.isArray(p);",
        "let p = new Proxy(() => {}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); p();",
        "let p = new Proxy({}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); Object.getPrototypeOf(p);",
        "let p = new Proxy({}, {}); for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); p instanceof Object;",
        "const p = new Proxy({}, { get(t, k, r) { return r[k]; } }); p.x;",
        "const p = new Proxy({}, { has(t, k) { return k in p; } }); 'x' in p;",
        "const p = new Proxy({}, { ownKeys() { return Object.keys(p); } }); Object.keys(p);",
        "let f = () => {}; for (let i = 0; i < 100000; i++) f = f.bind(null); f();",
        "let f = class {}; for (let i = 0; i < 100000; i++) f = f.bind(null); new f();",
        "let f = () => {}; for (let i = 0; i < 100000; i++) f = f.bind(null); ({}) instanceof f;",
        "let s = 'a'; for (let i = 0; i < 100000; i++) s = s + i; s.length; s.charCodeAt(5);",
        "let s = 'a'; for (let i = 0; i < 100000; i++) s = i + s; s.indexOf('zzz');",
        "let e = new Error('x'); for (let i = 0; i < 10000; i++) e = new Error('x', { cause: e }); log(String(e));",
        "const e = new Error('x'); Object.defineProperty(e, 'message', { get() { return String(e); } }); String(e);",
        "Error.prepareStackTrace = () => new Error('again').stack; new Error('x').stack;",
        "const o = { get tag() { throw o; } }; throw o;",
        "const f = () => { try { f(); } finally { f(); } }; f();",
        "const f = () => { try { f(); } catch (e) { f(); } }; f();",
        "const o = { get then() { return Promise.resolve(o); } }; Promise.resolve(o);",
        "const o = { then(r) { r(o); } }; let n = 0; const q = { then(r) { if (++n < 10000) r(q); else r(1); } }; Promise.resolve(q);",
        "let p = Promise.resolve(); for (let i = 0; i < 50000; i++) p = p.then(() => {});",
        "let o = null; for (let i = 0; i < 200000; i++) o = { o }; o = null;",
        "let f = null; for (let i = 0; i < 100000; i++) { const g = f; f = () => g; } f = null;",
        "let m = new Map(); for (let i = 0; i < 100000; i++) m = new Map([[m, m]]); m = null;",
        "const it = { [Symbol.iterator]() { return this; }, next() { return [...this]; } }; [...it];",
        "const x = { [Symbol.species]: Array, constructor: null }; const a = []; a.constructor = { get [Symbol.species]() { return a.map(() => 1); } }; a.map(() => 1);",
        "const d = new Date(); d.toISOString = () => d.toJSON(); JSON.stringify(d);",
        "const r = /a/; r.exec = () => r.test('a'); r.test('a');",
        "function f() { send_msg({ get x() { return f(); } }); } f();",
        "function f() { log({ toJSON: f }); } f();",
        "function f(n) { setTimeout({ valueOf: f }, { valueOf: f }); f(); } f();",
    ];
    let mut wrong = String::new();
    for kind in kinds {
        for depth in [
            "",
            "function dive(n) { if (n) dive(n - 1); else body(); } function body() { BODY } dive(150);",
        ] {
            let body = if depth.is_empty() {
                kind.to_owned()
            } else {
                depth.replace("BODY", kind)
            };
            let mut script = Setup::new(&format!("{body}\nlog('end');")).budget(700).start();
            let output = script.output();
            if output.contains("# trap") && !output.contains("interrupt") {
                wrong.push_str(&format!(
                    "{body}\n{}\n",
                    &output[output.find("# trap").unwrap()..]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn endless_loops_end_with_their_place() {
    for (script, expected) in [
        (
            "function spin() {\n  for (;;) {}\n}\nfunction init() {\n  spin();\n}",
            "# stopped: spin (main.js:2:12), init (main.js:5:3)\n",
        ),
        ("for (;;) {}", "# stopped: <anonymous> (main.js:1:10)\n"),
        (
            "function init() { try { for (;;) {} } catch { log('caught'); } finally { log('finally'); } }",
            "# stopped: init (main.js:1:35)\n",
        ),
        (
            "while (true) Math.sin(1);",
            "# stopped: <anonymous> (main.js:1:14)\n",
        ),
        (
            "const f = () => { f2(); }; function f2() { for (;;) f3(); } function f3() {} f();",
            "# stopped: f2 (main.js:1:53), f (main.js:1:19), <anonymous> (main.js:1:78)\n",
        ),
        (
            "function init() {\n  /^(a+)+$/.test('a'.repeat(40) + 'b');\n}",
            "# stopped: init (main.js:2:13)\n",
        ),
        (
            "'x'.repeat(30).match(/(x+x+)+y/);",
            "# stopped: <anonymous> (main.js:1:16)\n",
        ),
        (
            "function* g() { for (;;) yield 1; }\nfor (const v of g());",
            "# stopped: g (main.js:1:26), <anonymous> (main.js:2:1)\n",
        ),
        (
            "[3, 2, 1].sort(() => { for (;;); });",
            "# stopped: <anonymous> (main.js:1:28), <anonymous> (main.js:1:11)\n",
        ),
        (
            "Error.stackTraceLimit = 0; for (;;) {}",
            "# stopped: <anonymous> (main.js:1:37)\n",
        ),
        (
            "Error.prepareStackTrace = () => { for (;;); }; new Error('x').stack;",
            "# stopped: <anonymous> (main.js:1:39), <anonymous> (main.js:1:48)\n",
        ),
        (
            "Object.defineProperty(Error.prototype, 'stack', { get() { return 'no'; } }); for (;;) {}",
            "# stopped: <anonymous> (main.js:1:88)\n",
        ),
        (
            "import { for_ever } from './lib/x.js'; for_ever();",
            "# stopped: for_ever (lib/x.js:2:12), <anonymous> (main.js:1:40)\n",
        ),
    ] {
        let output = Setup::new(script)
            .file("lib/x.js", "export function for_ever() {\n  for (;;) {}\n}")
            .budget(300)
            .start()
            .output();
        let (found, wanted) = (without_columns(&output), without_columns(expected));
        assert_eq!(found, wanted, "{script}\n{output}");
    }
}

/// The only jump of each of these loops is the one that ends it.
#[test]
fn a_loop_has_its_line_and_column() {
    for (script, place) in [
        ("let a;\nlet b = log;\n  for (;;) {}", "<anonymous> (main.js:3:3)"),
        (
            "let a = 1;\nif (a)\n  while (true) ;",
            "<anonymous> (main.js:3:9)",
        ),
        ("let a = 1;\ndo ; while (a);", "<anonymous> (main.js:2:13)"),
        (
            "const f = () => {\n  let a;\n\n    for (;;) ;\n};\nf();",
            "f (main.js:4:5)",
        ),
        (
            "let n = 0;\nlog('x');\nfor (;;\n  n++) ;",
            "<anonymous> (main.js:4:3)",
        ),
    ] {
        let output = Setup::new(script).budget(150).start().output();
        let place = format!("# stopped: {place}");
        let found = output
            .lines()
            .find(|line| line.starts_with("# "))
            .unwrap_or(&output);
        assert!(found.starts_with(&place), "{script}\n{place}\n{output}");
    }
}

/// Removes the numbers of columns: the jump of a line that was the last one is chance.
fn without_columns(text: &str) -> String {
    let mut plain = String::new();
    for part in text.split(')') {
        match part.rsplit_once(':') {
            Some((before, column)) if column.parse::<u32>().is_ok() => {
                plain.push_str(before);
                plain.push_str(":C)");
            }
            _ => plain.push_str(part),
        }
    }
    plain
}

#[test]
fn long_native_loops_end_too() {
    for script in [
        "const a = new Array(3e5).fill(0); for (;;) a.indexOf(1);",
        "const s = 'x'.repeat(1 << 20); for (;;) s.includes('y');",
        "const a = new Uint8Array(1 << 20); for (;;) a.indexOf(1);",
    ] {
        let output = Setup::new(script).budget(300).start().output();
        assert!(output.starts_with("# "), "{script}\n{output}");
    }
}

#[test]
fn memory_that_runs_out_is_an_error_of_the_script() {
    let hog = "function init() { const all = []; for (;;) all.push(new Array(1000).fill(1.5)); }";
    for memory in [2, 3, 4, 8, 16] {
        let output = Setup::new(hog).memory(memory << 20).start().output();
        assert!(
            output.contains("Error: out of memory") && output.contains("! failed"),
            "{memory} MiB: {output}"
        );
    }
    let mut starts = 0;
    for memory in ((700 << 10)..(1 << 20)).step_by(4000) {
        let output = Setup::new("log(1);").memory(memory).start().output();
        if output == "1\n" {
            starts += 1;
            continue;
        }
        assert!(
            output.contains("the engine does not start: the firmware may not have enough memory")
                || output.contains("out of memory"),
            "{memory} bytes: {output}"
        );
        assert!(!output.contains("null"), "{memory} bytes: {output}");
    }
    assert!((1..70).contains(&starts), "{starts} instances started");
}

#[test]
fn a_script_survives_that_memory_ran_out() {
    let mut script = Setup::new(
        "let all;
         function hog() { all = []; for (;;) all.push(new Array(1000).fill(1.5)); }
         function texts() { let s = 'x'; for (;;) s += s; }
         function objects() { let o = null; for (;;) o = { o }; }
         function closures() { let f = null; for (;;) { const g = f; f = () => g; } }
         function bytes() { const all = []; for (;;) all.push(new Uint8Array(100000)); }
         function map() { const m = new Map(); for (let i = 0; ; i++) m.set(i, {}); }
         function promises() { for (;;) Promise.reject(1); }
         function caught() { try { hog(); } catch (e) { all = null; log('caught', e.message); } }
         function free() { all = null; }",
    )
    .memory(4 << 20)
    .start();
    for name in [
        "hog", "texts", "objects", "closures", "bytes", "map", "promises", "caught",
    ] {
        script.handle(name, "{}");
        let output = script.output();
        assert!(!output.contains('#'), "{name}: {output}");
        assert!(
            output.contains("out of memory") || output.contains("string too long"),
            "{name}: {output}"
        );
        script.handle("free", "{}");
        script.output();
    }
    assert!(script.handle("echo", "{\"still\":\"here\"}"));
    assert_eq!(
        script.output(),
        "sent: {\"ECHO\":{\"echo\":{\"still\":\"here\"}}}\n"
    );
}

#[test]
fn a_compilation_that_lacks_memory_is_an_error_or_ends_the_instance() {
    let programs = [
        "const a = []; a[0] = a; a.flat(Infinity);",
        "for (const x of [1, 2]) { let y = x; switch (y) { case 1: continue; default: break; } }",
        "class A { #a = 1; static { this.b = 2; } get c() { return this.#a; } }",
        "const f = async (a, { b, ...c } = {}) => { try { await a; } finally { c.d?.[b]; } };",
        "lab: for (let i = 0, n = 3; i < n; i++) { if (i == 1) continue lab; (() => i + n)(); }",
        "const s = `a${1}b${[2, 3].map((v) => v * 2)}c`; /a(b|c)*d/u.test(s);",
    ];
    let (mut caught, mut ended) = (0, 0);
    for program in programs {
        // A text of a thousand functions needs more than one of a few; neither may trap without a name.
        for copies in [1, 30, 1000] {
            let text = format!("(() => {{ {program} }})();").repeat(copies);
            for kib in (640..2048).step_by(if copies == 1 { 32 } else { 256 }) {
                let script = format!(
                    "function init() {{ try {{ new Function({text:?}); log('done'); }} catch (e) {{ log('caught', e.message); }} }}"
                );
                let output = Setup::new(&script).memory(kib << 10).start().output();
                if output.contains('#') {
                    assert!(
                        output.ends_with("# trap: wasm trap: out of bounds memory access\n"),
                        "{output}"
                    );
                    ended += 1;
                } else {
                    assert!(
                        output.contains("done") || output.contains("memory"),
                        "{kib} KiB, {copies} times {program}: {output}"
                    );
                    caught += usize::from(output.contains("caught out of memory"));
                }
            }
        }
    }
    assert!(
        caught > 20,
        "{caught} compilations failed, {ended} instances ended"
    );
}

/// The names of an array's elements are made as a loop comes to them: one for which there was no memory was no text.
#[test]
fn a_loop_over_names_has_names_or_is_an_error() {
    let script = "function init() {
           const texts = new Array(500).fill(0);
           let hog = [], seen = 0, wrong = 0, lost = 0;
           try {
             for (const k in new Array(60).fill(0)) {
               if (typeof k !== 'string') wrong++;
               if (seen++ > 0) continue;
               try { for (;;) hog.push('x' + hog.length); } catch {}
               try { for (let i = 0; i < 500; i++) texts[i] = String.fromCharCode(1000 + i); } catch {}
             }
           } catch { lost++; }
           hog = null;
           log(seen > 0 && seen < 60, lost, wrong);
         }";
    for memory in [2_000_000, 2_001_000, 2_002_000] {
        let output = Setup::new(script).memory(memory).start().output();
        assert!(output.starts_with("true 1 0\n"), "{memory} bytes: {output}");
    }
}

/// Objects have memory here and their shapes have none: an array that lost its length passed for one.
#[test]
fn an_array_of_a_class_has_its_length_or_is_an_error() {
    let script = "function init() {
           const classes = [], empty = [], kept = [], spare = [], made = new Array(200).fill(0);
           for (let i = 0; i < 200; i++) {
             const C = class extends Array {};
             classes.push(C);
             empty.push(Object.create(C.prototype));
           }
           for (let i = 0; i < 400; i++) (i % 2 ? kept : spare).push({});
           let hog = [], lost = 0;
           for (let size = 100000; size > 10;) try { hog.push(new ArrayBuffer(size)); } catch { size >>= 1; }
           for (let i = 0; i < 200; i++) spare[i] = 0;
           for (let i = 0; i < 200; i++) try { made[i] = new classes[i](); } catch { lost++; }
           hog = null;
           log(lost > 0, lost < 200, made.every((a) => a === 0 || Object.hasOwn(a, 'length')));
         }";
    for memory in [2_000_000, 2_001_000, 2_002_000] {
        let output = Setup::new(script).memory(memory).start().output();
        assert!(output.starts_with("true true true\n"), "{memory} bytes: {output}");
    }
}

#[test]
fn what_the_host_passes_in_is_a_trap_of_memory_when_it_does_not_fit() {
    let mut script = Setup::new(
        "let all = []; function hog() { try { for (;;) all.push(new Uint8Array(10000)); } catch (e) { log(e.message); } }",
    )
    .memory(4 << 20)
    .start();
    assert!(script.handle("hog", "{}"));
    let values = format!("{{\"text\":\"{}\"}}", "x".repeat(2 << 20));
    assert!(!script.handle("echo", &values));
    let output = script.output();
    assert!(output.starts_with("out of memory\n"), "{output}");
    assert!(
        output.ends_with("# trap: wasm trap: out of bounds memory access\n"),
        "{output}"
    );
}

#[test]
fn garbage_is_collected_before_memory_runs_out() {
    let output = Setup::new(
        "const live = []; for (let i = 0; i < 25000; i++) live.push({ i, a: [i] });
         let made = 0; for (let i = 0; i < 300000; i++) { const a = { x: [1, 2, 3] }; const b = { a }; a.b = b; made++; }
         log(live.length, made);",
    )
    .memory(8 << 20)
    .start()
    .output();
    assert_eq!(output, "25000 300000\n");
}

#[test]
fn more_blocks_than_the_compiler_can_number_are_an_error() {
    let blocks = "{;}".repeat(66_000);
    let output = Setup::new(&blocks).memory(32 << 20).start().output();
    assert!(
        output.starts_with("error: SyntaxError: too many blocks in one function\n"),
        "{output}"
    );
    let blocks = "{;}".repeat(60_000);
    let output = Setup::new(&format!("{blocks} log('done')"))
        .memory(32 << 20)
        .start()
        .output();
    assert_eq!(output, "done\n");
}
