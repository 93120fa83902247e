//! The world's exports and the functions of a script.

use crate::host::{Setup, run};

#[test]
fn a_script_runs() {
    assert_eq!(run("log('hello', 1 + 1);"), "hello 2\n");
}

#[test]
fn the_functions_of_a_script_are_called() {
    let mut script = Setup::new(
        "let n = 0;
         function init() { log('init'); }
         function loop(now) { log('loop', now); return 250; }
         function blink({ blink }) { log('blink', blink.times); send_msg({ n: ++n }, { channel: 'c', durable: true }); }
         function health() { return n > 0 ? undefined : 'nothing was sent'; }
         function shutdown(reason) { log('shutdown', reason); }",
    )
    .start();
    assert!(!script.health());
    assert_eq!(script.tick(), Some(250));
    assert!(script.handle("blink", "{\"times\":3}"));
    assert!(script.handle("echo", "{\"a\":[1]}"));
    assert!(!script.handle("nothing", "{}"));
    assert!(script.health());
    assert!(script.shutdown("update"));
    assert_eq!(
        script.output(),
        "init\nerror: Fault: nothing was sent\n! failed: nothing was sent\nloop 1700000000000\nblink 3\nsent on c durably: {\"n\":1}\n\
         sent: {\"ECHO\":{\"echo\":{\"a\":[1]}}}\n! unsupported: no handler for \"nothing\"\nshutdown update\n"
    );
}

#[test]
fn the_host_may_want_the_top_level_alone() {
    let script = "log('top'); function init() { log('init'); } function loop() { log('loop'); }";
    let mut script = Setup::new(script).file("__iottly/top-level-only", "").start();
    script.tick();
    assert_eq!(script.output(), "top\n");
    let output = Setup::new("null.x;")
        .file("__iottly/top-level-only", "")
        .start()
        .output();
    assert!(output.contains("! failed: TypeError"), "{output}");
}
