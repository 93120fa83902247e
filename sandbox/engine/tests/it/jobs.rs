//! Jobs and promises: everything that becomes due in a call runs in that call, and no rejection is lost.

use crate::host::{Setup, check};

#[test]
fn jobs_run_in_the_call_that_makes_them() {
    check(&[
        (
            "then after init",
            "function init() { Promise.resolve(1).then((v) => log('then', v)); log('init'); }",
            "init\nthen 1",
        ),
        (
            "a chain is drained to its end",
            "let p = Promise.resolve(0); for (let i = 0; i < 5; i++) p = p.then((n) => n + 1); p.then((n) => log(n));",
            "5",
        ),
        (
            "jobs queue jobs",
            "let n = 0; function again() { if (++n < 1000) Promise.resolve().then(again); else log('done', n); } again();",
            "done 1000",
        ),
        (
            "order of jobs",
            "Promise.resolve().then(() => log('a')).then(() => log('c')); Promise.resolve().then(() => log('b')); log('first');",
            "first\na\nb\nc",
        ),
        (
            "queueMicrotask or a promise",
            "log(typeof queueMicrotask); Promise.resolve().then(() => log('job'));",
            "function\njob",
        ),
        (
            "async functions",
            "async function f(x) { await null; return x * 2; } f(21).then((v) => log(v)); log('sync');",
            "sync\n42",
        ),
        (
            "await of a thenable",
            "(async () => log(await { then(resolve) { resolve('thenable'); } }))();",
            "thenable",
        ),
        (
            "Promise.all",
            "Promise.all([1, Promise.resolve(2), (async () => 3)()]).then((all) => log(all));",
            "[1,2,3]",
        ),
        (
            "Promise.allSettled",
            "Promise.allSettled([Promise.reject(new Error('no')), 1]).then((all) => log(all.map((one) => one.status)));",
            "[\"rejected\",\"fulfilled\"]",
        ),
        (
            "Promise.race and any",
            "Promise.race([new Promise(() => {}), Promise.resolve('r')]).then((v) => log(v)); Promise.any([Promise.reject(1), Promise.resolve('a')]).then((v) => log(v));",
            "r\na",
        ),
        (
            "Promise.any that fails",
            "Promise.any([Promise.reject(1), Promise.reject(2)]).catch((e) => log(e.name, e.errors));",
            "AggregateError [1,2]",
        ),
        (
            "Promise.withResolvers",
            "const { promise, resolve } = Promise.withResolvers(); promise.then((v) => log(v)); resolve('later');",
            "later",
        ),
        (
            "finally keeps the value",
            "Promise.resolve(7).finally(() => log('finally')).then((v) => log(v));",
            "finally\n7",
        ),
        (
            "async iteration",
            "async function* g() { yield 1; yield 2; } (async () => { for await (const v of g()) log(v); log('end'); })();",
            "1\n2\nend",
        ),
        (
            "a promise that is never settled is nothing",
            "new Promise(() => {}).then(() => log('never')); log('fine');",
            "fine",
        ),
    ]);
}

#[test]
fn rejections_that_nothing_handles_are_logged() {
    check(&[
        (
            "an error with its place",
            "function init() { fail(); }\nasync function fail() {\n  throw new Error('lost');\n}",
            "error: unhandled rejection: Error: lost\n  at fail (main.js:3:13)\n  at init (main.js:1:18)",
        ),
        (
            "a value that is not an error",
            "Promise.reject('text'); Promise.reject({ code: 5 });",
            "error: unhandled rejection: Error: text\nerror: unhandled rejection: Error: {\"code\":5}",
        ),
        (
            "one that is handled in the same call",
            "const p = Promise.reject(new Error('caught')); Promise.resolve().then(() => p.catch((e) => log(e.message)));",
            "caught",
        ),
        (
            "one that is handled in a later job",
            "const p = Promise.reject(1); let n = 0; (function later() { if (++n < 50) Promise.resolve().then(later); else p.catch((v) => log('late', v)); })();",
            "late 1",
        ),
        (
            "one in a then",
            "Promise.resolve().then(() => {\n  null.x;\n});",
            "error: unhandled rejection: TypeError: cannot read property 'x' of null\n  at <anonymous> (main.js:2:3)",
        ),
        (
            "one that cannot be shown",
            "Promise.reject({ toJSON() { throw 1; }, toString() { throw 2; } });",
            "error: unhandled rejection: Error: an object that JSON cannot hold",
        ),
        (
            "one with a stack that throws",
            "const e = new Error('odd'); Object.defineProperty(e, 'stack', { get() { throw 1; } }); Promise.reject(e);",
            "error: unhandled rejection: Error: odd",
        ),
        (
            "null and undefined",
            "Promise.reject(null); Promise.reject();",
            "error: unhandled rejection: Error: null\nerror: unhandled rejection: Error: undefined",
        ),
        (
            "reporting does not hide what follows",
            "Promise.reject(1); Promise.resolve().then(() => log('later'));",
            "later\nerror: unhandled rejection: Error: 1",
        ),
    ]);
}

#[test]
fn the_top_level_may_await_what_settles_by_itself() {
    check(&[
        (
            "await",
            "const v = await Promise.resolve(4); log(v); function init() { log('init'); }",
            "4\ninit",
        ),
        (
            "await of something that never comes",
            "log('before'); await new Promise(() => {}); log('never');",
            "before\nerror: Error: main.js: the top level awaits what nothing there will settle; start such work in init()\n\
             ! failed: Error: main.js: the top level awaits what nothing there will settle; start such work in init()",
        ),
        (
            "a rejection at the top level is the error of init",
            "await Promise.reject(new RangeError('top'));",
            "error: RangeError: top\n  at <anonymous> (main.js:1:26)\n! failed: RangeError: top at <anonymous> (main.js:1:26)",
        ),
        (
            "an async init is refused",
            "async function init() { }",
            "error: TypeError: init is async: firmware functions return when they are done\n! failed: TypeError: init is async: firmware functions return when they are done",
        ),
    ]);
}

#[test]
fn jobs_of_every_call_run_within_its_budget() {
    let mut script = Setup::new(
        "function loop() { Promise.resolve().then(() => log('after loop')); return 5; }
         function go() { (function again() { Promise.resolve().then(again); })(); }
         function health() { return undefined; }",
    )
    .budget(400)
    .start();
    assert_eq!(script.tick(), Some(5));
    assert_eq!(script.output(), "after loop\n");
    assert!(!script.handle("go", "{}"));
    let output = script.output();
    assert!(output.starts_with("# stopped: again (main.js:2:"), "{output}");
}

#[test]
fn timers_and_events_reach_their_functions() {
    let mut script = Setup::new(
        "function init() {
           const once = setTimeout((a, b) => log('once', a, b), 10, 1, 2);
           const often = setInterval(() => { log('often'); Promise.resolve().then(() => log('job')); }, 20);
           const gone = setTimeout(() => log('never'), 30);
           clearTimeout(gone);
           log(once, often, gone);
         }",
    )
    .start();
    for source in [1, 1, 2, 2, 3, 99] {
        assert!(script.event(source));
    }
    assert_eq!(
        script.output(),
        "timer 1 in 10 ms\ntimer 2 in 20 ms, again and again\ntimer 3 in 30 ms\ntimer 3 cancelled\n1 2 3\n\
         once 1 2\noften\njob\noften\njob\n"
    );
}
