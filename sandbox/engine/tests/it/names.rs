//! Names that mean something to the language, to the platform or to both.

use crate::host::{Setup, run};

#[test]
fn commands_may_have_any_name() {
    let mut script = Setup::new(
        "commands['switch'] = (c) => log('switched', c['switch'].v);
         commands['set-target'] = () => log('target');
         commands['state'] = () => log('state');
         commands['__proto__'] = () => log('proto');
         commands[''] = () => log('nothing');
         commands['1'] = () => log('one');
         commands['new'] = commands['größe 😀'] = () => log('another');",
    )
    .start();
    assert!(script.handle("switch", "{\"v\":1}"));
    for name in ["set-target", "state", "__proto__", "", "1", "new", "größe 😀"] {
        assert!(script.handle(name, "{}"), "{name}: {}", script.output());
    }
    assert_eq!(
        script.output(),
        "switched 1\ntarget\nstate\nproto\nnothing\none\nanother\nanother\n"
    );
}

#[test]
fn what_the_platform_and_the_language_have_is_no_handler() {
    let mut script = Setup::new("function init() {} function loop() { return 1; }").start();
    for name in [
        "init",
        "loop",
        "health",
        "shutdown",
        "event",
        "log",
        "send_msg",
        "setTimeout",
        "eval",
        "Array",
        "Fault",
        "toString",
        "constructor",
        "hasOwnProperty",
        "__proto__",
        "undefined",
        "this",
        "switch",
        "await",
        "import",
        "__iottly_find",
        "globalThis",
        "a b",
        "a;b",
        "(() => log('ran'))()",
    ] {
        assert!(!script.handle(name, "{}"), "{name}");
        assert_eq!(
            script.output(),
            format!("! unsupported: no handler for \"{name}\"\n")
        );
    }
}

#[test]
fn a_name_of_the_platform_may_be_the_authors() {
    let mut script = Setup::new(
        "let state = 'idle'; const config = { n: 1 }; function log(text) { console.log('mine: ' + text); }
         class Fault {} var commands_ = 1; function send_msg(v) { console.log('not sent'); } const setTimeout = 5;
         function loop() { log(state + config.n); return 9; }
         function go() { state = 'going'; send_msg({}); throw new Fault(); }",
    )
    .start();
    assert_eq!(script.tick(), Some(9));
    assert!(!script.handle("go", "{}"));
    assert!(script.handle("echo", "{}"));
    assert_eq!(script.tick(), Some(9));
    assert_eq!(
        script.output(),
        "mine: idle1\nnot sent\nerror: Error: {}\n! failed: Error: {}\nsent: {\"ECHO\":{\"echo\":{}}}\nmine: going1\n"
    );
}

#[test]
fn a_handler_may_be_wherever_the_script_puts_it() {
    let mut script = Setup::new(
        "function declared() { log('declared'); }
         const arrow = () => log('arrow');
         let later; later = function () { log('later'); };
         globalThis.global = () => log('global');
         export function exported() { log('exported'); }
         var größe = () => log('größe');
         class Shape {}
         const text = 'no function';",
    )
    .start();
    for name in ["declared", "arrow", "later", "global", "exported", "größe"] {
        assert!(script.handle(name, "{}"), "{name}: {}", script.output());
        assert_eq!(script.output(), format!("{name}\n"));
    }
    assert!(!script.handle("text", "{}"));
    assert_eq!(script.output(), "! unsupported: no handler for \"text\"\n");
    assert!(!script.handle("Shape", "{}"));
    assert!(script.output().starts_with("error: TypeError: "));
}

/// Code that has no file may not pass for code of the engine.
#[test]
fn no_way_leads_to_the_modules_of_the_engine() {
    let asks = [
        "import('__iottly/engine')",
        "import('__iottly/entry.js')",
        "import('./engine')",
        "import('./__iottly/engine')",
        "import('../__iottly/engine')",
        "import('/main.js')",
        "import('iottly:firmware/script@0.1.0')",
        "import('./../__iottly/../__iottly/engine')",
    ];
    for ask in asks {
        for way in [
            "ASK",
            "eval(\"ASK\")",
            "(0, eval)(\"ASK\")",
            "new Function(\"return ASK\")()",
            "log.constructor(\"return ASK\")()",
            "Reflect.construct(async function () {}.constructor, [\"return ASK\"])()",
            "[0].map(new Function(\"return ASK\"))[0]",
            "new Promise((done) => done({ then: new Function('done', 'failed', \"ASK.then(done, failed)\") }))",
        ] {
            let way = way.replace("ASK", ask);
            let output = run(&format!(
                "try {{ {way}.then(() => log('there'), (e) => log('refused')); }} catch (e) {{ log('refused'); }}"
            ));
            assert_eq!(output, "refused\n", "{way}");
        }
        let mut script = Setup::new(&format!(
            "setTimeout(new Function(\"{ask}.then(() => log('there'), () => log('refused'))\"), 1);"
        ))
        .start();
        script.event(1);
        assert!(script.output().ends_with("refused\n"), "{ask}");
    }
}
